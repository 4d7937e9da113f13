"""Windows of states that alternate about a centre."""

from helpers.problems import window
from rodflow.optimizers.step_map import State


def states(points):
    """Gradient descent's states at weights ``points``."""
    return [State(w, w.new_zeros(0), w.new_zeros(0)) for w in points]


def alternating(c, a, count=17):
    """A window of c + (-1)^t a around step 0."""
    half = count // 2
    return window(states([c + (-1) ** k * a for k in range(-half, half + 1)]), 0)
