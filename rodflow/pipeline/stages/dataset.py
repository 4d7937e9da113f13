"""config -> prepared images."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from rodflow.config import Config
from rodflow.jobs.files import write_images, write_json
from rodflow.pipeline.provenance import provenance
from rodflow.problems import datasets


def prepare(config: Config, output: Path) -> None:
    """Read, select and normalise the configured images; ``output`` is an .npz, its provenance the .json beside it.

    ``images`` there is the sha256 of the images and labels as they are used: two runs with the same have the same data.
    """
    begun = time.monotonic()
    data = config.data
    x, y = datasets.digits() if data.dataset == "digits" else datasets.cifar10(data.file, data.folder)
    images = datasets.select(x, y, data.examples, data.classes, data.normalise)
    write_images(output, images.x, images.y, images.classes)
    digest = hashlib.sha256(images.x.tobytes() + images.y.tobytes()).hexdigest()
    made = provenance(data.model_dump(mode="json"), time.monotonic() - begun)
    write_json(output.with_suffix(".json"), {"images": digest, "provenance": made.model_dump()})
