"""Effective sharpness: the top eigenvalues of the preconditioned Hessian."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, lobpcg
from torch import Tensor

from rodflow.training.objective import Objective


class Curvature:
    """Top eigenpairs of ``lr P^-1/2 H P^-1/2`` at a point, by LOBPCG on Hessian-vector products.

    Knyazev (2001), scipy's implementation. Each call starts from the eigenvectors of the last one: along a trajectory
    a few products suffice, and where those are still good enough, one for each. An eigenvalue is within about
    ``tolerance^2`` of the exact one, relatively (the residual is held below ``tolerance`` times the eigenvalue),
    unless ``max_iterations`` comes first.

    Parameters: ``count`` of eigenvalues, relative residual ``tolerance``, ``max_iterations`` of a call.
    """

    def __init__(self, objective: Objective, count: int = 1, tolerance: float = 2e-2, max_iterations: int = 60):
        self.objective, self.count, self.tolerance = objective, count, tolerance
        self.max_iterations = max_iterations
        self.vectors: np.ndarray | None = None  # [d, count], of the last call, largest eigenvalue first

    def state_dict(self) -> dict[str, np.ndarray | None]:
        """What the next call takes from the last one, for a checkpoint."""
        return {"vectors": self.vectors}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a :meth:`state_dict`; what was None may be left out."""
        self.vectors = state.get("vectors")

    def along_sharpest(self, x: Tensor, preconditioner: Tensor) -> tuple[float, float]:
        """The part of x ``[d]`` along the sharpest direction of the last call, in length and as share of x's length.

        Both lengths are those of ``P^1/2 x``, in which the preconditioned Hessian is symmetric; the share is the
        absolute cosine of the angle between the two. NaN for x = 0, and before the first call.
        """
        scaled = (preconditioner.sqrt() * x).double().cpu()
        length = float(scaled.norm())
        if self.vectors is None or not length > 0:
            return float("nan"), float("nan")
        part = abs(float(scaled @ torch.from_numpy(self.vectors[:, 0].copy())))
        return part, part / length

    def effective_sharpness(self, w: Tensor, preconditioner: Tensor, learning_rate: float) -> Tensor:
        """The ``count`` largest eigenvalues of ``lr P^-1/2 H(w) P^-1/2``, falling, float64 ``[count]`` on the CPU.

        Shapes: w ``[d]``, the diagonal ``preconditioner [d]`` or ``[1]``. NaN where w, P or H is not finite.
        """
        nan = torch.full((self.count,), float("nan"), dtype=torch.float64)
        scale = preconditioner.rsqrt()
        gradient, hessian = self.objective.linearise(w)
        if not (torch.isfinite(gradient).all() and torch.isfinite(scale).all()):
            return nan
        d = w.numel()

        def product(block: np.ndarray) -> np.ndarray:
            columns = torch.as_tensor(block, dtype=w.dtype, device=w.device).reshape(d, -1)
            result = torch.stack([scale * hessian(scale * column) for column in columns.T.contiguous()], 1)
            return learning_rate * result.double().cpu().numpy()

        if d < 5 * self.count:  # LOBPCG wants a space several blocks wide
            values, vectors = np.linalg.eigh(product(np.eye(d)))
            self.vectors = vectors[:, ::-1][:, : self.count]
            return torch.from_numpy(values[::-1][: self.count].copy())

        start = self.vectors
        if start is None:
            start = np.random.default_rng(0).standard_normal((d, self.count))
        values, vectors, residual = rayleigh_ritz(product, start)
        if not np.isfinite(values).all():
            return nan
        tolerance = self.tolerance * max(np.abs(values).max(), 1e-12)
        if residual > tolerance:
            operator = LinearOperator((d, d), matvec=product, matmat=product, dtype=np.float64)
            with warnings.catch_warnings():
                # not converged within max_iterations: the best pairs are returned
                warnings.simplefilter("ignore", UserWarning)
                try:
                    values, vectors = lobpcg(
                        operator, vectors, tol=tolerance, maxiter=self.max_iterations, largest=True
                    )
                except (np.linalg.LinAlgError, ValueError):  # a non-finite product inside the iteration
                    return nan
        order = np.argsort(values)[::-1]
        self.vectors = vectors[:, order]
        return torch.from_numpy(values[order].copy())


def rayleigh_ritz(
    product: Callable[[np.ndarray], np.ndarray], block: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Eigenvalues ``[count]`` and vectors ``[d, count]`` of a symmetric matrix on the span of ``block [d, count]``,
    and the largest norm of a residual ``A x - lambda x``; NaN where a product is not finite."""
    basis = np.linalg.qr(block)[0]
    image = product(basis)
    if not np.isfinite(image).all():
        return np.full(block.shape[1], np.nan), block, np.nan
    values, rotation = np.linalg.eigh(basis.T @ image)
    vectors = basis @ rotation
    return values, vectors, float(np.linalg.norm(image @ rotation - vectors * values, axis=0).max())
