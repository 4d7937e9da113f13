"""Columns of the series that jobs leave, beside those of the library, and of costs; a table's are in its own module."""

from __future__ import annotations

COSTS = [
    "gradients_per_step",
    "hessian_vector_products_per_step",
    "gradient_equivalents_per_step",
    "seconds_per_step",
]
"""What a flow costs per optimizer step, without the measuring of it."""

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
