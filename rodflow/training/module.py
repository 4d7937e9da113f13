"""A module's loss as a function of one flat vector of its parameters."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.backends import cudnn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from rodflow.errors import InvalidInput, InvalidObject
from rodflow.training.blame import Function, layer_to_blame
from rodflow.training.data import Form, read, require_alike, taken_apart
from rodflow.training.forward import forward_pass
from rodflow.training.losses import LOSSES, Loss, require_targets
from rodflow.training.weights import flat_parameters

FEW = 4
"""Examples that tell what a module's output is."""
REDUCTIONS = {"sum": 2.0, "mean": 1.0}
"""Factor by which the loss grows when every example is passed twice."""
WHOLE = (
    "null: the loss of an example depends on the others, as with batch norm in training mode (module.eval() ends that) "
    "or a mean over targets that are not ignored"
)
"""What a chunk size has to be for a loss that is not a sum over examples."""


class ModuleLoss:
    """``loss(w, *batch)``: the summed loss of a module at parameters w ``[d]``; a batch is inputs, then targets.

    The layout of w is that of the parameters that require gradients, in the order of ``named_parameters``, tied ones
    once. The module is copied as it is now, its training mode, frozen parameters and buffers included; evaluating
    changes nothing of the copy, and what happens to the user's own later does not matter. What is computed is in the
    dtype of the floating inputs, or, without any, of w.

    Raises: ``InvalidInput`` for what is no module, or one that has nothing to train, cannot be copied, or whose
    parameters are not real numbers, not initialised yet, or change their gradients by hooks.
    """

    def __init__(
        self, module: nn.Module, inputs: Form, targets: Form, criterion: Loss, mean: bool, device: torch.device
    ):
        if not isinstance(module, nn.Module):
            raise InvalidInput("module", type(module).__name__, "a torch.nn.Module; rodflow.Objective takes functions")
        module = _unwrapped(module)
        _require_plain(module)
        trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if not trainable:
            raise InvalidInput("module", type(module).__name__, "one with parameters that require gradients")
        self.inputs, self.targets, self.criterion, self.mean = inputs, targets, criterion, mean
        self.layout = [(name, p.shape, p.numel()) for name, p in trainable.items()]
        frozen = {name: p for name, p in module.named_parameters() if not p.requires_grad}
        self.frozen = {name: p.detach().to(device, copy=True) for name, p in frozen.items()}
        self.buffers = {name: b.detach().to(device, copy=True) for name, b in module.named_buffers()}
        self.module = _copied(module)
        self.training = any(layer.training for layer in module.modules())
        self.recurrent = any(isinstance(layer, nn.RNNBase) for layer in module.modules())

    def output(self, w: Tensor, *inputs: Tensor) -> Any:
        """What the module makes of a batch of inputs."""
        sizes = [size for _, _, size in self.layout]
        if w.numel() != sum(sizes):
            raise InvalidInput("w", list(w.shape), f"[{sum(sizes)}], the module's parameters")
        x = self.inputs.arrange(list(inputs))
        named = dict(x) if isinstance(x, Mapping) else {}
        positional = () if named else x if isinstance(x, tuple | list) else (x,)
        # cuDNN's recurrent layers have no second derivative
        with cudnn.flags(enabled=False) if self.recurrent else nullcontext():
            return functional_call(self.module, self.parts(w, inputs), tuple(positional), named)

    def parts(self, w: Tensor, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The module's parameters and buffers by name, at w, as precise as the inputs are."""
        dtype = computed_in(inputs) or w.dtype
        pieces = torch.split(w.to(dtype), [size for _, _, size in self.layout])
        parameters = {name: p.view(shape) for (name, shape, _), p in zip(self.layout, pieces, strict=True)}
        # a layer in training mode writes to its buffers
        buffers = {name: b.clone() if self.training else b for name, b in self.buffers.items()}
        constants = self.frozen | buffers
        return parameters | {n: c.to(dtype) if c.is_floating_point() else c for n, c in constants.items()}

    def __call__(self, w: Tensor, *batch: Tensor) -> Tensor:
        inputs, targets = batch[: self.inputs.count], list(batch[self.inputs.count :])
        loss = self.criterion(self.output(w, *inputs), self.targets.arrange(targets))
        return loss * len(batch[0]) if self.mean else loss


def computed_in(inputs: tuple[Tensor, ...] | list[Tensor]) -> torch.dtype | None:
    """The dtype that floating inputs call for; None if there is none."""
    dtypes = {part.dtype for part in inputs if part.is_floating_point()}
    return max(dtypes, key=lambda dtype: torch.finfo(dtype).bits) if dtypes else None


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module inside of torch.compile's or a parallel wrapper, which have no second derivatives of their own."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return _unwrapped(module.module)
    inside = getattr(module, "_orig_mod", None)
    return _unwrapped(inside) if isinstance(inside, nn.Module) else module


def _require_plain(module: nn.Module) -> None:
    if any(isinstance(layer, torch.jit.ScriptModule) for layer in module.modules()):
        raise InvalidObject("module", "it is scripted or traced; pass the module that it was made of")
    for name, p in [*module.named_parameters(), *module.named_buffers()]:
        if is_lazy(p):
            raise InvalidObject(f"module, {name}", "it is not initialised; call the lazy module once before")
    for name, p in module.named_parameters():
        if p.is_complex():
            raise InvalidObject(f"module, {name}", "it is complex; parameters have to be real numbers")
        if p._backward_hooks:
            said = "its gradient has a hook; rodflow differentiates the module as a function, without hooks"
            raise InvalidObject(f"module, {name}", said)


def _copied(module: nn.Module) -> nn.Module:
    """A copy without the parameters' numbers: whatever does not take those that it is called with raises an error."""
    known: dict[int, Any] = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=p.requires_grad)
        for p in module.parameters()
    }
    for layer in module.modules():  # a tensor that another one was computed from cannot be copied
        known |= {id(t): t.detach() for t in vars(layer).values() if isinstance(t, Tensor) and t.grad_fn is not None}
    try:
        return copy.deepcopy(module, known)
    except Exception as error:  # copying runs code of the user's
        raise InvalidObject(type(module).__name__, f"copy.deepcopy cannot copy it ({error})") from error


def module_loss(
    module: nn.Module, x: Any, y: Any, loss: str | Loss, reduction: str
) -> tuple[ModuleLoss, tuple[Tensor, ...], bool]:
    """A module's loss, its data ``(*inputs, *targets)``, and whether an example's output does not depend on others.

    Raises: as :meth:`Objective.from_module`.
    """
    if isinstance(loss, str) and loss not in LOSSES:
        raise InvalidInput("loss", loss, f"one of {', '.join(LOSSES)}, or a function of output and target")
    if reduction not in REDUCTIONS:
        raise InvalidInput("reduction", reduction, "sum or mean")
    x, y = read(x, y)
    (inputs, input_form), (targets, target_form) = taken_apart("x", x), taken_apart("y", y)
    if not inputs:
        raise InvalidInput("x", x, "a tensor, several in a tuple or a dict, a Dataset or a DataLoader")
    if isinstance(loss, str) and not isinstance(y, Tensor):
        raise InvalidInput("y", y if y is None else type(y).__name__, f"a tensor, the targets of {loss}")
    require_alike(inputs, targets)
    criterion = LOSSES[loss] if isinstance(loss, str) else loss
    ours = ModuleLoss(
        module, input_form, target_form, criterion, reduction == "mean" and criterion is loss, inputs[0].device
    )
    w, few = flat_parameters(module).to(inputs[0].device), [part[:FEW] for part in (*inputs, *targets)]
    with torch.no_grad(), forward_pass(), seeds_kept(w.device):
        output = ours.output(w, *few[: len(inputs)])
    if isinstance(loss, str):
        if not isinstance(output, Tensor):
            said = f"{type(module).__name__}, with an output of type {type(output).__name__}"
            cure = f"a tensor for loss='{loss}'; a function of output and target takes it from any other: output.logits"
            raise InvalidInput("module", said, cure)
        require_targets(loss, (len(inputs[0]), *output.shape[1:]), targets[0])
    return ours, (*inputs, *targets), w.is_meta or _tried(ours, w, few, reduction)


def _tried(loss: ModuleLoss, w: Tensor, few: list[Tensor], reduction: str) -> bool:
    """Whether the loss of few examples is that of a part of them and of the others, together.

    Raises: ``InvalidInput`` for a loss that is random or no number, for a mean called a sum, or a sum called a mean.
    """

    def value(examples: slice, times: int = 1) -> float:
        found = loss(w, *(torch.cat([part[examples]] * times) for part in few))
        if not isinstance(found, Tensor) or found.numel() != 1:
            said = f"one that gives {list(found.shape) if isinstance(found, Tensor) else type(found).__name__}"
            raise InvalidInput("loss", said, "one that gives a number: the sum or the mean over a batch's examples")
        return float(found)

    with torch.no_grad(), forward_pass(), seeds_kept(w.device):
        try:
            whole, again = value(slice(None)), value(slice(None))
            _require_repeatable(loss, w, tuple(few[: loss.inputs.count]), whole, again)
            twice, half = value(slice(None), times=2), (len(few[0]) + 1) // 2
            parts = value(slice(half)) + (value(slice(half, None)) if len(few[0]) > half else 0.0)
        except InvalidInput:
            raise
        except Exception:  # it needs all examples together, or more of them; any other error comes again
            return False
    other = next(name for name in REDUCTIONS if name != reduction)
    ratio = twice / (whole or 1.0) / (2 if loss.mean else 1)
    if loss.criterion not in LOSSES.values() and abs(ratio - REDUCTIONS[other]) < 1e-3:
        allowed = f"{other}: the loss of the examples taken twice is {REDUCTIONS[other]:g} times that of the examples"
        raise InvalidInput("reduction", reduction, allowed)
    return math.isclose(whole, parts, rel_tol=1e-3)


def seeds_kept(device: torch.device) -> AbstractContextManager[None]:
    """A context that leaves torch's random numbers as they were."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def _require_repeatable(loss: ModuleLoss, w: Tensor, inputs: tuple[Tensor, ...], once: float, again: float) -> None:
    dropouts = [layer for layer in loss.module.modules() if isinstance(layer, nn.modules.dropout._DropoutNd)]
    differ = math.isfinite(once) and not math.isclose(once, again, rel_tol=1e-5)
    if not differ and not any(layer.training and layer.p > 0 for layer in dropouts):
        return

    def at_fault(function: Function, point: Tensor) -> bool:
        return not torch.equal(function(point), function(point))

    names = in_training(loss.module, nn.modules.dropout._DropoutNd)
    with torch.no_grad(), seeds_kept(w.device):
        raise random_module(loss, names or layer_to_blame(loss.module, lambda: loss.output(w, *inputs), at_fault))


def random_module(loss: ModuleLoss, names: str) -> InvalidInput:
    """The refusal of a module that is another function each time."""
    said = "it is random; it has to give the same numbers each time: module.eval() turns dropout off"
    return InvalidObject(layer_of(loss, names), said)


def layer_of(loss: ModuleLoss, names: str) -> str:
    """What a refusal calls a module's layers, or the module where no layer is to blame."""
    module = type(loss.module).__name__
    return f"{module}, layer {names}" if names else module


def in_training(module: nn.Module, kind: type[nn.Module]) -> str:
    """The names of the module's layers of a kind that are in training mode."""
    return ", ".join(name for name, layer in module.named_modules() if isinstance(layer, kind) and layer.training)


def in_brackets(names: str) -> str:
    """`` (names)``, or nothing without any."""
    return f" ({names})" if names else ""
