"""The columns of what a discrete run recorded."""

from __future__ import annotations

RECORD_COLUMNS = ["step", "loss", "gradient_norm", "sharpness", "oscillation", "oscillation_along_sharpest"]
"""Of a discrete run's records; ``loss`` is its mean over two steps."""
STEP_COLUMNS = ["step", "loss", "gradient_norm", "oscillation"]
"""Of every step of a discrete run."""
