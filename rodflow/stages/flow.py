"""the discrete run of a cell -> one flow of it, with its errors against the run."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from inspect import signature
from pathlib import Path
from typing import Any

import pandas as pd

from rodflow.checkpoint import Checkpoint, fingerprint
from rodflow.config import Config
from rodflow.errors import InvalidInput
from rodflow.flows import FLOWS, Flow, Solver
from rodflow.flows.integrate import FlowRun, integrate
from rodflow.layout import checkpoint_file
from rodflow.memory import naming_chunk_size
from rodflow.objective import Cost, Objective
from rodflow.optimizers import StepMap
from rodflow.provenance import provenance
from rodflow.stages.discrete import cell_optimizer, cell_problem, load, start_step
from rodflow.storage import write_json, write_table
from rodflow.stored_run import require_fit
from rodflow.yardsticks import COSTS, SERIES_COLUMNS


def build_flow(name: str, objective: Objective, optimizer: StepMap, settings: dict[str, Any]) -> Flow:
    """The flow of that name, its default solver changed by ``settings``; what a solver does not have goes to the flow.

    Raises: ``InvalidInput`` for a setting that neither has.
    """
    of_solver = {key: value for key, value in settings.items() if key in {field.name for field in fields(Solver)}}
    own = {key: value for key, value in settings.items() if key not in of_solver}
    known = signature(FLOWS[name]).parameters
    for key, value in own.items():
        if key not in known:
            raise InvalidInput(f"solvers.{name}.{key}", value, f"nothing: {name} has no {key}")
    flow = FLOWS[name](objective, optimizer, **own)
    flow.solver = replace(flow.solver, **of_solver)
    return flow


@naming_chunk_size
def run_flow(
    config: Config, architecture: str, optimizer: str, seed: int, flow: str, dataset: Path, discrete: Path, output: Path
) -> None:
    """Integrate one flow of a cell. ``output`` is its series (.parquet); its summary lies beside it (.json)."""
    begun = time.monotonic()
    step_map = cell_optimizer(config, architecture, optimizer)
    start = start_step(config, step_map)
    settings = config.flow_settings(architecture, optimizer, flow)
    solver = dict(settings["solver"])
    problem = cell_problem(config, architecture, seed, dataset, solver.pop("dtype", config.flow_dtype))
    run = load(discrete)
    require_fit(run, discrete, problem.w0.numel(), step_map.threshold, start, config.steps, config.record_interval)
    device = str(problem.w0.device)
    cell = {"architecture": architecture, "optimizer": optimizer, "seed": seed, "flow": flow}
    key = fingerprint({**cell, "settings": settings, "device": device}, __name__, [dataset, discrete])
    with Checkpoint(checkpoint_file(output), key, config.checkpoint_seconds) as checkpoint:
        if start in run.windows:
            model = build_flow(flow, problem.objective, step_map, solver)
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
                progress=f"{architecture} {optimizer} seed {seed} {flow}",
                checkpoint=checkpoint,
            )
            incidents = model.incidents
        else:  # the run diverged before the flows start
            steps = run.record_steps[run.record_steps > start].numpy()
            empty = pd.DataFrame({"step": steps}).reindex(columns=SERIES_COLUMNS)
            result, incidents = FlowRun(empty, None, start, Cost(), 0.0, None), {}
        write_table(output, result.series.astype({c: "float64" for c in SERIES_COLUMNS if c != "step"}))
        summary = {
            **cell,
            "start": start,
            "diverged_at": result.diverged_at,
            **costs(result, problem.objective.product_in_gradients(problem.w0)),
            "seconds": round(result.seconds, 3),
            "incidents": incidents,
            "provenance": provenance(settings, time.monotonic() - begun, device),
        }
        write_json(output.with_suffix(".json"), summary)


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
