"""the discrete run of a cell -> run and flows step by step, in the plane in which the oscillation is seen."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from rodflow.config import Cell, Config
from rodflow.jobs.files import write_json, write_table
from rodflow.measures.columns import PLANE_COLUMNS, PLANE_NUMBERS
from rodflow.measures.summaries import PlaneSummary
from rodflow.optimizers.step_map import State, StepMap
from rodflow.pipeline.memory import naming_chunk_size
from rodflow.pipeline.provenance import provenance
from rodflow.pipeline.run_file import require_fit
from rodflow.pipeline.stages.discrete import cell_optimizer, cell_problem, start_step
from rodflow.pipeline.stages.flow import build_flow
from rodflow.pipeline.stages.landscape import rows_of
from rodflow.training.discrete import DiscreteRun, perturbed_step
from rodflow.training.objective import Objective
from rodflow.training.run_file import load


class Plane(NamedTuple):
    """Two orthogonal unit directions in weight space, rows of ``axes`` ``[2, d]``: along the drift, and across it.

    Both are zero, and the shares None, where a run has no record.
    """

    axes: Tensor
    drift_share: float | None
    oscillation_share: float | None


def leading_plane(run: DiscreteRun, start: int) -> Plane:
    """The plane of a run's two leading directions, from its records after step ``start``, in float64.

    Across: the first principal component of the oscillations w_t - w*_t, their mean not taken off. Along: the way from
    the first w*_t to the last, less its part across.
    """
    kept = (run.record_steps > start) & torch.isfinite(run.midpoints).all(1)
    swings, centres = (run.states.w - run.midpoints)[kept].double(), run.midpoints[kept].double()
    if not len(centres):
        return Plane(run.midpoints.new_zeros(2, run.midpoints.shape[1], dtype=torch.float64), None, None)
    _, lengths, directions = torch.linalg.svd(swings, full_matrices=False)
    across = directions[0] * torch.sign(directions[0][directions[0].abs().argmax()])  # of the two, always the same one
    ways = centres - centres[0]
    along = ways[-1] - (ways[-1] @ across) * across
    along = along / along.norm().clamp_min(torch.finfo(along.dtype).tiny)

    def share(part: Tensor, whole: Tensor) -> float:
        return float(part.square().sum() / whole.square().sum().clamp_min(torch.finfo(whole.dtype).tiny))

    return Plane(torch.stack([along, across]), share(ways @ along, ways), share(lengths[:1], lengths))


def iterates(
    objective: Objective, optimizer: StepMap, w0: Tensor, steps: int, axes: Tensor, perturbation: float
) -> Tensor:
    """The run again, step by step: the coordinates ``[steps + 1, 2]`` of w_0, .., w_steps along ``axes``, float64."""
    axes, state, seen = axes.to(w0.device), optimizer.init(w0), []
    for t in range(steps + 1):
        seen.append(axes @ state.w.double())
        state = perturbed_step(optimizer, state, objective.gradient(state.w), t, perturbation)
    return torch.stack(seen).cpu()


@naming_chunk_size
def run_plane(config: Config, cell: Cell, dataset: Path, discrete: Path, output: Path) -> None:
    """The run of a cell and its ``ANIMATED_FLOWS`` at every step after the flows' start, in the :func:`leading_plane`.

    ``output`` is a Parquet table: ``flow``, ``discrete`` for the run, and ``PLANE_NUMBERS`` as on a toy landscape. x
    goes along the drift, from where the run's centre is at the start. y goes across it from the run's own centre w*_t
    of the same step: the drift bends, by more than the oscillation is long. The summary lies beside it (.json). The run
    is taken again, since its file has a state a record. Lengths are Euclidean, in weight space.
    """
    begun = time.monotonic()
    step_map, run = cell_optimizer(config, cell), load(discrete)
    start, plane = start_step(config, step_map), leading_plane(run, start_step(config, step_map))
    problem = cell_problem(config, cell, dataset, config.dtype)
    require_fit(run, discrete, problem.w0.numel(), step_map.threshold, start, config.steps, config.record_interval)
    w = iterates(problem.objective, step_map, problem.w0, config.steps + 1, plane.axes, config.perturbation)
    centres = torch.full_like(w, float("nan"))
    centres[1:-1] = (w[:-2] + 2 * w[1:-1] + w[2:]) / 4
    origin = torch.stack([centres[start, 0].expand(len(w)), centres[:, 1]], 1)
    times = range(start + 1, config.steps + 1)
    shown = [centres - origin, w - origin, 2 * centres - w - origin]
    table = pd.DataFrame(torch.cat(shown, 1)[times.start : times.stop].numpy(), columns=PLANE_NUMBERS[1:])
    tables, diverged_at = {"discrete": table.assign(step=times)}, {}
    for flow in config.animated_flows(cell.optimizer) if start in run.windows else []:
        solver = dict(config.flow_settings(cell, flow)["solver"])
        followed = cell_problem(config, cell, dataset, solver.pop("dtype", config.flow_dtype))
        window = run.window(start).to(followed.w0.dtype, followed.w0.device)
        axes = plane.axes.to(followed.w0.device)

        def row(t: float, state: State, rod: Tensor | None, axes: Tensor = axes) -> list[float]:
            centre = axes @ state.w.double()
            half = torch.full_like(centre, float("nan")) if rod is None else axes @ rod.double()
            here = origin[int(t)].to(centre.device)
            return torch.cat([centre - here, centre + half - here, centre - half - here]).tolist()

        model = build_flow(flow, followed.objective, step_map, solver)
        tables[flow], diverged_at[flow] = rows_of(model, window, times, row, PLANE_NUMBERS[1:])
    whole = pd.concat([rows.assign(flow=flow) for flow, rows in tables.items()], ignore_index=True)
    write_table(output, whole[PLANE_COLUMNS])
    summary = PlaneSummary(
        **cell._asdict(),
        flow_start=start,
        oscillation_share=plane.oscillation_share,
        drift_share=plane.drift_share,
        diverged_at=diverged_at,
        provenance=provenance(config.plane_settings(cell), time.monotonic() - begun, str(problem.w0.device)),
    )
    write_json(output.with_suffix(".json"), summary.model_dump())
