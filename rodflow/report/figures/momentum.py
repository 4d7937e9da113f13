"""How fast an oscillation dies below the threshold with momentum: the run's, and what each flow makes of it."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from rodflow.report.figures.style import DISCRETE, FLOW_STYLE, RC, flow_style

BETA = 0.9
"""Momentum of the picture."""
SHARES = np.linspace(0.7, 1.0, 301)
"""Effective sharpness over the threshold."""


def decay_rates(shares: np.ndarray, beta: float) -> dict[str, np.ndarray]:
    """Rate at which the length of heavy ball's oscillation falls, per step, by curve, at ``shares`` of the threshold.

    A step multiplies a mode by mu, with mu^2 - (1 + beta - s) mu + beta = 0 and s = (1 - beta) S, S the effective
    sharpness. Of the two mu the one nearest to -1 counts; with x = -(1 + mu) and g = mu - 1 the rates are

        run                        -ln|mu|
        rod flow                   (2 - |g|^2/2)/2 = ((1 - |mu|^2) + |1 + mu|^2/2)/2
        drift-free, order 2, 3     -Re(x - x^2/2),     -Re(x - x^2/2 + x^3/3),     the series of ln(1 + x) = ln(-mu)
    """
    middle = (1 + beta - 2 * (1 + beta) * shares) / 2
    mu = middle - np.emath.sqrt(middle**2 - beta)  # the threshold is 2 (1 + beta)/(1 - beta)
    x = -(1 + mu)
    return {
        "run": -np.log(np.abs(mu)),
        "rod": (2 - np.abs(mu - 1) ** 2 / 2) / 2,
        "order 2": -np.real(x - x**2 / 2),
        "order 3": -np.real(x - x**2 / 2 + x**3 / 3),
    }


@matplotlib.rc_context(RC)
def draw() -> Figure:
    """The rates of :func:`decay_rates` over effective sharpness / threshold."""
    rates = decay_rates(SHARES, BETA)
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.subplots()
    lines = {
        "run": ("Run", flow_style(DISCRETE).line),
        "rod": ("Rod flow", FLOW_STYLE["rod"].line),
        "order 2": ("Drift-free (ODE), order 2", FLOW_STYLE["drift_free_rod_ode"].line),
        "order 3": ("Drift-free (ODE), order 3", FLOW_STYLE["drift_free_rod"].line),
    }
    for name, (label, line) in lines.items():
        axes.plot(SHARES, rates[name], label=label, **line)
    axes.set(
        title=f"Heavy ball, beta = {BETA}, on a quadratic below its threshold",
        xlabel="effective sharpness / threshold",
        ylabel="decay of the oscillation, per step",
        xlim=(SHARES[0], SHARES[-1]),
        ylim=(0, None),
    )
    axes.legend()
    return figure
