"""How a job keeps its work: files written whole, checkpoints, progress, the process and its memory."""
