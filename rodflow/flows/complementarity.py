"""The semidefinite complementarity problem that gives the central flow its oscillations."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from rodflow.flows.base import FlowDiverged

if TYPE_CHECKING:
    import cvxpy


def solve(alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """X ``[k, k]``, symmetric, with

        X >= 0,     alpha + beta[X] >= 0,     <X, alpha + beta[X]> = 0      (>= 0: positive semidefinite)

    for a symmetric ``alpha [k, k]`` and ``beta [k, k, k, k]``, beta[X]_kl = sum_ij beta_klij X_ij. With beta symmetric
    and positive semidefinite these are the optimality conditions of

        minimise   <alpha, X> + <X, beta[X]>/2     over X >= 0,

    which is solved in closed form for k = 1 and by Clarabel, through cvxpy, beyond. An antisymmetric part of beta is
    left out, negative eigenvalues are cut off.

    Raises: ``FlowDiverged`` if no X does it (beta is zero where alpha is negative), or if the solver fails.
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
    quadratic = weight[:, None] * beta[rows, columns][:, rows, columns] * weight
    values, vectors = np.linalg.eigh((quadratic + quadratic.T) / 2)
    if not values[-1] > np.finfo(float).tiny:
        raise FlowDiverged("the sharpness rises, and no oscillation holds it")
    # a problem of order one, whatever the units of X
    unit = np.abs(alpha).max() / values[-1]
    problem, x, linear, root = _problem(k)
    linear.value = weight * alpha[rows, columns] / np.abs(alpha).max()
    root.value = np.sqrt(np.clip(values / values[-1], 0, None))[:, None] * vectors.T
    problem.solve(solver="CLARABEL")
    if x.value is None:
        raise FlowDiverged(f"no oscillation holds the sharpness: {problem.status}")
    values, vectors = np.linalg.eigh((x.value + x.value.T) / 2)
    return unit * (vectors * np.clip(values, 0, None)) @ vectors.T


@cache
def _problem(k: int) -> tuple[cvxpy.Problem, cvxpy.Variable, cvxpy.Parameter, cvxpy.Parameter]:
    """The program for k directions, X, and its parameters: alpha and a root of beta; compiled once."""
    import cvxpy  # takes a second, and only two directions or more need it

    rows, columns = np.triu_indices(k)
    x = cvxpy.Variable((k, k), PSD=True)
    entries = cvxpy.hstack([x[i, j] * (1.0 if i == j else np.sqrt(2.0)) for i, j in zip(rows, columns, strict=True)])
    linear, root = cvxpy.Parameter(len(rows)), cvxpy.Parameter((len(rows), len(rows)))
    objective = cvxpy.Minimize(linear @ entries + cvxpy.sum_squares(root @ entries) / 2)
    return cvxpy.Problem(objective), x, linear, root
