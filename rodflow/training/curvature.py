"""Effective sharpness: the top eigenvalues of the preconditioned Hessian."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rodflow.errors import real_number, whole_number
from rodflow.training.objective import Linearised, Objective

if TYPE_CHECKING:
    from rodflow.jobs.checkpoint import StateDict

GUARDS = 2
"""Eigenpairs beyond those asked for that a call hands on to the next: one of them is the next to cross."""
GUARD_TOLERANCE = 0.2
"""The ``sharpness_tolerance`` of the first of them."""
LEAST_EXPANSIONS, LEAST_AT_FIRST = 2, 8
"""A basis grows at least this often beyond a random direction, the first one more often, so that what that direction
has of a large eigenvalue is seen.
"""
SPARE = 8
"""Rows by which a basis grows in memory."""
ROUNDING = 1e-12
"""A residual below this share of the largest eigenvalue has no direction: it is rounding errors."""


class Curvature:
    """Top eigenpairs of ``M = lr P^-1/2 H P^-1/2`` at a point, by Rayleigh-Ritz on a growing basis.

    A call begins with the eigenvectors of the last one, ``GUARDS`` more than asked for, and one random direction. The
    basis then grows by the residual ``M x - theta x`` of the worst Ritz pair, one product each (Davidson's method
    without a preconditioner: a Krylov method that goes on from several vectors). With rho the length of a residual and
    gap the distance of theta to the smallest Ritz value that is kept, an eigenvalue lies within ``rho^2 / gap`` of
    theta, and the basis grows until that is below ``sharpness_tolerance^2`` times the largest, for each pair asked for;
    for the first guard with ``GUARD_TOLERANCE`` in its place.

    A residual bounds the distance to *some* eigenvalue. That it is the largest is what guards and random directions are
    for: an eigenvalue that overtakes the largest along a trajectory was a guard before, or grows out of the random
    directions of a few calls. No bound on products can exclude a miss; tests compare whole runs with dense Hessians.

    Parameters: the number of ``eigenvalues``, ``sharpness_tolerance`` (the relative error is its square),
    ``max_expansions`` of the basis in a call.
    """

    def __init__(
        self, objective: Objective, eigenvalues: int = 1, sharpness_tolerance: float = 2e-2, max_expansions: int = 60
    ):
        self.objective = objective
        self.eigenvalues = whole_number("eigenvalues", eigenvalues, "a positive number of eigenvalues", least=1)
        allowed = "a number above 0 and below 1, whose square is the relative error"
        self.tolerance = real_number("sharpness_tolerance", sharpness_tolerance, allowed, lambda x: 0 < x < 1)
        self.max_expansions = whole_number("max_expansions", max_expansions, "a positive number", least=1)
        self.vectors: Tensor | None = None  # [d, eigenvalues + GUARDS], of the last call, largest first, float64
        self.calls = 0

    def require_fit(self, weights: int) -> None:
        """Check that there are no more eigenvalues than weights. Raises: ``InvalidInput``."""
        allowed = f"from 1 to the number of weights, {weights}"
        whole_number("eigenvalues", self.eigenvalues, allowed, least=1, most=weights)

    def state_dict(self) -> StateDict:
        """What the next call takes from the last ones, for a checkpoint."""
        return {"vectors": self.vectors, "calls": self.calls}

    def load_state_dict(self, state: StateDict) -> None:
        """Go on from a :meth:`state_dict`, less what was None in it."""
        vectors = state.get("vectors")
        self.vectors = None if vectors is None else torch.as_tensor(np.array(vectors))
        self.calls = int(state.get("calls", 0))

    def along_sharpest(self, x: Tensor, preconditioner: Tensor) -> tuple[float, float]:
        """The part of x ``[d]`` along the sharpest direction of the last call, in length and as share of x's length.

        Both lengths are those of ``P^1/2 x``, in which the preconditioned Hessian is symmetric; the share is the
        absolute cosine of the angle between the two. NaN for x = 0, and before the first call.
        """
        scaled = (preconditioner.sqrt() * x).double()
        length = float(scaled.norm())
        if self.vectors is None or not length > 0:
            return float("nan"), float("nan")
        part = abs(float(scaled @ self.vectors[:, 0].to(scaled)))
        return part, part / length

    def effective_sharpness(
        self, w: Tensor, preconditioner: Tensor, learning_rate: float, linearised: Linearised | None = None
    ) -> Tensor:
        """The largest ``eigenvalues`` of ``lr P^-1/2 H(w) P^-1/2``, falling, float64 ``[eigenvalues]`` on the CPU.

        Shapes: w ``[d]``, the diagonal ``preconditioner [d]`` or ``[1]``; ``linearised``: the objective there, if it is
        known. NaN where w, P or H is not finite.

        Raises: ``InvalidInput`` for more eigenvalues than weights.
        """
        self.require_fit(len(w))
        nan = torch.full((self.eigenvalues,), float("nan"), dtype=torch.float64)
        scale = preconditioner.rsqrt()
        gradient, hessian, _ = linearised or self.objective.linearise(w)
        if not (torch.isfinite(gradient).all() and torch.isfinite(scale).all()):
            return nan

        def product(x: Tensor) -> Tensor:
            return learning_rate * (scale * hessian(scale * x.to(w))).double()

        found = self._ritz(product, w)
        if found is None:
            return nan
        values, self.vectors = found
        self.calls += 1
        return values[: self.eigenvalues].cpu()

    def _ritz(self, product: Callable[[Tensor], Tensor], like: Tensor) -> tuple[Tensor, Tensor] | None:
        """Eigenvalues ``[kept]`` and vectors ``[d, kept]``, float64; None where a product is not finite."""
        d = like.numel()
        kept = min(self.eigenvalues + GUARDS, d)
        basis = Basis(d, like.device)
        generator = torch.Generator().manual_seed(self.calls)

        def random() -> Tensor:
            return torch.randn(d, dtype=torch.float64, generator=generator).to(like.device)

        known = [] if self.vectors is None else list(self.vectors.to(like.device).T)
        basis.grow([*known, random()], product)
        expansions = since = 0  # all, and those since the last random direction
        while True:
            if not basis.finite:
                return None
            values, rotation, norms = basis.pairs(kept)
            size = max(float(values[:1].abs()), 1e-12)
            tolerances = torch.full_like(norms, GUARD_TOLERANCE)
            tolerances[: self.eigenvalues] = self.tolerance
            gaps = (values - values[-1]).clamp(min=self.tolerance * size)
            allowed = tolerances * (size * gaps).sqrt()
            excess = (norms / allowed)[: min(self.eigenvalues + 1, kept)]
            least = LEAST_EXPANSIONS if self.vectors is not None else LEAST_AT_FIRST
            enough = since >= least and len(values) == kept
            if len(basis) == d or expansions >= self.max_expansions or (enough and bool((excess <= 1).all())):
                return values.to(like.device), basis.vectors(rotation)
            worst = int(excess.argmax())
            residual = basis.residual(values[worst], rotation[:, worst])
            expansions, since = expansions + 1, since + 1
            # an invariant subspace says nothing of what is beside it, such as other vectors of a multiple eigenvalue
            if not (residual.norm() > ROUNDING * size and basis.grow([residual], product)):
                basis.grow([random()], product)
                since = 0


class Basis:
    """Orthonormal vectors and their images under a symmetric matrix A, float64, kept as rows.

    A product is cheap beside passes over long rows, so none are copied, and what is small is kept: V A Vᵀ, whose
    eigenvectors give the Ritz pairs, and the images' products with each other, which give the lengths of residuals.
    """

    def __init__(self, d: int, device: torch.device):
        self._rows = torch.empty(2, 0, d, dtype=torch.float64, device=device)  # vectors, images; some not yet used
        self._matrix = self._gram = torch.empty(0, 0, dtype=torch.float64)
        self._count = 0
        self.finite = True

    def __len__(self) -> int:
        return self._count

    def grow(self, directions: list[Tensor], product: Callable[[Tensor], Tensor]) -> bool:
        """Take in what is new in each of k directions ``[d]``, and its image; False if nothing is.

        ``product``: rows ``[k, d]`` to their images, one call for all.
        """
        before = len(self)
        for x in directions:
            self._take(x)
        if len(self) == before:
            return False
        new = self._rows[:, before : len(self)]
        new[1] = product(new[0])
        self.finite = self.finite and bool(torch.isfinite(new[1]).all())
        for i in range(before, len(self)):
            self._matrix = _bordered(self._matrix, self._rows[0, : i + 1] @ self._rows[1, i])
            self._gram = _bordered(self._gram, self._rows[1, : i + 1] @ self._rows[1, i])
        return True

    def _take(self, x: Tensor) -> None:
        """Add what of x ``[d]`` is new, of length one, to the vectors; its image is not yet there."""
        vectors, before = self._rows[0, : len(self)], x.norm()
        for _ in range(2):  # once leaves rounding errors as large as the part that is new
            x = x - vectors.T @ (vectors @ x)
        length = x.norm()
        if not length > 1e-10 * before:
            return
        if len(self) == self._rows.shape[1]:
            self._rows = torch.cat([self._rows, self._rows.new_empty(2, SPARE, len(x))], 1)
        self._rows[0, len(self)] = x / length
        self._count += 1

    def pairs(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """The largest ``count`` Ritz values theta, falling, the rotation ``[len, count]`` of the basis that gives their
        vectors x, and the lengths of their residuals ``A x - theta x``.
        """
        values, rotation = torch.linalg.eigh(self._matrix)
        values, rotation = values.flip(0)[:count], rotation.flip(1)[:, :count]
        squares = ((self._gram @ rotation) * rotation).sum(0) - values**2
        return values, rotation, squares.clamp(min=0).sqrt()

    def vectors(self, rotation: Tensor) -> Tensor:
        """The Ritz vectors ``[d, count]`` of a rotation."""
        return self._rows[0, : len(self)].T @ rotation.to(self._rows)

    def residual(self, value: Tensor, rotation: Tensor) -> Tensor:
        """The residual ``[d]`` of one pair, a column ``[len]`` of the rotation."""
        vectors, images = self._rows[:, : len(self)]
        rotation = rotation.to(self._rows)
        return images.T @ rotation - value.to(self._rows) * (vectors.T @ rotation)


def _bordered(matrix: Tensor, column: Tensor) -> Tensor:
    """The symmetric matrix with one more column, and row."""
    column = column.cpu()
    return torch.cat([torch.cat([matrix, column[None, :-1]]), column[:, None]], 1)
