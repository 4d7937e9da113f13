"""Summaries of made-up jobs."""

from rodflow.measures.summaries import FlowSummary, LandscapeSummary, Provenance, RunSummary, StudySummary

MADE = Provenance(
    config={},
    commit="abc",
    versions={"python": "3.11"},
    platform="Linux",
    processors=2,
    device="cpu",
    wall_time_seconds=1.0,
    finished="2026-01-01T00:00:00Z",
)


def run_summary(**changes) -> RunSummary:
    """A gradient-descent cell whose flows start at step 20."""
    settings = {"architecture": "mlp", "optimizer": "gd", "seed": 0, "threshold": 2.0, "flow_start": 20}
    return RunSummary(**settings | {"parameters": 100, "diverged_at": None, "provenance": MADE} | changes)


def flow_summary(**changes) -> FlowSummary:
    """A flow of that cell."""
    settings = {"architecture": "mlp", "optimizer": "gd", "seed": 0, "flow": "rod", "start": 20, "diverged_at": None}
    costs = ("gradients", "hessian_vector_products", "gradient_equivalents", "seconds")
    spent = {f"{name}_per_step": 1.0 for name in costs} | {"seconds": 1.0, "incidents": {}}
    return FlowSummary(**settings | spent | {"provenance": MADE} | changes)


def study_summary(**changes) -> StudySummary:
    """The precision study of that cell."""
    settings = {"architecture": "mlp", "optimizer": "gd", "seed": 0, "threshold": 2.0, "flow_start": 20}
    return StudySummary(**settings | {"diverged_at": {}, "provenance": MADE} | changes)


def landscape_summary(**changes) -> LandscapeSummary:
    """A valley."""
    settings = {"landscape": "valley", "formula": "$x^2$", "learning_rate": 0.5, "threshold": 2.0, "flow_start": 8}
    return LandscapeSummary(**settings | {"diverged_at": {}, "mean_error": {}, "provenance": MADE} | changes)
