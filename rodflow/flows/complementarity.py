"""The semidefinite complementarity problem that gives the central flow its oscillations."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from rodflow.errors import InvalidInput
from rodflow.flows.base import FlowDiverged

if TYPE_CHECKING:
    import cvxpy

PRECISION, ROUNDS = 1e-4, 20
"""Relative change of X at which the rounds for an antisymmetric beta end, and the most of them."""


def solve(alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """X ``[k, k]``, symmetric, with

        X >= 0,     alpha + beta[X] >= 0,     <X, alpha + beta[X]> = 0      (>= 0: positive semidefinite)

    for a symmetric ``alpha [k, k]`` and ``beta [k, k, k, k]``, beta[X]_kl = sum_ij beta_klij X_ij. With beta symmetric
    and positive semidefinite these are the optimality conditions of

        minimise   <alpha, X> + <X, beta[X]>/2     over X >= 0,

    which is solved in closed form for k = 1 and by Clarabel, through cvxpy, beyond. Negative eigenvalues of beta's
    symmetric part are cut off. Its antisymmetric part, small where the critical eigenvalues are alike, acts on the
    previous solution, until X changes by less than ``PRECISION`` or ``ROUNDS`` are over.

    Raises: ``FlowDiverged`` if no X does it (beta is zero where alpha is negative), or if the solver fails;
    ``InvalidInput`` for k > 1 without cvxpy.
    """
    k = len(alpha)
    if np.linalg.eigvalsh(alpha)[0] >= 0:
        return np.zeros((k, k))
    if k == 1:
        if not beta.item() > np.finfo(float).tiny:
            raise FlowDiverged("the sharpness rises, and no oscillation holds it")
        return np.array([[-alpha.item() / beta.item()]])
    rows, columns = np.triu_indices(k)
    weight = np.where(rows == columns, 1.0, np.sqrt(2.0))  # keeps inner products of symmetric matrices
    linear = weight * alpha[rows, columns]
    matrix = weight[:, None] * beta[rows, columns][:, rows, columns] * weight
    antisymmetric = (matrix - matrix.T) / 2
    x = _minimise(linear, matrix - antisymmetric, k)
    for _ in range(ROUNDS if np.abs(antisymmetric).max() > PRECISION * np.abs(matrix).max() else 0):
        before, x = x, _minimise(linear + antisymmetric @ (weight * x[rows, columns]), matrix - antisymmetric, k)
        if np.linalg.norm(x - before) <= PRECISION * np.linalg.norm(x):
            break
    return x


def _minimise(alpha: np.ndarray, beta: np.ndarray, k: int) -> np.ndarray:
    """X >= 0 ``[k, k]`` that minimises alpha.x + x.beta x/2, x its upper triangle with off-diagonals times root two."""
    values, vectors = np.linalg.eigh(beta)
    if not values[-1] > np.finfo(float).tiny:
        raise FlowDiverged("the sharpness rises, and no oscillation holds it")
    # a problem of order one, whatever the units of X
    size = np.abs(alpha).max()
    problem, x, linear, root = _problem(k)
    linear.value = alpha / size
    root.value = np.sqrt(np.clip(values / values[-1], 0, None))[:, None] * vectors.T
    problem.solve(solver="CLARABEL", warm_start=False)  # else the digits depend on the problems solved before
    if x.value is None:
        raise FlowDiverged(f"no oscillation holds the sharpness: {problem.status}")
    lengths, axes = np.linalg.eigh((x.value + x.value.T) / 2)
    return size / values[-1] * (axes * np.clip(lengths, 0, None)) @ axes.T


@cache
def _problem(k: int) -> tuple[cvxpy.Problem, cvxpy.Variable, cvxpy.Parameter, cvxpy.Parameter]:
    """The program for k directions, X, and its parameters: alpha and a root of beta; compiled once."""
    try:
        import cvxpy  # takes a second, and only two directions or more need it
    except ImportError as error:
        advice = "1, or any number with cvxpy and clarabel: pip install 'rodflow[central]'"
        raise InvalidInput("directions", k, f"{advice} (importing cvxpy failed: {error})") from error

    rows, columns = np.triu_indices(k)
    x = cvxpy.Variable((k, k), PSD=True)
    entries = cvxpy.hstack([x[i, j] * (1.0 if i == j else np.sqrt(2.0)) for i, j in zip(rows, columns, strict=True)])
    linear, root = cvxpy.Parameter(len(rows)), cvxpy.Parameter((len(rows), len(rows)))
    objective = cvxpy.Minimize(linear @ entries + cvxpy.sum_squares(root @ entries) / 2)
    return cvxpy.Problem(objective), x, linear, root
