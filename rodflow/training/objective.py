"""A full-batch loss as a function of one flat parameter vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from rodflow.errors import InvalidInput, InvalidObject, whole_number
from rodflow.jobs.progress import log
from rodflow.training.cost import Cost, Counter
from rodflow.training.data import taken_apart
from rodflow.training.differences import DOUBLE, aside, direction, is_third_derivative
from rodflow.training.forward import ONE_AT_A_TIME, exact_on_gpu, forward_pass
from rodflow.training.losses import Loss
from rodflow.training.module import WHOLE, computed_in, in_brackets, in_training, module_loss, seeds_kept
from rodflow.training.replay import Compile, Replayed
from rodflow.training.weights import flat_parameters

__all__ = ["Cost", "Objective", "flat_parameters", "flops"]


HessianProduct = Callable[[Tensor], Tensor]
Graph = tuple[Tensor, Tensor]
"""The leaf that stands for w, and the gradient of a batch's summed loss there, with its graph."""
T = TypeVar("T")


class Linearised(NamedTuple):
    """The gradient at a point w, and what its graph gives."""

    gradient: Tensor
    """∇L(w), ``[d]``."""
    product: HessianProduct
    """v -> ∇²L(w) v, for v ``[d]`` or k rows ``[k, d]``."""
    third_derivatives: Callable[[Tensor], tuple[Tensor, Tensor]]
    """k columns u ``[d, k]`` -> ∇²L(w) u_i, ``[d, k]``, and the gradients of u_i.∇²L(w) u_j, ``[k, k, d]``.

    Counted as k Hessian-vector products, plus two for each of the k(k+1)/2 third derivatives.
    """


EXAMPLES = 64
"""Checks of derivatives look at no more examples than this."""
BATCHED_FLOPS, BATCHED_WEIGHTS = 1e8, 50_000
"""A gradient of at most so many floating-point operations, of at most so many weights, is evaluated at several points
at once: its time goes into starting its operations. A larger one is faster point by point (docs/performance.md).
"""


class Objective:
    """L(w) with derivatives, for any smooth scalar function of a flat vector.

    ``loss(w, *batch)`` is a *sum* over the examples of a batch; the objective is that sum over all of ``data``
    divided by the number of examples. With ``chunk_size`` the examples are visited in chunks and the results
    added up, so that a full batch larger than memory works; the value is the same up to rounding. Where a device runs
    out of memory all the same, ``chunk_size`` is halved, and the log says so.
    A function without data (a toy landscape) is ``Objective(function)``.

    Shapes: w ``[d]``, values ``[]``, gradients ``[d]``; dtype and device are those of w and ``data``. A module's data
    may be of fewer digits than w: the module is then evaluated in theirs, and gradients are returned in w's dtype.
    ``cost`` counts full-batch evaluations since construction. ``compile``: how gradients are evaluated, see
    :class:`rodflow.training.replay.Replayed`; the loss has to be pure there.
    """

    def __init__(
        self,
        loss: Callable[..., Tensor],
        data: tuple[Tensor, ...] = (),
        chunk_size: int | None = None,
        compile: Compile = "auto",
    ):
        if chunk_size is not None:
            chunk_size = whole_number("chunk_size", chunk_size, "a positive number of examples, or null", least=1)
        self._loss, self._chunk_size, self._compile = loss, chunk_size, compile
        self._data = tuple(taken_apart("data", tuple(data))[0]) if data else ()
        self._examples = len(self._data[0]) if data else 1
        dtypes = [part.dtype for part in self._data if part.is_floating_point()]
        self._computed_in = max(dtypes, key=lambda dtype: torch.finfo(dtype).eps, default=None)
        self._flops: float | None = None  # of a gradient, once it is known
        self._divisible = True  # whether the examples may be visited in chunks
        self._batches_products = True  # whether torch can evaluate several Hessian-vector products at once
        self._third_is_right = False  # whether third derivatives were compared with a difference
        self.checked = False
        """Whether :func:`rodflow.training.preflight.check` found nothing wrong."""
        self._prepare()

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        x: Tensor | Sequence[Tensor] | Mapping[str, Tensor] | Dataset[Any] | DataLoader[Any],
        y: Tensor | Sequence[Tensor] | Mapping[str, Tensor] | str | None = None,
        loss: str | Loss = "mse",
        chunk_size: int | None = None,
        compile: Compile = "auto",
        reduction: str = "sum",
    ) -> Objective:
        """The loss of ``module`` on inputs x ``[n, ...]`` and targets y ``[n, ...]``, the mean over the n examples.

        The module gives the function, as it is now: a copy of it is evaluated, so that evaluating changes nothing of
        the module, and changing the module nothing of the objective. Its parameters that require gradients, in the
        order of ``named_parameters``, are the layout of w (:func:`flat_parameters` gives their present values); the
        others keep their values. A parameter that is tied to others counts once. What it computes is in the dtype of
        x, or, for x of whole numbers, of w.

        Parameters:
            x: a tensor; several, in a tuple (arguments of the module's ``forward``) or a dict (named arguments); or a
                ``Dataset`` or ``DataLoader``, read once, in the dataset's order (:func:`rodflow.training.data.read`).
            y: a tensor, or several in a tuple or a dict, for a loss that takes them; the name of an entry of a dict x;
                None for a loss that needs no targets, or where a ``Dataset`` holds them.
            loss: a name of ``LOSSES`` or any ``loss(output, target)``, of whatever the module returns.
            reduction: what a loss of one's own is, the "sum" or the "mean" over the examples of a batch.

        Raises: ``InvalidInput`` for an unknown loss or reduction, and for x or y that the loss cannot take, that are
        empty, of different lengths, on different devices or not finite; for a module that is random, that cannot be
        copied, or whose examples depend on each other if they are to be visited in chunks.
        """
        ours, data, divisible = module_loss(module, x, y, loss, reduction)
        if not divisible and chunk_size is not None and chunk_size < len(data[0]):
            names = in_brackets(in_training(module, nn.modules.batchnorm._NormBase))
            raise InvalidInput("chunk_size", chunk_size, WHOLE + names)
        objective = cls(ours, data, chunk_size, compile)
        objective._divisible = divisible
        objective._computed_in = computed_in(data[: ours.inputs.count])
        return objective

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: all but what was traced and counted here."""
        return {name: part for name, part in vars(self).items() if name not in ("_at_one", "_at_several", "_counter")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def _prepare(self) -> None:
        self._at_one = Replayed(self._differentiate_loss, self._compile)
        self._at_several = Replayed(self._row_by_row, self._compile, faster=self._rows_at_once)
        self._counter = Counter()
        if any(part.is_cuda for part in self._data):
            exact_on_gpu()

    @property
    def cost(self) -> Cost:
        """Full-batch evaluations that this thread asked for, since construction."""
        return self._counter.cost

    def on(self, data: tuple[Tensor, ...]) -> Objective:
        """The same loss on other data, evaluated as the code says."""
        return Objective(self._loss, data, self._chunk_size, "off")

    def few(self, w: Tensor) -> tuple[Objective, Tensor]:
        """The objective on few examples and a point aside of w, in double precision: as far as it can be evaluated so.

        Checks of derivatives are made there.
        """
        point, stride = aside(w), -(-self._examples // EXAMPLES)
        some = [part[::stride] for part in self._data]
        double = [part.double() if part.is_floating_point() else part for part in some]
        for data, at in ((double, point.double()), (some, point)):
            try:
                few = self.on(tuple(data))
                few.value(at)
                return few, at
            except InvalidInput:
                raise
            except Exception as error:  # whatever a user's code raises where it expects other numbers, or all of them
                log.debug("check of the objective: %s", error)
        return self.on(self._data), point

    def epsilon(self, w: Tensor) -> float:
        """The relative rounding error of what is evaluated at w: that of w's dtype or the data's, the larger."""
        return max(torch.finfo(dtype).eps for dtype in (w.dtype, self._computed_in) if dtype is not None)

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        if self._data and self._in_chunks:
            assert self._chunk_size is not None
            yield from zip(*(torch.split(part, self._chunk_size) for part in self._data), strict=True)
        else:
            yield self._data

    def _mean(self, evaluate: Callable[..., tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Sum ``evaluate(*batch)`` over the batches and divide by the number of examples."""
        return self._fitting(lambda: self._mean_of_batches(evaluate))

    def _fitting(self, work: Callable[[], T]) -> T:
        """``work``, again with smaller chunks as often as a device has no memory for it."""
        while True:
            try:
                return work()
            except torch.OutOfMemoryError:
                self._halve_chunks()

    def _halve_chunks(self) -> None:
        """Visit half as many examples at once from now on; called for an error, which a single example raises again."""
        held = min(self._chunk_size or self._examples, self._examples)
        if held == 1 or not self._divisible:
            raise
        self._chunk_size = (held + 1) // 2
        self._at_one.forget()
        self._at_several.forget()
        log.warning("the device has no memory for %d examples at once: going on with %d", held, self._chunk_size)

    @property
    def _in_chunks(self) -> bool:
        return self._chunk_size is not None and self._chunk_size < self._examples

    def _mean_of_batches(self, evaluate: Callable[..., tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        total: tuple[Tensor, ...] | None = None
        for batch in self._batches():
            part = evaluate(*batch)
            total = part if total is None else tuple(a + b for a, b in zip(total, part, strict=True))
        assert total is not None
        return tuple(a / self._examples for a in total)

    def value(self, w: Tensor) -> Tensor:
        """L(w), ``[]``."""
        self.cost.values += 1
        with torch.no_grad():
            return self._mean(lambda *batch: (self._forward(w, *batch),))[0]

    def _forward(self, w: Tensor, *batch: Tensor) -> Tensor:
        with forward_pass():
            return self._loss(w, *batch)

    def gradient(self, w: Tensor) -> Tensor:
        """∇L(w), ``[d]``."""
        return self.value_and_gradient(w)[1]

    def value_and_gradient(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """L(w) ``[]`` and ∇L(w) ``[d]``, at the cost of the gradient."""
        self.cost.gradients += 1
        value, gradient = self._mean(lambda *batch: self._at_one(w, *batch))
        return value, gradient

    def gradients(self, points: list[Tensor]) -> list[Tensor]:
        """∇L(w), ``[d]``, at each of k points w, at the cost of k gradients: all at once where that is faster."""
        if not (len(points) > 1 and self._batches_points(points[0])):
            return [self.gradient(w) for w in points]
        self.cost.gradients += len(points)
        rows = torch.stack(points)
        return list(self._mean(lambda *batch: self._at_several(rows, *batch))[0])

    def _batches_points(self, w: Tensor) -> bool:
        """Whether gradients at several points like w are evaluated at once."""
        if w.numel() > BATCHED_WEIGHTS or not self._at_several.replays:
            return False
        if self._flops is None:
            self._flops = self.gradient_flops(w)
        return self._flops <= BATCHED_FLOPS

    def gradient_flops(self, w: Tensor) -> float:
        """The floating-point operations of a gradient in matrix products and convolutions; also for tensors without
        data, of the device "meta". Not added to ``cost``.
        """
        return flops(lambda: self._mean(lambda *batch: self._differentiate_loss(w, *batch)))

    def _differentiate_loss(self, w: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """A batch's summed loss ``[]`` at w ``[d]``, and its gradient ``[d]``."""
        with torch.enable_grad():
            leaf = w.detach().requires_grad_()
            loss = self._forward(leaf, *batch)
            return loss.detach(), torch.autograd.grad(loss, leaf)[0]

    def _row_by_row(self, points: Tensor, *batch: Tensor) -> tuple[Tensor]:
        """The gradients ``[k, d]`` of a batch's summed loss at each row of ``points [k, d]``."""
        return (torch.stack([self._differentiate_loss(w, *batch)[1] for w in points]),)

    def _rows_at_once(self, points: Tensor, *batch: Tensor) -> tuple[Tensor]:
        """What :meth:`_row_by_row` gives, each operation for all rows."""
        with torch.enable_grad():
            leaf = points.detach().requires_grad_()
            losses = torch.func.vmap(lambda w: self._forward(w, *batch))(leaf)
            return (torch.autograd.grad(losses.sum(), leaf)[0],)

    def linearise(self, w: Tensor) -> Linearised:
        """∇L(w), and higher derivatives at w that share its graph: reverse over reverse differentiation.

        A Hessian-vector product costs about two gradients, less where those of several rows are evaluated at once
        (:meth:`gradients`). In chunks the graph is rebuilt for each, so that memory stays that of a chunk.
        """
        return self._fitting(lambda: self._linearised(w))

    def _linearised(self, w: Tensor) -> Linearised:
        if self._in_chunks:
            return Linearised(
                self.gradient(w),
                lambda v: _by_row(lambda row: self.hessian_vector_product(w, row), v),
                lambda u: self._third_derivatives(w, u, None),
            )
        graph = self._differentiable_gradient(w, *self._data)
        self.cost.gradients += 1

        def of_graph(v: Tensor) -> Tensor:
            if self._in_chunks:  # since there was no memory for the graph's derivative
                return _by_row(lambda row: self.hessian_vector_product(w, row), v)
            derivative = self._differentiate(*graph, v, retain_graph=True) / self._examples
            self.cost.hessian_vector_products += 1 if v.ndim == 1 else len(v)
            return derivative

        def product(v: Tensor) -> Tensor:
            if v.ndim == 2 and self._batches_products and self._batches_points(w):
                try:
                    return self._fitting(lambda: of_graph(v))
                except RuntimeError as error:  # an operation that torch cannot batch
                    self._batches_products = False
                    log.info("Hessian-vector products are evaluated one by one: %s", str(error).splitlines()[0])
            return _by_row(lambda row: self._fitting(lambda: of_graph(row)), v)

        return Linearised(graph[1].detach() / self._examples, product, lambda u: self._third_derivatives(w, u, graph))

    def hessian_vector_product(self, w: Tensor, v: Tensor) -> Tensor:
        """∇²L(w) v, ``[d]``; the gradient that it differentiates is counted too."""
        self.cost.gradients += 1
        self.cost.hessian_vector_products += 1

        def evaluate(*batch: Tensor) -> tuple[Tensor, ...]:
            return (self._differentiate(*self._differentiable_gradient(w, *batch), v),)

        return self._mean(evaluate)[0]

    def third_derivatives(self, w: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """``third_derivatives`` of :class:`Linearised`, at w; a gradient is counted besides.

        Raises: ``InvalidInput`` where torch gets them wrong, as with its fused norms: before the first ones are handed
        out, some are compared with a difference of Hessian-vector products, which is not counted.
        """
        return self._third_derivatives(w, directions, None)

    def _third_derivatives(self, w: Tensor, directions: Tensor, graph: Graph | None) -> tuple[Tensor, Tensor]:
        """Third derivatives at w, from the gradient's graph, or from one graph per chunk if there is none."""
        columns = directions.T.contiguous()
        k = len(columns)
        self.cost.hessian_vector_products += k + k * (k + 1)

        def evaluate(leaf: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
            with torch.enable_grad():
                products = [self._differentiate(leaf, gradient, u, create_graph=True) for u in columns]
            third = leaf.new_zeros(k, k, leaf.numel())
            for j, product in enumerate(products):
                for i in range(j + 1):
                    third[i, j] = third[j, i] = self._differentiate(leaf, product, columns[i], retain_graph=True)
            return torch.stack([product.detach() for product in products], 1), third

        if graph is not None and not self._in_chunks:
            products, third = self._fitting(lambda: tuple(part / self._examples for part in evaluate(*graph)))
        if graph is None or self._in_chunks:  # perhaps since there was no memory for the graph's derivatives
            self.cost.gradients += 1
            products, third = self._mean(lambda *batch: evaluate(*self._differentiable_gradient(w, *batch)))
        if not self._third_is_right:
            self._require_third_derivatives(w)
            self._third_is_right = True
        return products, third

    def _require_third_derivatives(self, w: Tensor) -> None:
        """Compare a third derivative near w with a difference, where the loss can be evaluated in double precision.

        Raises: ``InvalidInput`` where they differ.
        """
        with seeds_kept(w.device):
            few, point = self.few(w)
            if few.epsilon(point) > DOUBLE:
                return
            few._third_is_right = True
            u = direction(point, 1)
            products, thirds = few.third_derivatives(point, u[:, None])
            if is_third_derivative(thirds[0, 0], few.hessian_vector_product, point, u, float(products.norm())):
                return
        said = "its third derivatives disagree with a difference of Hessian-vector products"
        raise InvalidObject("loss", f"{said}; write norms out, torch's fused ones have wrong ones")

    def product_in_gradients(self, w: Tensor) -> float:
        """What a Hessian-vector product of :meth:`linearise` takes, in gradients: the ratio of their counts of
        floating-point operations (matrix products and convolutions); 1 for a loss that has none. Not added to ``cost``.
        """
        before = self.cost.copy()
        gradient = self.gradient_flops(w)
        both = flops(lambda: self.hessian_vector_product(w, w))
        self._counter.cost = before
        return both / gradient - 1 if gradient else 1.0

    @staticmethod
    def _differentiate(
        leaf: Tensor, gradient: Tensor, v: Tensor, retain_graph: bool = False, create_graph: bool = False
    ) -> Tensor:
        """The derivative of gradient . v, or of each row of v; zero for a linear loss, whose gradient has no graph."""
        if not gradient.requires_grad:
            return torch.zeros_like(v)
        keep = retain_graph or create_graph
        # a graph through constants only, as that of a quadratic's Hessian-vector product, does not reach the leaf
        derivative = torch.autograd.grad(
            gradient,
            leaf,
            v,
            retain_graph=keep,
            create_graph=create_graph,
            allow_unused=True,
            is_grads_batched=v.ndim > gradient.ndim,
        )[0]
        return torch.zeros_like(v) if derivative is None else derivative

    def _differentiable_gradient(self, w: Tensor, *batch: Tensor) -> Graph:
        with torch.enable_grad():
            leaf = w.detach().requires_grad_()
            with forward_pass(twice=True):
                loss = self._loss(leaf, *batch)
            return leaf, torch.autograd.grad(loss, leaf, create_graph=True)[0]


def _by_row(product: HessianProduct, v: Tensor) -> Tensor:
    """A product of v ``[d]``, or of each row of v ``[k, d]``."""
    return product(v) if v.ndim == 1 else torch.stack([product(row) for row in v])


def flops(work: Callable[[], object]) -> float:
    """The floating-point operations of ``work`` in matrix products and convolutions."""
    with ONE_AT_A_TIME, FlopCounterMode(display=False) as counter:  # which hooks into the modules of all threads
        work()
    return counter.get_total_flops()
