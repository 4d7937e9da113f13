"""A picture of one run and its flows, for a notebook."""

from __future__ import annotations

from matplotlib import pyplot
from matplotlib.figure import Figure
from pandas import DataFrame

from rodflow.catalogue import FLOWS
from rodflow.errors import InvalidInput
from rodflow.flows.integrate import FlowRun
from rodflow.report.figures import cell
from rodflow.report.figures.panels import PlottedCell
from rodflow.report.figures.style import DISCRETE
from rodflow.training.discrete import DiscreteRun


def plot(run: DiscreteRun, flows: FlowRun | dict[str, FlowRun], title: str | None = None) -> Figure:
    """Loss, effective sharpness with the threshold, error and rod length of ``flows`` beside ``run``, over the steps.

        rf.plot(run, {"drift_free_rod": flow, "stable": stable, "twin": twin})

    A flow under a name of ``rf.FLOWS`` has the line and the label that figures of the workflow give it, one under
    another name a dotted line and that name. Twins are the floor of the errors, a grey area. The error is the
    distance of a flow's centre from the run's in weight space, and w* the run's centre. The title is the
    optimizer's name if none is given. It is a figure of pyplot, which notebooks show.

    Raises: ``InvalidInput`` for what is no run or flow, and as :meth:`FlowRun.error`.
    """
    if not isinstance(run, DiscreteRun):
        raise InvalidInput("run", run, "the discrete run that rodflow.train returned")
    named = flows if isinstance(flows, dict) else {"flow": flows}
    if not named or not all(isinstance(name, str) and isinstance(flow, FlowRun) for name, flow in named.items()):
        raise InvalidInput("flows", flows, f"a flow's run, or several by name: any name, or one of {', '.join(FLOWS)}")
    shown = PlottedCell(
        series={(name, 0): flow.table(run) for name, flow in named.items()},
        discrete={0: run.table()},
        threshold=run.threshold,
        ended={(DISCRETE, 0): run.diverged_at, **{(name, 0): flow.diverged_at for name, flow in named.items()}},
        every_step={0: DataFrame({"step": range(len(run.loss)), "loss": run.loss.double().numpy()})},
    )
    heading = run.optimizer.partition("(")[0] if title is None else title
    return cell.draw(shown, heading, figure=pyplot.figure())
