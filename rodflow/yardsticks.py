"""What is measured of a flow at a record, and how it is compared with the discrete run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # tables and figures read the names below without loading torch
    from torch import Tensor

    from rodflow.curvature import Curvature
    from rodflow.discrete import DiscreteRun
    from rodflow.flows.base import Flow
    from rodflow.objective import Objective

EDGE = 0.9
"""A run is in its edge window where its effective sharpness is at least this share of the threshold."""

SERIES_COLUMNS = [
    "step",
    "error",
    "displacement",
    "relative_error",
    "loss",
    "predicted_loss",
    "discrete_loss",
    "sharpness",
    "discrete_sharpness",
    "rod_length",
    "oscillation",
    "gradients",
    "hessian_vector_products",
]
"""Columns of a flow's time series; the ``discrete_`` ones and ``oscillation`` are the run's, at the same step."""


@dataclass
class Observer:
    """Measures a flow's y at a record; the curvature of one record starts from the last one's eigenvectors."""

    flow: Flow
    curvature: Curvature

    def __call__(self, t: float, y: Tensor) -> dict[str, float]:
        """The loss at the centre, the mean loss of both rod ends, effective sharpness at the centre, rod length."""
        centre, rod = self.flow.centre(y), self.flow.rod(y)
        objective: Objective = self.curvature.objective
        optimizer = self.flow.dynamics.optimizer
        loss = float(objective.value(centre.w))
        if rod is None:
            predicted = loss
        else:
            predicted = float(objective.value(centre.w + rod) + objective.value(centre.w - rod)) / 2
        sharpness = self.curvature.effective_sharpness(
            centre.w, optimizer.preconditioner(centre.nu, t), optimizer.learning_rate
        )
        return {
            "loss": loss,
            "predicted_loss": predicted,
            "sharpness": float(sharpness[0]),
            "rod_length": float("nan") if rod is None else float(rod.norm()),
        }


def compare(run: DiscreteRun, record: int, origin: Tensor, centre: Tensor) -> dict[str, float]:
    """A centre w ``[d]`` against the run's at its record number ``record``; ``origin`` is the run's at the start.

    error = ||centre - w*_t||, displacement = ||w*_t - w*_0||, relative_error their ratio, all Euclidean; beside them
    the run's own loss averaged over two steps, effective sharpness and oscillation.
    """
    t = int(run.record_steps[record])
    reference = run.midpoints[record].to(centre.device, centre.dtype)
    error = float((centre - reference).norm())
    displacement = float((reference - origin).norm())
    return {
        "error": error,
        "displacement": displacement,
        "relative_error": error / displacement if displacement > 0 else float("nan"),
        "discrete_loss": float(run.loss[t] + run.loss[t + 1]) / 2,
        "discrete_sharpness": float(run.sharpness[record, 0]),
        "oscillation": float(run.oscillation[t]),
    }
