"""What is measured of a flow at a record, and how it is compared with the discrete run."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor

from rodflow.flows.base import Flow
from rodflow.optimizers.step_map import State
from rodflow.training.curvature import Curvature
from rodflow.training.discrete import DiscreteRun


@dataclass
class Observer:
    """Measures a flow's centre and oscillation at a record; the eigensolver starts from the last record's vectors.

    ``reference``: a run that they are compared with, and its centre ``[d]`` at the start.
    """

    flow: Flow
    curvature: Curvature
    reference: tuple[DiscreteRun, Tensor] | None = None

    def __post_init__(self) -> None:
        self.records = {} if self.reference is None else records_of(self.reference[0])

    def __call__(self, t: float, centre: State, columns: Tensor | None) -> dict[str, float]:
        """What the flow says at time t with its centre c and the ``columns`` a_i ``[d, k]`` of its oscillation: the
        loss and the effective sharpness at c, the rod, and the time averages

            L(c) + sum_i [(L(c + a_i) + L(c - a_i))/2 - L(c)],      the same of |∇L|^2

        which to second order are L + tr(H Sigma)/2 and, but for ∇L · ∇tr(H Sigma), |∇L|^2 + tr(H Sigma H).
        """
        optimizer = self.flow.dynamics.optimizer
        here = torch.stack(self._loss_and_square(centre.w))
        mean = here.clone()
        if columns is not None:
            for a in columns.T:
                if a.any():
                    ends = [torch.stack(self._loss_and_square(centre.w + sign * a)) for sign in (1, -1)]
                    mean += (ends[0] + ends[1]) / 2 - here
        preconditioner = optimizer.preconditioner(centre.nu, t)
        sharpness = self.curvature.effective_sharpness(centre.w, preconditioner, optimizer.rate(t))
        length = along = alignment = nan
        rod = None if columns is None else columns[:, 0]
        if rod is not None:
            length = float(rod.norm())
            along, alignment = self.curvature.along_sharpest(rod, preconditioner)
        compared = {}
        if self.reference is not None:
            run, origin = self.reference
            compared = compare(run, self.records[int(t)], origin, centre.w, rod)
        return {
            "loss": float(here[0]),
            "predicted_loss": float(mean[0]),
            "predicted_squared_gradient": float(mean[1]),
            "sharpness": float(sharpness[0]),
            "rod_length": length,
            "rod_along_sharpest": along,
            "alignment_sharpest": alignment,
            **compared,
        }

    def _loss_and_square(self, w: Tensor) -> tuple[Tensor, Tensor]:
        loss, gradient = self.curvature.objective.value_and_gradient(w)
        return loss, gradient @ gradient


def records_of(run: DiscreteRun) -> dict[int, int]:
    """The number of the record of each recorded step."""
    return {step: row for row, step in enumerate(run.record_steps.tolist())}


def compare(run: DiscreteRun, record: int, origin: Tensor, centre: Tensor, rod: Tensor | None) -> dict[str, float]:
    """A centre w and a rod ``[d]`` against the run's at record number ``record``; ``origin``: the run's at the start.

    error = ||centre - w*_t||, displacement = ||w*_t - w*_0||, relative_error their ratio, all Euclidean; beside them
    the rod's alignment with the run's oscillation, and of the run the loss and the squared gradient norm, averaged over
    two steps, effective sharpness and oscillation.
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
        "discrete_squared_gradient": float(run.gradient_norm[t] ** 2 + run.gradient_norm[t + 1] ** 2) / 2,
        "discrete_sharpness": float(run.sharpness[record, 0]),
        "oscillation": float(run.oscillation[t]),
        "oscillation_along_sharpest": float(run.oscillation_along_sharpest[record]),
        "alignment_oscillation": alignment,
    }


def cosine(a: Tensor, b: Tensor) -> float:
    """The absolute cosine of the angle between two vectors; NaN where one is zero."""
    lengths = float(a.norm() * b.norm())
    return abs(float(a @ b)) / lengths if lengths > 0 else nan
