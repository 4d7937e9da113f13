"""A run of the smoke config by the stages."""

from pathlib import Path

from helpers.checkout import smoke
from rodflow import config as configuration
from rodflow.pipeline.stages.everything import run_everything

SMOKE = smoke(landscapes=[], precision_cells=[])


def run(tmp_path: Path, **changes) -> Path:
    config = configuration.parse(SMOKE | changes)
    run_everything(config, tmp_path)
    return tmp_path / "results" / config.run
