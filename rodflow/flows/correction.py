"""Backward error correction: from the increment of a map to a flow whose time-one map it is."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from rodflow.errors import InvalidInput

Field = Callable[[float | Tensor, Tensor], Tensor]
"""t, s ``[n]`` -> a velocity or an increment ``[n]``."""


def corrected(phi: Field, order: int) -> Field:
    """The vector field f(t, s) whose flow follows the map ``s' = s + phi(t, s)`` to the given order.

        order 1    f = phi                                     the naive limit
        order 2    f = phi(s - phi/2)
        order 3    f = phi(s - phi(s - (2/3) phi)/2)           up to a small tensor term for nonlinear maps

    Time is shifted along with s, being one more coordinate whose increment is one: an argument s - phi/2 goes with
    t - 1/2. On a linear map phi = x s these are x - x^2/2 and x - x^2/2 + x^3/3, the series of ln(1 + x).
    No derivative of phi is needed; an evaluation costs ``order`` evaluations of phi.

    Raises: ``InvalidInput`` for another order.
    """
    if order == 1:
        return phi
    if order == 2:
        return lambda t, s: phi(t - 1 / 2, s - phi(t, s) / 2)
    if order == 3:
        return lambda t, s: phi(t - 1 / 2, s - phi(t - 2 / 3, s - 2 / 3 * phi(t, s)) / 2)
    raise InvalidInput("order", order, "1, 2 or 3")
