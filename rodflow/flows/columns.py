"""The columns of a flow's time series."""

from __future__ import annotations

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
