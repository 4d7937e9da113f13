"""Optimizers as step maps, and schedules of their learning rates; their names stand in ``rodflow.catalogue``."""
