"""the discrete run of a cell -> one flow of it, with its errors against the run."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import pandas as pd

from rodflow.catalogue import FLOWS
from rodflow.config import Cell, Config
from rodflow.config.own import Own
from rodflow.errors import InvalidInput
from rodflow.flows.base import Flow, Solver
from rodflow.flows.columns import SERIES_COLUMNS
from rodflow.flows.integrate import FlowRun, integrate
from rodflow.jobs.checkpoint import Checkpoint
from rodflow.jobs.files import write_json, write_table
from rodflow.measures.columns import COSTS
from rodflow.measures.summaries import FlowSummary
from rodflow.optimizers.step_map import StepMap
from rodflow.pipeline.job import Job
from rodflow.pipeline.memory import naming_chunk_size
from rodflow.pipeline.own import blamed, call
from rodflow.pipeline.provenance import checkpoint_file, fingerprint, provenance
from rodflow.pipeline.run_file import load_once, require_fit
from rodflow.pipeline.stages.discrete import cell_optimizer, cell_problem, start_step
from rodflow.training.objective import Cost, Objective


def build_flow(
    name: str, objective: Objective, optimizer: StepMap, settings: dict[str, Any], own: Own | None = None
) -> Flow:
    """The flow of that name with ``settings``, and its default solver changed by those that are a solver's.

    ``own``: parts of the user's own, among which the name may be: they have settings of their own in a config, and here
    a solver's. Raises: ``InvalidInput`` for a setting that the flow does not use.
    """
    if own is not None and name in own.flows:
        kind, known = partial(call, own, "flows", name, Flow), {"solver"}
    else:
        kind = FLOWS[name]
        known = set(signature(kind).parameters)
    of_solver = {field.name for field in fields(Solver)} if "solver" in known else set()
    of_flow = known - {"objective", "optimizer", "solver"}
    for key, value in settings.items():
        if key not in of_solver | of_flow:
            taken = ", ".join(["dtype", *sorted(of_solver), *sorted(of_flow)])
            raise InvalidInput(f"solvers.{name}.{key}", value, f"nothing: {name} takes {taken}")
    flow: Flow = kind(objective, optimizer, **{key: settings[key] for key in settings.keys() & of_flow})
    changes = {key: settings[key] for key in settings.keys() & of_solver}
    flow.solver = replace(flow.solver, **changes)
    return flow


@naming_chunk_size
def run_flow(config: Config, cell: Cell, flow: str, dataset: Path, discrete: Path, output: Path) -> None:
    """Integrate one flow of a cell. ``output`` is its series (.parquet); its summary lies beside it (.json)."""
    begun = time.monotonic()
    step_map = cell_optimizer(config, cell)
    start = start_step(config, step_map)
    settings = config.flow_settings(cell, flow)
    solver = dict(settings["solver"])
    problem = cell_problem(config, cell, dataset, solver.pop("dtype", config.flow_dtype))
    run = load_once(discrete)
    require_fit(run, discrete, problem.w0.numel(), step_map.threshold, start, config.steps, config.record_interval)
    device = str(problem.w0.device)
    key = fingerprint(
        {"cell": cell, "flow": flow, "settings": settings, "device": device},
        Job("flow", cell, flow).code(config),
        [dataset, discrete],
    )
    with Checkpoint(checkpoint_file(output), key, config.checkpoint_seconds) as checkpoint:
        if start in run.windows:
            model = build_flow(flow, problem.objective, step_map, solver, config.own)
            with blamed(config.own, config.parts_of(cell) | config.parts(flows=flow)):
                result = integrate(
                    model,
                    run.window(start),
                    config.steps - start,
                    config.record_interval,
                    reference=run,
                    keep_centres=False,
                    eigenvalues=config.sharpness.count,
                    sharpness_tolerance=config.sharpness.tolerance,
                    maximum_sharpness=config.maximum_sharpness,
                    dtype=problem.w0.dtype,
                    device=problem.w0.device,
                    progress=f"{cell} {flow}",
                    checkpoint=checkpoint,
                )
            incidents = model.incidents
        else:  # the run diverged before the flows start
            steps = run.record_steps[run.record_steps > start].numpy()
            empty = pd.DataFrame({"step": steps}).reindex(columns=SERIES_COLUMNS)
            result, incidents = FlowRun(empty, None, start, Cost(), 0.0, None), {}
        write_table(output, result.series.astype({c: "float64" for c in SERIES_COLUMNS if c != "step"}))
        spent: dict[str, Any] = costs(result, problem.objective.product_in_gradients(problem.w0))
        summary = FlowSummary(
            **cell._asdict(),
            flow=flow,
            start=start,
            diverged_at=result.diverged_at,
            **spent,
            seconds=round(result.seconds, 3),
            incidents=incidents,
            provenance=provenance(settings, time.monotonic() - begun, device),
        )
        write_json(output.with_suffix(".json"), summary.model_dump())


def costs(result: FlowRun, product_in_gradients: float) -> dict[str, float | None]:
    """What the flow asked of the objective per optimizer step, up to the last record; None if there is none.

    ``gradient_equivalents_per_step`` weighs a Hessian-vector product with what it takes in gradients.
    """
    reached = result.series.dropna(subset="gradients")
    if not len(reached):
        return dict.fromkeys(COSTS)
    last = reached.iloc[-1]
    spent = Cost(gradients=last["gradients"], hessian_vector_products=last["hessian_vector_products"])
    equivalents = spent.in_gradients(product_in_gradients)
    asked = (spent.gradients, spent.hessian_vector_products, equivalents, result.seconds)
    return {name: float(value / (last["step"] - result.start)) for name, value in zip(COSTS, asked, strict=True)}
