"""RKC2, a stabilised explicit solver: large steps where a flow is stiff along the negative axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

DAMPING = 2 / 13
SAFETY, SMALLEST_FACTOR, LARGEST_FACTOR = 0.8, 0.1, 5.0
"""Of the step size controller: a factor under the step that the error allows, and bounds of its change."""
MOST_STAGES = 50
POWER_ITERATIONS = 8
STEPS_BETWEEN_ESTIMATES = 3
MARGIN = 1.15
"""The spectral radius is estimated from below."""


class SolverStopped(ArithmeticError):
    """The step vanished."""


class RKC2:
    """Second-order Runge-Kutta-Chebyshev method of Sommeijer, Shampine & Verwer (1998), with its error estimate.

    s stages are stable for real eigenvalues down to about -0.65 (s^2 - 1)/h, so that a unit of time costs the square
    root of the stiffness and not, as with an explicit Runge-Kutta method, the stiffness itself. Stage j is

        Y_j = (1 - mu_j - nu_j) y + mu_j Y_{j-1} + nu_j Y_{j-2} + h mu~_j f(Y_{j-1}) + h gamma_j f(y)

    with coefficients from Chebyshev polynomials (:func:`coefficients`). A step is accepted where the root mean square
    of ``(4 (y - y') / 5 + 2 h (f + f') / 5) / (atol + rtol max(|y|, |y'|))`` is at most one. The number of stages
    follows a spectral radius found by power iteration on differences of f. Eigenvalues off the axis that a step does
    not bear grow, are seen by the error estimate, and shorten it.

    Parameters: the field ``f(t, y)``, with t a tensor ``[]`` and y ``[n]``, of one dtype; the time ``t`` and state
    ``y`` of the start; tolerances; the longest step ``max_step``, in units of t; the relative rounding error
    ``epsilon`` of f, which is y's unless it is larger.
    """

    def __init__(
        self,
        field: Callable[[Tensor, Tensor], Tensor],
        t: float,
        y: Tensor,
        rtol: float,
        atol: float,
        max_step: float = math.inf,
        epsilon: float = 0.0,
    ):
        self.field, self.rtol, self.atol, self.max_step = field, rtol, atol, max_step
        self.epsilon = max(epsilon, torch.finfo(y.dtype).eps)
        self.t, self.y, self.h = float(t), y, min(1.0, max_step)
        self.velocity = self._field(t, y)
        self.direction: Tensor | None = None
        self.radius, self.age = 0.0, STEPS_BETWEEN_ESTIMATES

    def advance(self, end: float) -> Tensor:
        """y at time ``end``, at which the last step ends. Raises: ``SolverStopped``."""
        while (remaining := end - self.t) > 0:
            self._step(min(self.h, self.max_step, remaining), remaining)
        return self.y

    def _step(self, h: float, remaining: float) -> None:
        """Try a step of size h; it ends at the requested time if it reaches that far."""
        if self.t + h <= self.t:
            raise SolverStopped(f"the step vanishes at t = {self.t:g}: {h:g}")
        if self.age >= STEPS_BETWEEN_ESTIMATES:
            self._estimate_radius()
        stages = max(2, math.ceil(math.sqrt(1 + 1.54 * h * self.radius)))
        if stages > MOST_STAGES:
            stages, h = MOST_STAGES, (MOST_STAGES**2 - 1) / (1.54 * self.radius)
        following = self._stages(h, stages)
        velocity = self._field(self.t + h, following)
        difference = 0.8 * (self.y - following) + 0.4 * h * (self.velocity + velocity)
        scale = self.atol + self.rtol * torch.maximum(self.y.abs(), following.abs())
        error = float((difference / scale).square().mean().sqrt())
        accepted = error <= 1
        factor = SAFETY * error ** (-1 / 3) if error > 0 else LARGEST_FACTOR
        factor = min(max(factor, SMALLEST_FACTOR), LARGEST_FACTOR) if math.isfinite(error) else SMALLEST_FACTOR
        if accepted:
            self.t = self.t + h if h < remaining else self.t + remaining
            self.y, self.velocity = following, velocity
            self.age += 1
            if h < remaining or factor < 1:  # a step cut short by the end says little about the next
                self.h = h * factor
        else:
            self.h, self.age = h * min(factor, 0.9), STEPS_BETWEEN_ESTIMATES

    def _stages(self, h: float, stages: int) -> Tensor:
        first, rows = coefficients(stages)
        before, last = self.y, self.y + first * h * self.velocity
        for mu, nu, of_last, of_first, at in rows:
            new = (1 - mu - nu) * self.y + mu * last + nu * before + of_first * h * self.velocity
            before, last = last, new + of_last * h * self._field(self.t + at * h, last)
        return last

    def _estimate_radius(self) -> None:
        """The spectral radius of the Jacobian of f at y, by power iteration; the last direction is the first guess."""
        length = math.sqrt(self.epsilon) * max(float(self.y.norm()), 1e-3)
        direction, iterations = (self.velocity, POWER_ITERATIONS) if self.direction is None else (self.direction, 1)
        for _ in range(iterations):
            norm = float(direction.norm())
            if not 0 < norm < math.inf:
                break
            change = self._field(self.t, self.y + direction * (length / norm)) - self.velocity
            while not torch.isfinite(change).all() and length > 0:  # out of the field's domain
                length /= 10
                change = self._field(self.t, self.y + direction * (length / norm)) - self.velocity
            self.radius, direction = MARGIN * float(change.norm()) / length, change
        self.direction, self.age = direction, 0

    def _field(self, t: float, y: Tensor) -> Tensor:
        return self.field(torch.tensor(t, dtype=y.dtype, device=y.device), y)


@lru_cache
def coefficients(stages: int) -> tuple[float, list[tuple[float, float, float, float, float]]]:
    """mu~_1, and (mu_j, nu_j, mu~_j, gamma_j, c_{j-1}) for each later stage j, at least two; c are stage times."""
    w0 = 1 + DAMPING / stages**2
    value, slope, bend = [1.0, w0], [0.0, 1.0], [0.0, 0.0]  # T_j, T'_j, T''_j at w0
    for j in range(2, stages + 1):
        value.append(2 * w0 * value[j - 1] - value[j - 2])
        slope.append(2 * value[j - 1] + 2 * w0 * slope[j - 1] - slope[j - 2])
        bend.append(4 * slope[j - 1] + 2 * w0 * bend[j - 1] - bend[j - 2])
    w1 = slope[stages] / bend[stages]
    b = [bend[j] / slope[j] ** 2 for j in range(2, stages + 1)]
    b = [b[0], b[0], *b]
    time = [w1 * bend[j] / slope[j] for j in range(2, stages + 1)]
    time = [0.0, time[0] / (4 * w0), *time]
    rows = []
    for j in range(2, stages + 1):
        of_last = 2 * b[j] * w1 / b[j - 1]
        of_first = -(1 - b[j - 1] * value[j - 1]) * of_last
        rows.append((2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], of_last, of_first, time[j - 1]))
    return b[1] * w1, rows
