"""The summaries that jobs leave as JSON beside their series: what they hold, and its types."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from rodflow.config import Cell

Threshold = Annotated[float, Field(gt=0)]


class Summary(BaseModel):
    """Numbers are finite, and of the type that is asked for: a truth value is no number. Other keys are left alone."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class Provenance(Summary):
    """Where a result comes from."""

    config: dict[str, Any]
    """The settings that the job depended on."""
    commit: str | None
    """The checkout's commit, with ``+changes`` if files differ from it; None outside a checkout."""
    versions: dict[str, str | None]
    """Of Python and of the packages that results pass through."""
    platform: str
    processors: int | None
    device: str
    wall_time_seconds: float
    """Of the whole job."""
    finished: str
    """UTC, written so that later times compare as larger."""


class Made(Summary):
    """What every summary has."""

    provenance: Provenance


class OfCell(Made):
    """What every summary of a cell's job has."""

    architecture: str
    optimizer: str
    seed: int

    @property
    def cell(self) -> Cell:
        """The cell."""
        return Cell(self.architecture, self.optimizer, self.seed)


class RunSummary(OfCell):
    """Of a discrete run."""

    threshold: Threshold
    """Effective sharpness at which a frozen quadratic loses stability."""
    flow_start: int
    """The step at which the flows of the cell start."""
    parameters: int
    """The number of weights."""
    diverged_at: int | None
    """The step at which the run diverged."""


class FlowSummary(OfCell):
    """Of a flow; costs are per optimizer step, without the measuring, and None where no record was reached."""

    flow: str
    start: int
    diverged_at: int | None
    """The record at which the flow was stopped, or had diverged."""
    gradients_per_step: float | None
    hessian_vector_products_per_step: float | None
    gradient_equivalents_per_step: float | None
    seconds_per_step: float | None
    seconds: float
    """Of the flow alone."""
    incidents: dict[str, int]
    """How often something happened that a reader of the results should know."""


class StudySummary(OfCell):
    """Of a cell's precision study."""

    threshold: Threshold
    flow_start: int
    diverged_at: dict[str, dict[str, int | None]]
    """By variant, and there by flow; ``discrete`` is the run."""


class PlaneSummary(OfCell):
    """Of a cell's run and flows in its plane."""

    flow_start: int
    oscillation_share: float | None
    """Of the sum of squares of the run's oscillation at records, that along the plane's upward direction."""
    drift_share: float | None
    """Of the sum of squares of the ways from the run's first centre to the others, that to the right."""
    diverged_at: dict[str, int | None]
    """By flow."""


class LandscapeSummary(Made):
    """Of a toy landscape."""

    landscape: str
    formula: str
    learning_rate: float
    threshold: Threshold
    flow_start: int
    diverged_at: dict[str, int | None]
    mean_error: dict[str, float | None]
    """By flow, over the steps that it and the run reached; None where there is none."""
