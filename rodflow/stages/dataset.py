"""config -> prepared images."""

from __future__ import annotations

import time
from pathlib import Path

from rodflow.config import Config
from rodflow.problems import datasets
from rodflow.provenance import provenance
from rodflow.storage import write_images, write_json


def prepare(config: Config, output: Path) -> None:
    """Read, select and normalise the configured images; ``output`` is an .npz, its provenance the .json beside it."""
    begun = time.monotonic()
    data = config.data
    x, y = datasets.digits() if data.dataset == "digits" else datasets.cifar10(data.file, data.folder)
    images = datasets.select(x, y, data.examples, data.classes, data.normalise)
    write_images(output, images.x, images.y, images.classes)
    write_json(output.with_suffix(".json"), provenance(data.model_dump(mode="json"), time.monotonic() - begun))
