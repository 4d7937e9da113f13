"""Any optimizer of torch's interface as a step map: its own ``step``, run on one flat vector."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from rodflow.errors import InvalidInput, real_number
from rodflow.jobs.progress import log
from rodflow.optimizers.schedules import Scheduled
from rodflow.optimizers.step_map import State, StepMap

Settings = dict[str, Any]
SMALL = 1e-12
"""A gradient so small that its square changes no second moment: the step is linear in it."""
LATE = 1e6
"""Steps after which no bias correction is left."""
LONGEST = 4096
"""Steps after which a clock that does not count them stands still."""


def from_torch(
    optimizer: type[torch.optim.Optimizer] | torch.optim.Optimizer,
    module: nn.Module | None = None,
    scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
    **settings: Any,
) -> StepMap:
    """A step map that takes the steps of ``optimizer``, of ``torch.optim`` or of another class of that interface.

        rf.from_torch(torch.optim.Adam, lr=1e-3, betas=(0.9, 0.99))
        rf.from_torch(torch.optim.AdamW([{"params": ..., "lr": 1e-2}, ...]), module)

    Parameters:
        optimizer: a class, whose ``settings`` are those of all weights, with torch's defaults; or a new optimizer over
            the parameters of ``module``, whose parameter groups keep their own rates and decays, and share all else.
            Neither that optimizer nor the module is ever changed.
        module: the one whose parameters that require gradients are the weights (:func:`rodflow.flat_parameters`).
        scheduler: optimizer -> a scheduler of ``torch.optim.lr_scheduler`` for it. Between two steps the rate is a
            line. All groups have to follow the same factor, and nothing but the rate may change.

    See :class:`TorchOptimizer` for what is made of it.

    Raises: ``InvalidInput`` for what is no optimizer, for one that cannot take a step on a flat vector without a
    closure (LBFGS, SparseAdam, Muon), that maximises, that draws random numbers, whose state is neither odd nor even
    in the gradient, that has taken steps, or whose parameters are not the module's.
    """
    if isinstance(optimizer, type) and issubclass(optimizer, torch.optim.Optimizer):
        if module is not None:
            raise InvalidInput("module", type(module).__name__, "none with a class, whose settings are for all weights")
        made = TorchOptimizer(optimizer, (settings,))
    elif isinstance(optimizer, torch.optim.Optimizer):
        if settings:
            raise InvalidInput("settings", sorted(settings), "none with an optimizer that has its own")
        made = _of_instance(optimizer, module)
    else:
        raise InvalidInput("optimizer", optimizer, "an optimizer, or a class, of torch.optim.Optimizer")
    return made if scheduler is None else Scheduled(made, TorchSchedule(made, scheduler))


def _of_instance(optimizer: torch.optim.Optimizer, module: nn.Module | None) -> TorchOptimizer:
    name = type(optimizer).__name__
    if not isinstance(module, nn.Module):
        raise InvalidInput("module", module, f"the torch module whose parameters {name} has")
    if any("step" in state and float(state["step"]) > 0 for state in optimizer.state.values()):
        raise InvalidInput("optimizer", name, "one that has taken no steps: a run begins at its first one")
    group_of = {id(p): i for i, group in enumerate(optimizer.param_groups) for p in group["params"]}
    trained = [(key, p) for key, p in module.named_parameters() if p.requires_grad]
    missing = [key for key, p in trained if id(p) not in group_of]
    if missing or len(group_of) != len(trained):
        allowed = "an optimizer of all parameters of the module that require gradients, and of no others"
        raise InvalidInput("optimizer", f"{name} without {missing}" if missing else f"{name} with others", allowed)
    # what a constructor does not take is torch's own bookkeeping, as a scheduler's initial_lr
    takes = set(inspect.signature(type(optimizer)).parameters) - {"params"}
    groups = tuple({k: v for k, v in group.items() if k in takes} for group in optimizer.param_groups)
    for group in groups[1:]:
        for key in group.keys() - {"lr", "weight_decay"}:
            if group[key] != groups[0].get(key):
                raise InvalidInput(
                    f"{key} of a parameter group", group[key], f"{groups[0].get(key)}, as of the first one"
                )
    return TorchOptimizer(type(optimizer), groups, tuple((group_of[id(p)], p.numel()) for _, p in trained))


@dataclass(frozen=True)
class Part:
    """One tensor of an optimizer's state: its ``name`` in torch, and whether it is one number or one a weight."""

    name: str
    scalar: bool


@dataclass(frozen=True, eq=False)
class TorchOptimizer(StepMap):
    """The step map of a torch optimizer, which runs that optimizer's ``step`` and knows nothing else of it.

    What torch keeps for a weight is told apart by trial. A part of the state that turns round with gradients and
    weights is a first moment and belongs to m, which holds them one after the other; one that does not is a second
    moment and belongs to nu. What depends on neither is a clock, read off the optimizer at whole steps, a line in
    between. What the step never reads (the average that ASGD keeps) is left out.

    With the step linearised at a second moment nu and for a small gradient, m' = J m + a g and w' = w + C m + c g for
    each weight, and a constant gradient moves w by (c + C (1 - J)^-1 a) g a step: that is ``-lr P^-1 g``, which gives
    the preconditioner P (bias corrections of the first moment included, decay of weights left out). A mode of a frozen
    quadratic turns round, multiplier -1, at the effective sharpness

        threshold = 2 (c + C (1 - J)^-1 a) / (c - C (1 + J)^-1 a)

    An optimizer whose step is not linear in a small gradient, as one that takes its sign, is not ``smooth``: a
    discrete run and its twin have it, with P = 1 and no threshold; the other flows refuse it.

    Where the step does not depend on the weights themselves, as without decay, it is taken from zero, so that an
    increment has all its digits. A class with the setting ``differentiable`` is run with it, so that flows that
    differentiate a step can.

    Parameters: ``kind``, the class; ``groups``, the settings of each parameter group; ``layout``, for each of a
    module's parameters its group and its number of weights; empty: one group, any number of weights.
    """

    kind: type[torch.optim.Optimizer]
    groups: tuple[Settings, ...]
    layout: tuple[tuple[int, int], ...] = ()

    learning_rate: float = field(init=False, default=1.0)
    threshold: float = field(init=False, default=math.inf)
    transient: int = field(init=False, default=0)
    smooth: bool = field(init=False, default=True)
    _first: tuple[Part, ...] = field(init=False, default=())
    """The parts of m."""
    _second: tuple[Part, ...] = field(init=False, default=())
    """The parts of nu."""
    _unread: tuple[Part, ...] = field(init=False, default=())
    """What torch keeps and the step does not read."""
    _clocks: tuple[dict[str, list[float]], ...] = field(init=False, default=())
    """For each group the values of each clock after 0, 1, 2, .. steps, as far as they were asked for."""
    _reads_weights: bool = field(init=False, default=False)
    _differentiable: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        def put(**found: Any) -> None:
            for name, value in found.items():
                object.__setattr__(self, name, value)

        takes = inspect.signature(self.kind).parameters
        put(_differentiable="differentiable" in takes)
        try:
            defaults = self._new(torch.zeros(2, dtype=torch.float64), 0).param_groups[0]
        except (TypeError, ValueError, RuntimeError) as error:
            raise InvalidInput("optimizer", self._name, f"settings that it takes ({error})") from error
        if any(settings.get("maximize") for settings in self.groups):
            raise InvalidInput("maximize", True, "false: a loss is minimised")
        rate = defaults.get("lr", 1.0)
        put(learning_rate=real_number("lr", rate, "a positive number", lambda x: 0 < x < math.inf))
        put(**self._parts())
        put(_reads_weights=self._depends_on_weights())
        put(**self._linearised())

    @property
    def _name(self) -> str:
        return self.kind.__name__

    def _new(self, w: Tensor, group: int, **more: Any) -> torch.optim.Optimizer:
        return self.kind([w], **self.groups[group] | more)

    @cached_property
    def _indices(self) -> list[Tensor]:
        """Where the weights of each group are in w."""
        owners = torch.cat([torch.full((size,), group) for group, size in self.layout])
        return [torch.nonzero(owners == group)[:, 0] for group in range(len(self.groups))]

    def _split(self, w: Tensor) -> list[Tensor]:
        """The weights of each group of w ``[d]``; one weight alone stands for those of the first group."""
        if not self.layout or w.numel() == 1:
            return [w]
        if w.numel() != sum(size for _, size in self.layout):
            allowed = f"[{sum(size for _, size in self.layout)}], the module's parameters"
            raise InvalidInput("w", list(w.shape), allowed)
        return [w[index.to(w.device)] for index in self._indices]

    def _joined(self, pieces: list[Tensor]) -> Tensor:
        """A vector ``[d]`` of the weights from what each group has of it."""
        if len(pieces) == 1:
            return pieces[0]
        order = torch.argsort(torch.cat(self._indices)).to(pieces[0].device)
        return torch.cat(pieces)[order]

    # -- what a part of the state is ---------------------------------------------------------------------------------

    def _trajectory(self, sign: float, steps: int = 4) -> dict[str, Tensor]:
        """The state after some steps with gradients and weights times ``sign``, on a vector of three weights."""
        generator = torch.Generator().manual_seed(0)
        start, gradients = (torch.randn(n, 3, dtype=torch.float64, generator=generator) for n in (1, steps))
        point = sign * start[0]
        optimizer = self._new(point, 0)
        try:
            for gradient in gradients:
                point.grad = sign * gradient
                optimizer.step()
        except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
            raise InvalidInput(
                "optimizer", self._name, f"one that steps along a vector's gradient ({error})"
            ) from error
        return {name: value.double() for name, value in _state(optimizer, point).items()}

    def _parts(self) -> dict[str, Any]:
        with torch.no_grad():
            random = torch.random.get_rng_state()
            here, there, fewer = self._trajectory(1.0), self._trajectory(-1.0), self._trajectory(1.0, steps=3)
            again = self._trajectory(1.0)
            drawn = not torch.equal(random, torch.random.get_rng_state())
        if drawn or any(not torch.equal(again[name], value) for name, value in here.items()):
            raise InvalidInput("optimizer", self._name, "one whose step is the same each time: no random numbers")
        first: list[Part] = []
        second: list[Part] = []
        unread: list[Part] = []
        clocks: list[str] = []
        for name, value in here.items():
            other, part = there[name], Part(name, value.numel() == 1)
            if torch.equal(value, other) and torch.equal(value, fewer[name]) and not value.any():
                unread.append(part)
            elif value.numel() not in (1, 3):
                raise InvalidInput("optimizer", self._name, f"one whose {name} is a number or one a weight")
            elif torch.equal(value, other) and part.scalar and self._is_clock(name):
                clocks.append(name)
            elif torch.allclose(value, other, rtol=1e-10, atol=0):
                second.append(part)
            elif torch.allclose(value, -other, rtol=1e-10, atol=0) and not part.scalar:
                (first if self._is_read(name) else unread).append(part)
            else:
                raise InvalidInput("optimizer", self._name, f"one whose {name} is odd or even in the gradient")
        return {
            "_first": tuple(first),
            "_second": tuple(second),
            "_unread": tuple(unread),
            "_clocks": tuple({name: [] for name in clocks} for _ in self.groups),
        }

    def _is_clock(self, name: str) -> bool:
        """Whether a number of the state is the same for other gradients and weights."""
        return torch.equal(self._trajectory(2.0)[name], self._trajectory(1.0)[name])

    def _is_read(self, name: str) -> bool:
        """Whether the step depends on a part of the state."""
        ends = []
        for factor in (1.0, -1e3):
            point = torch.ones(3, dtype=torch.float64)
            optimizer = self._new(point, 0)
            for _ in range(2):
                point.grad = torch.ones_like(point)
                optimizer.step()
            state = optimizer.state[point]
            state[name] = factor * state[name]
            point.grad = torch.ones_like(point)
            optimizer.step()
            ends.append(point.detach().clone())
        return not torch.equal(*ends)

    def _clock(self, group: int, name: str, t: float) -> float:
        """A group's clock at time t: a line between its values at whole steps."""
        if self._counts(group, name):
            return t
        values, t = self._clocks[group][name], min(t, LONGEST)
        before = math.floor(t)
        if len(values) < before + 2:
            values[:] = self._ticks(group, name, min(2 * before, LONGEST) + 2)
        return values[before] + (t - before) * (values[before + 1] - values[before])

    def _counts(self, group: int, name: str) -> bool:
        """Whether a clock counts the steps."""
        values = self._clocks[group][name]
        if not values:
            values[:] = self._ticks(group, name, 64)
        return values[:64] == list(range(64))

    def _ticks(self, group: int, name: str, steps: int) -> list[float]:
        """The values of a clock after 0, 1, .. steps."""
        point = torch.ones(1, dtype=torch.float64)
        optimizer, found = self._new(point, group), []
        for _ in range(steps):
            point.grad = torch.ones_like(point)
            optimizer.step()
            found.append(float(_state(optimizer, point)[name]))
        return [2 * found[0] - found[1], *found]  # at 0 there is no state yet; the same line leads there

    # -- a step ------------------------------------------------------------------------------------------------------

    def init(self, w: Tensor) -> State:
        d = w.numel()
        nu: list[Tensor] = []
        for part in self._second:
            pieces = []
            for i, piece in enumerate(self._split(w)):
                made = _state(self._new(piece.detach().clone(), i), None).get(part.name)
                size = 1 if part.scalar else piece.numel()
                pieces.append(w.new_zeros(size) if made is None else made.detach().to(w).reshape(-1).expand(size))
            nu.append(torch.cat(pieces) if part.scalar else self._joined(pieces))
        return State(w, w.new_zeros(d * len(self._first)), torch.cat(nu) if nu else w.new_zeros(0))

    def increment(self, state: State, gradient: Tensor, t: float | Tensor) -> State:
        w = state.w if self._reads_weights else torch.zeros_like(state.w)
        after = self._after(State(w, state.m, state.nu), gradient, t)
        return State(after.w - w, after.m - state.m, after.nu - state.nu)

    def _after(self, state: State, gradient: Tensor, t: float | Tensor) -> State:
        """The state after torch's step."""
        parts = (*state, gradient)
        derived = self._differentiable and torch.is_grad_enabled() and any(part.requires_grad for part in parts)
        time, groups = float(t), self._split(state.w)
        gradients = self._split(gradient)
        firsts = [self._split(part) for part in state.m.split(len(state.w))] if self._first else []
        sizes = [len(groups) if part.scalar else len(state.w) for part in self._second]
        seconds = [
            list(held) if part.scalar else self._split(held)
            for part, held in zip(self._second, state.nu.split(sizes), strict=True)
        ]
        ends, first_ends, second_ends = [], [[] for _ in firsts], [[] for _ in seconds]  # type: ignore[var-annotated]
        for i, (w, g) in enumerate(zip(groups, gradients, strict=True)):
            point = w.clone() if derived else w.detach().clone()
            optimizer = self._new(point, i, **({"differentiable": True} if derived else {}))
            if time > 0:  # before its first step, an optimizer makes its state itself
                held = optimizer.state[point]
                for name in self._clocks[i]:
                    # steps are counted between whole numbers too; all else has torch's own digits
                    dtype = torch.float64 if self._counts(i, name) else None
                    held[name] = torch.tensor(self._clock(i, name, time), dtype=dtype, device=w.device)
                for part in self._unread:
                    held[part.name] = point.new_zeros(() if part.scalar else point.shape)
                for part, values in zip(self._first + self._second, firsts + seconds, strict=True):
                    held[part.name] = values[i].clone()
            point.grad = g.clone()
            optimizer.step()
            held = _state(optimizer, point)
            ends.append(point)
            for part, collected in zip(self._first + self._second, first_ends + second_ends, strict=True):
                collected.append(held[part.name].reshape(-1).to(w.dtype))
        m = [self._joined(pieces) for pieces in first_ends]
        nu = [
            torch.cat(pieces) if part.scalar else self._joined(pieces)
            for part, pieces in zip(self._second, second_ends, strict=True)
        ]
        return State(
            self._joined(ends), torch.cat(m) if m else state.m.clone(), torch.cat(nu) if nu else state.nu.clone()
        )

    def _depends_on_weights(self) -> bool:
        """Whether the step from other weights is another."""
        zero, one = (torch.full((3,), w, dtype=torch.float64) for w in (0.0, 1.0))
        for group in range(len(self.groups)):
            for here, there in zip(self._moved(group, zero), self._moved(group, one), strict=True):
                if not torch.allclose(here, there, rtol=1e-12, atol=1e-13):
                    return True
        return False

    def _moved(self, group: int, start: Tensor) -> list[Tensor]:
        """How far a group's first step goes from ``start``, and the parts of m and nu that it leaves."""
        point = start.clone()
        optimizer = self._new(point, group)
        point.grad = torch.tensor([0.3, -0.2, 0.1], dtype=start.dtype)
        optimizer.step()
        held = _state(optimizer, point)
        return [point - start, *(held[part.name] for part in self._first + self._second)]

    # -- the step, linearised ----------------------------------------------------------------------------------------

    def _responses(self, nu: Tensor, t: float | Tensor, d: int, small: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """J ``[d, k, k]``, a ``[d, k]``, C ``[d, k]`` and c ``[d]`` at nu, for k parts of m, from small arguments."""
        k, zero = len(self._first), nu.new_zeros(d)

        def response(m: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
            after = self._after(State(zero, m, nu), gradient, t)
            return after.w / small, after.m.view(k, d).T / small if k else zero[:, None][:, :0]

        c, a = response(nu.new_zeros(k * d), torch.full_like(zero, small))
        columns = []
        for j in range(k):
            m = nu.new_zeros(k, d)
            m[j] = small
            columns.append(response(m.reshape(-1), zero))
        turned = torch.stack([column for _, column in columns], 2) if k else nu.new_zeros(d, 0, 0)
        moved = torch.stack([column for column, _ in columns], 1) if k else nu.new_zeros(d, 0)
        return turned, a, moved, c

    @cached_property
    def _kept(self) -> Tensor:
        """The share of each part of nu that a step without a gradient leaves."""
        if not self._second:
            return torch.ones(0, dtype=torch.float64)
        one, zero = torch.ones(len(self._second), dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        return self._after(State(zero, zero.new_zeros(len(self._first)), one), zero, LATE).nu

    def _linearised(self) -> dict[str, Any]:
        """Threshold, transient, and whether the step is smooth."""
        with torch.no_grad():
            nu = torch.ones(len(self._second), dtype=torch.float64) / self._kept.clamp(min=1e-6)
            responses = turned, _, _, c = self._responses(nu, LATE, 1, SMALL)
            twice = self._responses(nu, LATE, 1, 2 * SMALL)[3]
        largest = float(torch.linalg.eigvals(turned).abs().max()) if self._first else 0.0
        linear = bool(torch.isfinite(c)) and torch.allclose(c, twice, rtol=1e-6) and largest < 1
        if linear:
            slow, quick = _settled(*responses, 1), _settled(*responses, -1)
            linear = float(slow) < 0 and float(quick) < 0
        if not linear:
            log.warning(
                "%s: its step is not linear in a small gradient; no threshold, and only a twin follows it", self._name
            )
            return {"smooth": False}
        steps = math.ceil(5 / (1 - largest) - 1e-9) if self._first else 0
        return {"threshold": float(2 * slow / quick), "transient": steps}

    def preconditioner(self, nu: Tensor, t: float | Tensor) -> Tensor:
        if not self.smooth:
            return super().preconditioner(nu, t)
        sizes = self._sizes(nu)
        d = max(sizes, default=1) if not self.layout else sum(size for _, size in self.layout)
        kept = torch.cat([share.expand(size) for share, size in zip(self._kept, sizes, strict=True)]) if sizes else nu
        before = nu.double() / kept.to(nu.device).clamp(min=1e-6)
        # nu is that after t steps: a step that leads to it begins at t - 1
        responses = self._responses(before, torch.as_tensor(t).clamp(min=1) - 1 + 1e-9, d, SMALL)
        return (-self.learning_rate / _settled(*responses, 1)).to(nu.dtype)

    def _sizes(self, nu: Tensor) -> list[int]:
        """The numbers of elements of the parts of nu."""
        scalars = len(self.groups) if self.layout else 1
        whole = [part for part in self._second if not part.scalar]
        each = (nu.numel() - scalars * (len(self._second) - len(whole))) // max(len(whole), 1)
        return [scalars if part.scalar else each for part in self._second]


def _settled(turned: Tensor, a: Tensor, moved: Tensor, c: Tensor, sign: int) -> Tensor:
    """How far a step goes, ``[d]``, at a gradient of one, once m has settled: under a constant gradient (``sign`` 1),
    or under one that turns round at each step (-1).
    """
    eye = torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
    return c + sign * (moved * torch.linalg.solve(eye - sign * turned, a)).sum(1)


def _state(optimizer: torch.optim.Optimizer, point: Tensor | None) -> dict[str, Any]:
    """What an optimizer of one vector keeps for it, or, for None, before its first step: tensors and numbers."""
    held: dict[str, Any] = optimizer.state.get(optimizer.param_groups[0]["params"][0] if point is None else point, {})
    return {name: torch.as_tensor(value) for name, value in held.items() if isinstance(value, Tensor | float | int)}


class TorchSchedule:
    """The factor of the learning rate that a torch scheduler gives: its values at whole steps, a line in between.

    Raises: ``InvalidInput`` for a scheduler whose groups follow different factors, or that changes anything else.
    """

    def __init__(self, optimizer: TorchOptimizer, scheduler: Callable[[torch.optim.Optimizer], Any]):
        self.optimizer, self.scheduler = optimizer, scheduler
        self.factors: list[float] = []
        self(1.0)

    def __call__(self, t: float) -> float:
        before = max(math.floor(t), 0)
        if len(self.factors) < before + 2:
            self.factors = self._table(2 * before + 64)
        return self.factors[before] + (max(t, 0.0) - before) * (self.factors[before + 1] - self.factors[before])

    def _table(self, steps: int) -> list[float]:
        kind: Any = self.optimizer.kind
        torch_optimizer = kind([{"params": [torch.zeros(1)], **settings} for settings in self.optimizer.groups])
        rates = [group["lr"] for group in torch_optimizer.param_groups]
        others = [_without_rates(group) for group in torch_optimizer.param_groups]
        scheduler = self.scheduler(torch_optimizer)
        if not isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler):
            raise InvalidInput("scheduler", scheduler, "a function of an optimizer that returns a scheduler of torch's")
        table = []
        for _ in range(steps):
            now = [float(g["lr"]) / float(rate) for g, rate in zip(torch_optimizer.param_groups, rates, strict=True)]
            changed = [_without_rates(group) for group in torch_optimizer.param_groups] != others
            if changed or max(now) - min(now) > 1e-12:
                what = "more than the rate" if changed else "rates of groups by different factors"
                raise InvalidInput("scheduler", f"changes {what}", "one factor of all learning rates")
            table.append(now[0])
            torch_optimizer.step()
            try:
                scheduler.step()
            except ValueError:  # one with a fixed length, as OneCycleLR, stays where it ends
                break
        return table + table[-1:] * (steps - len(table))


def _without_rates(group: Settings) -> Settings:
    own = {"params", "lr", "initial_lr", "max_lr", "min_lr", "swa_lr"}
    return {name: value for name, value in group.items() if name not in own}
