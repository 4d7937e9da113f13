"""The columns of the series that jobs leave, and of what they cost; those of a table stand in its own module."""

from __future__ import annotations

COSTS = [
    "gradients_per_step",
    "hessian_vector_products_per_step",
    "gradient_equivalents_per_step",
    "seconds_per_step",
]
"""What a flow costs per optimizer step, without the measuring of it."""

RECORD_COLUMNS = ["step", "loss", "gradient_norm", "sharpness", "oscillation", "oscillation_along_sharpest"]
"""Of a discrete run's records; ``loss`` is its mean over two steps."""
STEP_COLUMNS = ["step", "loss", "gradient_norm", "oscillation"]
"""Of every step of a discrete run."""
SERIES_COLUMNS = [
    "step",
    "error",
    "displacement",
    "relative_error",
    "loss",
    "predicted_loss",
    "discrete_loss",
    "predicted_squared_gradient",
    "discrete_squared_gradient",
    "sharpness",
    "discrete_sharpness",
    "rod_length",
    "rod_along_sharpest",
    "oscillation",
    "oscillation_along_sharpest",
    "alignment_sharpest",
    "alignment_oscillation",
    "gradients",
    "hessian_vector_products",
]
"""Columns of a flow's time series; the ``discrete_`` and ``oscillation`` ones are the run's, at the same step.

``_along_sharpest`` is a length along the top eigenvector of the preconditioned Hessian, in the metric of P; the
``alignment`` of the rod is its absolute cosine with that eigenvector, and with the run's own oscillation.
"""
STUDY_NUMBERS = ["step", "sharpness", "oscillation", "rod_length", "error"]
"""Numbers of a precision study's series, for each variant and flow."""
STUDY_COLUMNS = ["variant", "flow", *STUDY_NUMBERS]
"""Of a precision study's series."""
PLANE_NUMBERS = ["step", "x", "y", "plus_x", "plus_y", "minus_x", "minus_y"]
"""Numbers of a cell's run and flows in its plane, at every step (see ``rodflow.pipeline.stages.plane``)."""
PLANE_COLUMNS = ["flow", *PLANE_NUMBERS]
"""Of a cell's run and flows in its plane."""
LANDSCAPE_NUMBERS = [*PLANE_NUMBERS, "loss", "sharpness"]
"""Numbers of a toy landscape's series, for each flow (see ``rodflow.pipeline.stages.landscape``)."""
LANDSCAPE_COLUMNS = ["landscape", "flow", *LANDSCAPE_NUMBERS]
"""Every step of the run and of each flow has a row:

flow               ``discrete`` for the run
x, y               the centre: the flow's, or w*_t = (w_{t-1} + 2 w_t + w_{t+1})/4 of the run
plus_*, minus_*    the rod's ends; of the run the iterate w_t and its mirror image 2 w*_t - w_t; NaN without a rod
loss               the mean of both ends, or at the centre without a rod; of the run, the mean of steps t and t + 1
sharpness          the largest eigenvalue of lr times the Hessian at the centre
"""
