"""config -> prepared examples."""

from __future__ import annotations

import hashlib
import random
import time
from pathlib import Path
from typing import Any

import numpy as np

from rodflow.config import Config
from rodflow.errors import InvalidInput
from rodflow.jobs.files import write_examples, write_json
from rodflow.pipeline.own import call
from rodflow.pipeline.provenance import provenance
from rodflow.problems import datasets


def prepare(config: Config, output: Path) -> None:
    """Read, select and normalise the configured examples; ``output`` is an .npz, its provenance the .json beside it.

    ``images`` there is the sha256 of inputs and targets as they are used: two runs with the same have the same data.

    Raises: ``InvalidInput`` if they cannot be had, or are none.
    """
    begun = time.monotonic()
    data = config.data
    chosen = datasets.select(*read(config), data.examples, data.classes, data.normalise, data.random_labels)
    write_examples(output, chosen.x, chosen.y, chosen.classes)
    digest = hashlib.sha256(chosen.x.tobytes() + chosen.y.tobytes()).hexdigest()
    made = provenance(config.data_settings, time.monotonic() - begun)
    write_json(output.with_suffix(".json"), {"images": digest, "provenance": made.model_dump()})


def read(config: Config) -> tuple[Any, Any]:
    """All inputs and targets of the configured data set."""
    data = config.data
    if data.dataset == "digits":
        return datasets.digits()
    if data.dataset == "cifar10":
        return datasets.cifar10(data.file, data.folder)
    if data.dataset == "npz":
        return datasets.checked(*datasets.npz(data.file), "data.file", data.file)
    key, function = f"own.datasets.{data.dataset}.function", config.own.datasets[data.dataset].function
    import torch  # here: the built-in data sets do without

    for seed in (random.seed, np.random.seed, torch.manual_seed):  # the same chance each time, where there is any
        seed(0)
    made = call(config.own, "datasets", data.dataset, tuple)
    if len(made) != 2:
        raise InvalidInput(key, function, f"a function that returns (x, y), not {len(made)} things")
    x, y = made
    return datasets.checked(x, y, key, function)
