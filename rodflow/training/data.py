"""The data of an objective: tensors, several of them, or what a ``Dataset`` or a ``DataLoader`` holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler

from rodflow.errors import InvalidInput
from rodflow.training.weights import PRECISIONS, described

READ_AT_ONCE = 256
"""Examples of a ``Dataset`` that are collated at once."""


@dataclass(frozen=True)
class Form:
    """How tensors are arranged: one, several, or named ones; ``spec`` None is no tensor at all."""

    spec: pytree.TreeSpec | None

    @property
    def count(self) -> int:
        """The number of tensors."""
        return 0 if self.spec is None else self.spec.num_leaves

    def arrange(self, tensors: list[Tensor]) -> Any:
        """These tensors in this form."""
        return None if self.spec is None else pytree.tree_unflatten(tensors, self.spec)


def taken_apart(name: str, part: Any) -> tuple[list[Tensor], Form]:
    """The tensors of ``part``, detached, and their form.

    Raises: ``InvalidInput`` that names the tensor which cannot be used, ``name`` or one inside of it.
    """
    if part is None:
        return [], Form(None)
    arranged = dict(part) if isinstance(part, Mapping) else part
    found, spec = pytree.tree_flatten_with_path(arranged)
    for path, tensor in found:
        _require_tensor(name + pytree.keystr(path), tensor)
    if not found:
        raise InvalidInput(name, part, "a tensor, or several in a tuple or a dict")
    return [tensor.detach() for _, tensor in found], Form(spec)


def _require_tensor(name: str, part: Any) -> None:
    if not isinstance(part, Tensor) or not part.ndim:
        raise InvalidInput(name, type(part).__name__, "a tensor whose first axis is that of the examples")
    if part.is_nested or part.layout != torch.strided:
        raise InvalidInput(name, "a nested or sparse tensor", "a dense one: to_dense(), or padded")
    if not len(part):
        raise InvalidInput(name, list(part.shape), "at least one example")
    if part.is_complex() or (part.is_floating_point() and part.dtype not in PRECISIONS):
        raise InvalidInput(name, described(part), "float32, float64 or whole numbers: others have too few digits")
    if part.is_floating_point() and not part.is_meta and not torch.isfinite(part).all():
        raise InvalidInput(name, f"{int((~torch.isfinite(part)).sum())} numbers that are not finite", "finite ones")


def require_alike(x: list[Tensor], y: list[Tensor]) -> None:
    """Check that inputs and targets are of the same number of examples, on the same device.

    Raises: ``InvalidInput`` naming x or y.
    """
    for name, part in (*(("x", part) for part in x), *(("y", part) for part in y)):
        if len(part) != len(x[0]):
            said = f"{len(part)} targets" if name == "y" else f"inputs of {len(x[0])} and {len(part)} examples"
            raise InvalidInput(name, said, f"{len(x[0])}, as many as there are inputs x")
        if part.device != x[0].device:
            raise InvalidInput(name, f"on {part.device}", f"all data on one device: {x[0].device}, where x is")


def read(x: Any, y: Any) -> tuple[Any, Any]:
    """Inputs and targets: those given, or those that x holds.

    x may be a ``Dataset`` or a ``DataLoader``: it is read once, example by example in the dataset's order, with the
    loader's own collating. An example is (input, target), (input, .., target), an input alone, or a dict. With a name
    y the targets are that entry of the dict x.

    Raises: ``InvalidInput`` for a loader whose sampler chooses examples, for examples of unlike shapes, and for a y
    that x does not hold.
    """
    if isinstance(x, Dataset | DataLoader):
        if y is not None and not isinstance(y, str):
            raise InvalidInput("y", type(y).__name__, f"none beside x, a {type(x).__name__}, which holds the targets")
        x = _whole(_in_order(x))
        if isinstance(x, tuple) and len(x) > 1:
            x, y = x[0] if len(x) == 2 else x[:-1], x[-1]
        elif isinstance(x, tuple):
            x = x[0]
    if isinstance(y, str):
        if not isinstance(x, Mapping) or y not in x:
            held = ", ".join(map(str, x)) if isinstance(x, Mapping) else f"targets; x is a {type(x).__name__}"
            raise InvalidInput("y", y, held)
        x, y = {name: part for name, part in x.items() if name != y}, x[y]
    return x, y


def _in_order(source: Any) -> DataLoader[Any]:
    """A loader of all examples of a Dataset or a DataLoader, in the dataset's order."""
    quiet = torch.Generator()  # a loader draws from torch's own generator otherwise
    if isinstance(source, Dataset):
        return DataLoader(source, READ_AT_ONCE, generator=quiet)
    workers, collate = source.num_workers, source.collate_fn
    if (source.batch_size is None and source.batch_sampler is None) or isinstance(source.dataset, IterableDataset):
        return DataLoader(source.dataset, source.batch_size, collate_fn=collate, num_workers=workers, generator=quiet)
    batches = source.batch_sampler
    sampler: Any = batches.sampler if type(batches) is BatchSampler else batches
    whole = isinstance(sampler, SequentialSampler) or (isinstance(sampler, RandomSampler) and not sampler.replacement)
    if not whole or len(sampler) != len(source.dataset):
        allowed = "one that gives each example once; torch.utils.data.Subset(dataset, indices) chooses examples"
        raise InvalidInput("x", f"a DataLoader with a {type(sampler).__name__}", allowed)
    size = batches.batch_size
    if batches.drop_last and len(source.dataset) % size:
        raise InvalidInput("x", "a DataLoader with drop_last=True", "drop_last=False: a full batch has all examples")
    return DataLoader(source.dataset, size, collate_fn=collate, num_workers=workers, generator=quiet)


def _whole(loader: DataLoader[Any]) -> Any:
    """All batches of a loader as one."""
    batches = [tuple(batch) if isinstance(batch, list) else batch for batch in loader]
    if not batches:
        raise InvalidInput("x", f"a {type(loader.dataset).__name__} of no examples", "at least one example")
    batches = [dict(batch) if isinstance(batch, Mapping) else batch for batch in batches]
    try:
        return pytree.tree_map(lambda *parts: torch.cat(parts), *batches)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InvalidInput("x", f"batches that do not fit together ({error})", "tensors of one shape: pad") from error
