"""Whether a loss is a function with two derivatives that torch gets right: what everything else here rests on.

At the first weights, moved a little aside (equal weights and zero biases are special points), on few examples and in
double precision where the loss can be evaluated in it:

* The value is the same each time, and the gradient.
* The gradient g is the derivative of the value L: ``(L(w + h e) - L(w - h e)) / 2h = g.e``, e along g.
* Hessian-vector products are symmetric, ``u.Hv = v.Hu``, and differences of gradients, ``(g(w + hv) - g(w)) / h = Hv``.
* The value is the same in two chunks of the examples.

A loss with kinks (ReLU, max pooling) has the derivatives on either side of a kink. A step of 1e-8 of w's length crosses
none, but for chance: hence the few examples and the double precision, and two steps of which one has to agree. Where
digits are too few for such a step, as for a module that computes in single precision inside, a longer one is taken; it
crosses kinks, so a loss that has some is then not refused, and the log says that it was not compared.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rodflow.errors import InvalidInput, InvalidObject
from rodflow.jobs.progress import log
from rodflow.training.blame import layer_to_blame
from rodflow.training.differences import DOUBLE, direction, length
from rodflow.training.module import WHOLE, ModuleLoss, layer_of, random_module, seeds_kept
from rodflow.training.objective import Objective
from rodflow.training.weights import flat

FINE, COARSE = (1e-8, 3e-9), (3e-3, 1e-3)
"""Steps of differences of gradients, relative to w's length: for double precision, and for single."""
VALUE_STEP = 1e-4
"""The step of the difference of values."""
KINKED = (
    "Relu",
    "Prelu",
    "Threshold",
    "Hardtanh",
    "Hardswish",
    "Hardsigmoid",
    "MaxPool",
    "Abs",
    "Clamp",
    "Maximum",
    "Minimum",
    "Max",
    "Min",
    "Amax",
)
"""What names of torch's derivatives of functions with kinks begin with, or go on after ``Leaky``."""
RANDOM, GRADIENT, SECOND, UNDECIDED = "random", "gradient", "second derivative", "undecided"
CURES = {
    RANDOM: "it has to give the same numbers each time",
    GRADIENT: "torch has to take it through all of the loss at once: avoid torch.no_grad, .data, detach, hooks and "
    "torch.utils.checkpoint (chunk_size bounds memory in its place)",
    SECOND: "torch has to differentiate all operations twice: avoid torch.no_grad, .data, detach and "
    "once_differentiable; use saved tensors in the backward of an autograd.Function; write weight_norm out, g v / |v|; "
    "call module.eval() for spectral_norm",
}


def check(objective: Objective, w: Tensor) -> None:
    """Check the loss at w ``[d]``, as above, by at most twelve gradients of few examples, which its ``cost`` does not
    count. ``train`` and ``integrate`` do it once for an objective, which is then marked as ``checked``.

    Raises: ``InvalidInput`` for w on another device than the data, and for each of the above, with the layer's name.
    """
    w = flat(w)
    devices = {part.device for part in objective._data}
    if devices and w.device not in devices:
        raise InvalidInput("w0", f"on {w.device}", f"weights where the data are, on {devices.pop()}")
    if not w.is_meta:
        with seeds_kept(w.device):
            few, point = objective.few(w)
            found = fault(few, point)
            if found and found[0] != UNDECIDED:
                raise _refusal(few, point, *found)
            if found:
                why = "too few digits, or kinks"
                log.warning("second derivatives were not compared with differences of gradients: %s", why)
            _require_chunks(objective, few, point)
    objective.checked = True


def fault(objective: Objective, w: Tensor) -> tuple[str, str] | None:
    """What is wrong with the derivatives at w, one of the kinds, and what torch says of it; None for nothing."""
    fine = objective.epsilon(w) < DOUBLE
    rough = 1e-5 if fine else 1e-3
    try:
        value, gradient = objective.value_and_gradient(w)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, NotImplementedError) as error:  # that the value can be had was seen
        return GRADIENT, str(error).splitlines()[0]
    again = objective.value(w)
    if not (torch.isfinite(value) and torch.isfinite(gradient).all()):
        return None
    if float((value - again).abs()) > rough * float(value.abs()):
        return RANDOM, ""
    try:
        differentiated, product, _ = objective.linearise(w)
        u, v = (direction(w, seed) for seed in (1, 2))
        hu, hv = product(u), product(v)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, NotImplementedError) as error:
        return SECOND, str(error).splitlines()[0]
    size, scale = float(gradient.norm()), length(w)
    if float((gradient - differentiated).norm()) > 10 * rough * size:
        return RANDOM, ""
    if not _is_derivative(objective, w, float(value), gradient):
        return GRADIENT, "not that of the value"
    if not (torch.isfinite(hu).all() and torch.isfinite(hv).all()):
        return None
    noise = rough * size / scale
    if abs(float(u @ hv - v @ hu)) > rough * float(hu.norm() + hv.norm()) + noise:
        return SECOND, "not symmetric"
    for steps, tolerance in ([(FINE, 1e-3)] if fine else []) + [(COARSE, 0.05)]:
        ends = [(objective.gradient(w + h * scale * v) - gradient) / (h * scale) for h in steps]
        if not all(torch.isfinite(end).all() for end in ends):
            return None
        if any(float((hv - end).norm()) <= tolerance * float(end.norm()) + noise for end in ends):
            return None
        alike = float((ends[0] - ends[1]).norm()) <= tolerance * float(ends[0].norm())
        # gradients of few digits do not change at all in a fine step
        if alike and (float(ends[0].norm()) > noise if steps is FINE else not _has_kinks(objective, w)):
            return SECOND, "not a difference of gradients"
    return UNDECIDED, ""


def _is_derivative(objective: Objective, w: Tensor, value: float, gradient: Tensor) -> bool:
    size = float(gradient.norm())
    h = VALUE_STEP * length(w) * (1 if objective.epsilon(w) < DOUBLE else 30)
    e = gradient / size if size else direction(w, 1)
    slope = float(objective.value(w + h * e) - objective.value(w - h * e)) / (2 * h)
    noise = 10 * torch.finfo(torch.float32).eps * abs(value) / h
    return not abs(slope - size) > 0.05 * size + noise


def _has_kinks(objective: Objective, w: Tensor) -> bool:
    """Whether a function with kinks is among the operations that torch recorded of the loss."""
    with torch.enable_grad():
        loss = objective._forward(w.detach().requires_grad_(), *objective._data)
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name().removeprefix("Leaky").startswith(KINKED):
            return True
        waiting += [following for following, _ in node.next_functions]
    return False


def _refusal(objective: Objective, w: Tensor, kind: str, said: str) -> InvalidInput:
    loss, wrong = objective._loss, f"its {kind} is wrong ({said}); {CURES[kind]}"
    if not isinstance(loss, ModuleLoss):
        return InvalidObject("loss", f"it is random; {CURES[kind]}" if kind == RANDOM else wrong)

    def at_fault(function: Callable[[Tensor], Tensor], point: Tensor) -> bool:
        found = fault(Objective(function, compile="off"), point)
        return found is not None and found[0] != UNDECIDED

    inputs = objective._data[: loss.inputs.count]
    name = layer_to_blame(loss.module, lambda: loss.output(w, *inputs), at_fault)
    return random_module(loss, name) if kind == RANDOM else InvalidObject(layer_of(loss, name), wrong)


def _require_chunks(objective: Objective, few: Objective, w: Tensor) -> None:
    """Check that the loss of some examples is that of each half together; without chunks, remember if it is not."""
    half = few._examples // 2
    if not half or not objective._divisible:
        return
    whole = few.value(w) * few._examples
    parts = [few.on(tuple(part[cut] for part in few._data)) for cut in (slice(half), slice(half, None))]
    try:
        together = sum(float(part.value(w)) * part._examples for part in parts)
    except RuntimeError:
        together = float("nan")
    if abs(together - float(whole)) <= 1e-4 * abs(float(whole)):
        return
    if objective._in_chunks:
        raise InvalidInput("chunk_size", objective._chunk_size, WHOLE)
    objective._divisible = False
