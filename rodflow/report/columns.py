"""What each column of a table or series means, for its readers."""

from __future__ import annotations

from rodflow.catalogue import FLOWS
from rodflow.flows.columns import SERIES_COLUMNS
from rodflow.measures.columns import LANDSCAPE_COLUMNS, PLANE_COLUMNS, STUDY_COLUMNS
from rodflow.measures.constants import BEFORE_EDGE, EDGE, NEARER, ONSET, STUDY_ONSET
from rodflow.training.columns import RECORD_COLUMNS, STEP_COLUMNS

SERIES = {
    "records": RECORD_COLUMNS,
    "steps": STEP_COLUMNS,
    "series": SERIES_COLUMNS,
    "study": STUDY_COLUMNS,
    "landscape": LANDSCAPE_COLUMNS,
    "plane": PLANE_COLUMNS,
}
"""The columns of the files that are no tables of a whole run: those have theirs from a run."""

COMMON = {
    "architecture": "the network: `mlp`, `cnn`, `vit`, or one of your own",
    "optimizer": "the name of the optimizer in the config",
    "seed": "seed of the initial weights",
    "flow": "the name of the flow in the config",
    "missing": "why the row has no numbers, in tables of an incomplete run: `run` or `flow` is not finished",
    "threshold": "effective sharpness at which the optimizer loses stability on a quadratic",
    "diverged_at": "the step at which the run diverged, or else the flow was stopped; empty where neither was",
    "error_eos_mean": "mean error over the `n` records of the edge window that the flow reached",
    "error_eos_common": "the same over the records that every flow of the cell reached",
    "n": "number of records of the edge window that the flow reached",
    "ratio_to_stable": "mean error of the stable flow over the flow's own: above 1 the flow is closer to the run",
    "n_stable": "number of records that `ratio_to_stable` is over: those that both reached",
    "ratio_to_stable_corrected": "the same for the corrected stable flow",
    "n_stable_corrected": "number of records that `ratio_to_stable_corrected` is over",
    "floor": "mean error of the cell's twins in the edge window: no model can be expected to have less",
    "ratio_to_floor": "the flow's mean error over that of the twins",
    "n_floor": "number of records that `ratio_to_floor` is over",
    "gradients_per_step": "full-batch gradients a step of time, without the measuring",
    "hessian_vector_products_per_step": "Hessian-vector products a step, without the measuring",
    "gradient_equivalents_per_step": "all work of a step in full-batch gradients",
    "seconds_per_step": "seconds a step, without the measuring; differs from machine to machine",
    "step": "the optimizer step",
    "sharpness": "effective sharpness at the centre",
    "error": "distance in weight space of the flow's centre from the run's midpoint w*",
    "rod_length": "length of the rod's part in the weights; empty for a flow without a rod",
    "oscillation": "the run's: distance of the iterate w_t from the midpoint w*_t",
    "oscillation_along_sharpest": "its length along the sharpest direction, in the metric of P",
}
"""By column, where it means the same in all tables."""

OWN = {
    "cells": {
        "parameters": "number of weights",
        "examples": "number of training examples",
        "steps": "length of the run in steps",
        "learning_rate": "the cell's learning rate",
        "flow_start": "the step from which all flows of the cell start",
        "diverged_at": "the step at which the run diverged",
        "scale": "`full` or `reduced`, as REPLICATION.md counts it",
        "device": "what the run was computed on",
        "seconds_discrete": "wall time of the run",
        "seconds_flows": "wall time of all its flows together",
    },
    "errors": {
        "error_final": "error at the last record that the flow reached",
        "n_after_onset": "how many of the `n` records are at or after the onset of the run's oscillation",
        "relative_error_final": "`error_final` over `displacement`",
        "displacement": "how far the run's midpoint moved from the flows' start to that record",
        "seconds": "wall time of the flow without the measuring",
    },
    "thresholds": {
        "sharpness_eos_median": "median of the run's effective sharpness in the edge window",
        "sharpness_largest_ratio": "the run's largest effective sharpness from the flows' start on, over the threshold",
        "eos_share": f"share of all records with effective sharpness at {EDGE} of the threshold or above",
        "onset_step": "the first such record from the flows' start on",
        "diverged_at": "the step at which the run diverged",
        "sharpness_<flow>_median": "median effective sharpness of that flow in the edge window",
        "oscillation_onset": (
            f"first record, from the flows' start on, at which the run's oscillation along the sharpest direction "
            f"has {ONSET} of its largest length"
        ),
        "onset_<flow>": "first record at which the rod of that flow has this length",
    },
    "fidelity": {
        "relative_error_before_edge": (
            f"largest error over displacement before the run first has {BEFORE_EDGE} of the threshold"
        ),
        "ratio_to_stable_before_edge": (
            f"that of the stable flow over it: below {NEARER:g} something is wrong with a flow of second order"
        ),
        "sharpness_ratio": "median effective sharpness in the edge window, the flow's over the run's",
        "predicted_loss_ratio": "median there of the predicted loss over the run's loss, mean of two steps",
        "predicted_squared_gradient_ratio": "the same of the squared norm of the gradient",
        "rod_length_ratio": "median there of rod length over the run's oscillation",
        "alignment_sharpest": "median there of the absolute cosine of rod and sharpest direction",
        "alignment_oscillation": "median there of the absolute cosine of rod and the run's oscillation",
        "onset_step": f"first record at which the rod has {ONSET} of the run's largest oscillation",
        "discrete_onset_step": "first record at which the run's oscillation has it",
    },
    "comparison": {},
    "precision": {
        "variant": "the precision of run and flows",
        "onset_step": (
            f"first record at the edge at which the oscillation has {STUDY_ONSET} of the largest of any variant"
        ),
        "overshoot": "the run's largest effective sharpness from the flows' start on, in thresholds",
        "error_eos_mean_<flow>": "mean error of that flow over the records of the edge window that it reached",
        "ratio": "mean error of the stable flow over that of the drift-free rod flow",
        "n": "number of records that `ratio` is over",
        "missing": "`study` where the study is not finished",
    },
    "records": {
        "loss": "mean of the loss at this step and the next",
        "gradient_norm": "length of the gradient",
        "sharpness": "effective sharpness at the midpoint w*",
    },
    "steps": {
        "loss": "loss at the iterate w_t",
        "gradient_norm": "length of the gradient there",
    },
    "series": {
        "displacement": "how far the run's midpoint is from where it was at the flows' start",
        "relative_error": "`error` over `displacement`",
        "loss": "loss at the centre",
        "predicted_loss": "mean loss over the oscillation: that of the centre and what each column's two ends add",
        "discrete_loss": "the run's loss, mean of this step and the next",
        "predicted_squared_gradient": "squared norm of the gradient, averaged over the oscillation likewise",
        "discrete_squared_gradient": "the run's, mean of this step and the next",
        "discrete_sharpness": "the run's effective sharpness at its midpoint",
        "rod_along_sharpest": "length of the rod along the sharpest direction at the centre, in the metric of P",
        "alignment_sharpest": "absolute cosine of rod and sharpest direction, in the metric of P",
        "alignment_oscillation": "absolute cosine of rod and the run's oscillation",
        "gradients": "full-batch gradients since the start, without the measuring",
        "hessian_vector_products": "Hessian-vector products since the start, without the measuring",
    },
    "study": {
        "variant": "the precision of run and flows",
        "flow": "`discrete` for the run, or the name of a flow",
        "sharpness": "effective sharpness at the midpoint or centre",
    },
    "landscape": {
        "landscape": "the name of the landscape",
        "flow": "`discrete` for gradient descent, or the name of a flow",
        "x": "first coordinate of the flow's centre, or of the run's midpoint w*",
        "y": "second coordinate of the same",
        "plus_x": "first coordinate of one end of the rod; of the run, the iterate w_t",
        "plus_y": "second coordinate of the same",
        "minus_x": "first coordinate of the other end; of the run, 2 w*_t - w_t",
        "minus_y": "second coordinate of the same",
        "loss": "mean loss of both ends; of the run, of this step and the next",
        "sharpness": "largest eigenvalue of lr times the Hessian at the centre",
    },
    "plane": {
        "flow": "`discrete` for the run, or the name of a flow",
        "x": "of the flow's centre, or of the run's midpoint w*: way along the drift since the flows' start",
        "y": "of the same: distance across the drift from the run's midpoint w* of that step",
        "plus_x": "x of one end of the rod; of the run, of the iterate w_t",
        "plus_y": "y of the same",
        "minus_x": "x of the other end; of the run, of 2 w*_t - w_t",
        "minus_y": "y of the same",
    },
}
"""By file and column, where it stands in that file alone or means something else there."""


def meanings(file: str, columns: list[str]) -> dict[str, str]:
    """What the ``columns`` of a ``file``, named as in ``OWN``, mean; those that differ in a flow alone are one.

    Raises: ``KeyError`` for a column that has no meaning.
    """
    longest_first = sorted(FLOWS, key=len, reverse=True)

    def general(column: str) -> str:
        if column in OWN[file] or column in COMMON:
            return column
        return next((column.replace(flow, "<flow>") for flow in longest_first if flow in column), column)

    return {name: OWN[file].get(name) or COMMON[name] for name in map(general, columns)}
