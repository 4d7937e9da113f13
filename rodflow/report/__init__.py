"""What people read: summary, replication report, figures, the page of a run; made from tables and series on disk."""
