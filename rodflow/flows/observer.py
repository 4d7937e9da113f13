"""What is measured of a flow at a record, and how it is compared with the discrete run."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

from torch import Tensor

from rodflow.flows.base import Flow
from rodflow.optimizers.step_map import State
from rodflow.training.curvature import Curvature
from rodflow.training.discrete import DiscreteRun


@dataclass
class Observer:
    """Measures a flow's centre and rod at a record; the curvature starts from the last record's eigenvectors."""

    flow: Flow
    curvature: Curvature

    def __call__(self, t: float, centre: State, rod: Tensor | None) -> dict[str, float]:
        """The loss at the centre, the mean loss of both rod ends, effective sharpness at the centre, the rod."""
        objective = self.curvature.objective
        optimizer = self.flow.dynamics.optimizer
        loss = float(objective.value(centre.w))
        if rod is None:
            predicted = loss
        else:
            predicted = float(objective.value(centre.w + rod) + objective.value(centre.w - rod)) / 2
        preconditioner = optimizer.preconditioner(centre.nu, t)
        sharpness = self.curvature.effective_sharpness(centre.w, preconditioner, optimizer.rate(t))
        along, alignment = nan, nan
        if rod is not None:
            along, alignment = self.curvature.along_sharpest(rod, preconditioner)
        return {
            "loss": loss,
            "predicted_loss": predicted,
            "sharpness": float(sharpness[0]),
            "rod_length": nan if rod is None else float(rod.norm()),
            "rod_along_sharpest": along,
            "alignment_sharpest": alignment,
        }


def compare(run: DiscreteRun, record: int, origin: Tensor, centre: Tensor, rod: Tensor | None) -> dict[str, float]:
    """A centre w and a rod ``[d]`` against the run's at record number ``record``; ``origin``: the run's at the start.

    error = ||centre - w*_t||, displacement = ||w*_t - w*_0||, relative_error their ratio, all Euclidean; beside them
    the rod's alignment with the run's oscillation, and the run's own loss averaged over two steps, effective
    sharpness and oscillation.
    """
    t = int(run.record_steps[record])
    reference = run.midpoints[record].to(centre.device, centre.dtype)
    error = float((centre - reference).norm())
    displacement = float((reference - origin).norm())
    oscillation = run.states.w[record].to(centre.device, centre.dtype) - reference
    alignment = nan if rod is None else cosine(rod, oscillation)
    return {
        "error": error,
        "displacement": displacement,
        "relative_error": error / displacement if displacement > 0 else nan,
        "discrete_loss": float(run.loss[t] + run.loss[t + 1]) / 2,
        "discrete_sharpness": float(run.sharpness[record, 0]),
        "oscillation": float(run.oscillation[t]),
        "oscillation_along_sharpest": float(run.oscillation_along_sharpest[record]),
        "alignment_oscillation": alignment,
    }


def cosine(a: Tensor, b: Tensor) -> float:
    """The absolute cosine of the angle between two vectors; NaN where one is zero."""
    lengths = float(a.norm() * b.norm())
    return abs(float(a @ b)) / lengths if lengths > 0 else nan
