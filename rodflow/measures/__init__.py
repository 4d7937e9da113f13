"""The numbers of a run: a module for each CSV, named as it; made from series and summaries with pandas alone."""
