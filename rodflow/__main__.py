"""``python -m rodflow``."""

from rodflow.cli import main

main()
