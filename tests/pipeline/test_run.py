"""All stages without Snakemake: what a changed setting makes again, a time limit, a run carried to another machine."""

import random
import time
import zipfile

import pytest
from helpers.checkout import assert_equal, outputs, smoke
from typer.testing import CliRunner

from rodflow import config as configuration
from rodflow.cli import app
from rodflow.errors import InvalidInput, JobsLeft
from rodflow.jobs.pool import Job, do
from rodflow.pipeline.pack import PACKED, pack, unpack
from rodflow.pipeline.stages import everything
from rodflow.pipeline.stages.everything import run_everything
from rodflow.pipeline.stages.figure import draw_figure
from rodflow.pipeline.stages.page import lay_out

GRID = {"architectures": ["mlp"], "flows": ["stable", "drift_free_rod"], "precision_cells": [], "landscapes": []}


def config(**changes):
    return configuration.parse(smoke(**GRID) | changes)


def noting(make, names):
    def note(*words):
        names.append(words[-1].stem)
        return make(*words)

    return note


@pytest.fixture
def noted(monkeypatch):
    """The runs, flows and images that are made from here on, by name."""
    names = []
    for name in ("run_cell", "run_flow", "prepare"):
        monkeypatch.setattr(everything, name, noting(getattr(everything, name), names))
    return names


def test_a_changed_setting_makes_again_what_depends_on_it_and_nothing_else(tmp_path, noted):
    run_everything(config(), tmp_path)
    gd, adam = (
        [f"mlp-{name}-seed0", f"mlp-{name}-seed0-stable", f"mlp-{name}-seed0-drift_free_rod"] for name in ("gd", "adam")
    )
    assert noted == ["dataset", *gd, *adam]
    rates = config().learning_rates
    slower = config(learning_rates=rates | {"mlp": rates["mlp"] | {"gd": 0.1}})
    more = config(data={"dataset": "digits", "examples": 41})
    other = config(solvers={"drift_free_rod": {"interval": 8}})
    for changed, expected in (
        (config(), []),
        (slower, gd),
        (config(), gd),
        (other, [gd[2], adam[2]]),
        (config(), [gd[2], adam[2]]),
        (more, ["dataset", *gd, *adam]),
    ):
        noted.clear()
        run_everything(changed, tmp_path)
        assert noted == expected
    run_everything(more, tmp_path / "anew")
    assert_equal(tmp_path, outputs(tmp_path / "anew"))


def test_a_flow_of_an_earlier_run_and_a_damaged_summary_are_made_again(tmp_path, noted):
    run_everything(config(), tmp_path)
    results = tmp_path / "results/smoke"
    (results / "flows/mlp-gd-seed0-stable.json").write_text("{")
    (results / "flows/mlp-adam-seed0-stable.parquet").unlink()
    noted.clear()
    run_everything(config(), tmp_path)
    assert noted == ["mlp-gd-seed0-stable", "mlp-adam-seed0-stable"]
    summary = results / "discrete/mlp-gd-seed0.json"
    summary.write_text(summary.read_text().replace('"finished": "20', '"finished": "30'))  # after its flows
    noted.clear()
    run_everything(config(), tmp_path)
    assert noted == ["mlp-gd-seed0-stable", "mlp-gd-seed0-drift_free_rod"]


@pytest.mark.long
def test_stopped_at_three_random_moments_it_ends_with_the_bytes_of_one_go(tmp_path):
    settings = config(flows=["drift_free_rod"], steps=2000, record_interval=20, checkpoint_seconds=1000)
    run_everything(settings, tmp_path / "one_go")
    begun = time.monotonic()
    do([Job("none", int)], 1, seconds=600)
    beginning = time.monotonic() - begun
    cut, generator, stops, more = tmp_path / "cut", random.Random(0), 0, 0.0
    while stops < 3:
        with pytest.raises(JobsLeft, match="the same command goes on"):
            run_everything(settings, cut, processes=2, seconds=beginning + more + generator.uniform(0.5, 1.5))
        # only a stop writes them, so seldom are they due; none where no job had come to its first record
        stopped = bool(list(cut.glob("results/**/*.checkpoint.npz")))
        stops, more = stops + stopped, more + (0 if stopped else 1)
    run_everything(settings, cut, processes=2)
    assert_equal(cut, outputs(tmp_path / "one_go"))


@pytest.mark.long
def test_a_packed_run_is_tabulated_elsewhere_without_training(tmp_path, noted):
    here, there, file = tmp_path / "here", tmp_path / "there", tmp_path / "run.zip"
    settings = config(precision_cells=["mlp-gd"], landscapes=["quartic"])
    (tmp_path / "config.yaml").write_text(settings.to_yaml())
    words = ["run", "--config", f"{tmp_path}/config.yaml"]
    assert CliRunner().invoke(app, [*words, "--root", f"{here}", "--pack", f"{file}"]).exit_code == 0
    assert {name.rpartition(".")[2] for name in zipfile.ZipFile(file).namelist()} == {s[1:] for s in PACKED}
    before = file.read_bytes()
    pack(here / "results/smoke", file)
    assert file.read_bytes() == before
    noted.clear()
    assert CliRunner().invoke(app, [*words, "--root", f"{there}", "--unpack", f"{file}"]).exit_code == 0
    assert noted == []
    small = {name: content for name, content in outputs(here).items() if not name.endswith((".h5", ".npz"))}
    assert_equal(there, small)
    (there / "results/smoke/flows/mlp-gd-seed0-stable.parquet").unlink()
    run_everything(settings, there)  # a flow needs the run's states, which were left behind
    assert noted == ["dataset", "mlp-gd-seed0", "mlp-gd-seed0-stable", "mlp-gd-seed0-drift_free_rod"]
    assert_equal(there, small | {name: c for name, c in outputs(there).items() if name.endswith((".h5", ".npz"))})


@pytest.mark.parametrize("name", ["../evil.json", "/evil.json", "a/evil.py"])
def test_an_archive_with_other_names_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("discrete/fine.json", "{}")
        archive.writestr(name, "{}")
    with pytest.raises(InvalidInput, match="evil"):
        unpack(tmp_path / "a.zip", tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_damaged_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("discrete/fine.json", "{}" * 100)
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content.replace(b"{}{}", b"{}[]", 1))
    (tmp_path / "b.zip").write_text("no archive")
    for file in ("a.zip", "b.zip", "missing.zip"):
        with pytest.raises(InvalidInput, match=file):
            unpack(tmp_path / file, tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("flow", ["stable", "twin", "drift_free_rod"])
def test_a_run_of_one_flow_has_all_its_figures_and_a_page(tmp_path, flow):
    one = config(flows=[flow], optimizers=["gd"], animated_cells=[])
    run_everything(one, tmp_path)
    results = tmp_path / "results" / one.run
    for kind in ("cell", "architecture", "overview", "fidelity"):
        draw_figure(one, results, kind, tmp_path / kind, architecture="mlp", optimizer="gd")
        assert (tmp_path / f"{kind}.png").stat().st_size > 1000
    lay_out(one, results, tmp_path / "index.html")
    assert "mlp" in (tmp_path / "index.html").read_text()
