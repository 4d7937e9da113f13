"""The benchmarks at the smallest sizes, and the tables that they make by hand."""

import os
import re
import subprocess
import tarfile

import pandas as pd
import pytest
import torch
import yaml
from helpers.checkout import ROOT, smoke
from helpers.problems import network

from benchmarks.accuracy import DEFAULT, HALVED, ODE_HALVED, REDRAWN, VARIANTS, convergence, curve
from benchmarks.cost import MODELS, cell_costs
from benchmarks.measure import in_a_process, interleaved
from benchmarks.rates import CELLS, FACTORS, at_rate, rates
from benchmarks.report import add, render, shown
from benchmarks.rod import VARIANTS as ROD_VARIANTS, by_cell, narrowed
from benchmarks.scaling import unit
from rodflow.catalogue import FLOWS
from rodflow.config import load
from rodflow.errors import InvalidInput
from rodflow.problems.networks import Problem


def test_costs_of_one_cell():
    net = network()
    rows = cell_costs(Problem(net.objective(None), net.w0), "gd", 1e-3, MODELS)
    found = {row["model"]: row["gradient_equivalents"] for row in rows}
    assert found["discrete"] == 1 and found["drift_free_rod"] == 2 + 2 * 6 / 16
    assert found["rod"] > found["stable"] and found["central"] > 4
    assert all(row["seconds"] > 0 for row in rows)


def test_actions_take_turns():
    order = []
    interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, {"a": 2, "b": 1})
    assert order == ["a", "b", "a"]


def hungry(numbers):
    return {"sum": float(torch.ones(numbers, dtype=torch.float64).sum())}


def test_a_process_of_its_own_measures_its_peak():
    found = in_a_process(hungry, 60_000_000)
    assert found["sum"] == 60_000_000 and 150 < found["peak_mib"] < 900


def test_unit_in_chunks():
    found = unit(10, 50, 20, 1)
    assert found["parameters"] == 10 * 65 + 10 * 11 + 4 * 11 and found["chunk_size"] == 20
    assert found["seconds"] > 0


def table():
    """Two cells; in the second the errors part from the third record on when the rounding errors change."""
    rows = []
    for optimizer, jolt in (("gd", 1.0), ("adam", 2.0)):
        for variant in VARIANTS:
            for k, step in enumerate((100, 120, 140)):
                error = 0.1 * {HALVED: 1.02, ODE_HALVED: 1.01}.get(variant, 1.0)
                if variant in REDRAWN and k == 2:
                    error *= jolt
                cell = {"architecture": "mlp", "optimizer": optimizer, "seed": 0, "variant": variant}
                rows.append(cell | {"step": step, "error": error, "gradients_per_step": 4.0, "seconds": 1.0})
    return pd.DataFrame(rows)


def test_convergence_and_chaos_by_hand():
    calm, chaotic = convergence(table()).sort_values("optimizer", ascending=False).itertuples(index=False)
    for row in (calm, chaotic):
        assert row.twice_as_often == row.twice_as_often_before_chaos == pytest.approx(0.02)
        assert row.ode_step_halved == row.ode_step_halved_before_chaos == pytest.approx(0.01)
    assert calm.chaos_from is pd.NA and chaotic.chaos_from == 140 and chaotic.edge_from == 100
    assert calm.redrawn == 0 and chaotic.redrawn == pytest.approx(1 / 3)


def test_a_variant_that_stops_early_is_lost_and_has_no_mean():
    whole = table()
    stopped = whole[~((whole["variant"] == HALVED) & (whole["optimizer"] == "gd") & (whole["step"] > 100))]
    found = curve(stopped).loc[HALVED]
    assert found["lost"] == 1 and found["error_over_default"] == pytest.approx(1.02)
    row = convergence(stopped).set_index("optimizer").loc["gd"]
    assert pd.isna(row["twice_as_often"]) and row["error_eos_mean"] == pytest.approx(0.1)


def test_curve_is_relative_to_the_default():
    found = curve(table())
    assert found.loc[DEFAULT, "error_over_default"] == 1
    assert found.loc[HALVED, "error_over_default"] == pytest.approx(1.02)
    assert (found["lost"] == 0).all()


def test_rod_flow_by_cell():
    """Means by hand; a variant that stops early, or is not run in a cell, has none there."""
    rows = [
        {"architecture": "mlp", "optimizer": optimizer, "seed": 0, "variant": variant, "step": step, "error": error}
        | {"equivalents_per_step": 28.0 + 4 * (optimizer == "adam")}
        for optimizer, variants in {"gd": ("r = 2, h = 1", "one column"), "adam": ("r = 2, h = 1",)}.items()
        for variant in variants
        for step, error in ((100, 0.1), (120, 0.3 if variant != "one column" else float("nan")))
    ]
    found = by_cell(pd.DataFrame(rows))
    assert found.index.tolist() == ["one column", "r = 2, h = 1"]
    assert found.columns.tolist() == ["equivalents", "at most", "mlp-gd (n = 2)", "mlp-adam (n = 2)"]
    assert found.loc["r = 2, h = 1"].tolist() == pytest.approx([30, 32, 0.2, 0.2])
    assert found.loc["one column"].isna().tolist() == [False, False, True, True]


def test_rod_flow_is_tried_on_the_named_cells_of_the_mlp():
    config = narrowed(load("config.yaml"), ["adam"])
    assert config.cells == [("mlp", "adam", 0)] and config.maximum_sharpness == 50
    assert {flow for flow, _ in ROD_VARIANTS.values()} <= set(FLOWS)


def test_rates_of_a_cell(monkeypatch):
    """A rate far below the edge, where all flows are near the run, and one that diverges and has no number."""
    config = load("config/smoke.yaml")
    assert at_rate(config, CELLS[0], 2.0).learning_rates["mlp"]["gd"] == 2 * config.learning_rates["mlp"]["gd"]
    monkeypatch.setattr("benchmarks.rates.CELLS", CELLS[:1])
    monkeypatch.setattr("benchmarks.rates.FACTORS", (0.5, 1e4))
    (calm,), (lost,) = rates(config, 1)
    assert calm["learning_rate"] == config.learning_rates["mlp"]["gd"] / 2 and len(FACTORS) == 5
    assert calm["at_the_edge"] == 0 < calm["largest_over_threshold"] < 0.9 and 0 < calm["twin"] < calm["stable"] < 0.1
    assert all(pd.isna(lost[flow]) for flow in ("stable", "rod", "twin"))


def test_rows_add_to_those_of_the_same_commit(tmp_path):
    def seconds(examples, steps, seconds):
        rows = pd.DataFrame({"varied": "steps", "examples": examples, "steps": steps, "s": seconds})
        return rows.dropna(axis=1, how="all")

    def table():
        return pd.read_csv(tmp_path / "scaling.csv")["s"].tolist()

    add(tmp_path, "scaling", seconds(None, [1, 2], [0.1, 0.2]), "One.")
    add(tmp_path, "scaling", seconds(None, [2, 3], [0.5, 0.3]), "One.")
    assert table() == [0.1, 0.5, 0.3]
    add(tmp_path, "scaling", seconds(None, [9], [0.9]), "Another.")
    assert table() == [0.9]


def test_page(tmp_path):
    page = tmp_path / "page.md"
    table().to_csv(tmp_path / "accuracy.csv", index=False)
    with pytest.raises(InvalidInput, match="accuracy"):
        render(tmp_path, page)
    (tmp_path / "accuracy.json").write_text('{"machine": "A machine."}')
    page.write_text(render(tmp_path, page))
    assert "A machine." in page.read_text() and "## Paper-scale" not in page.read_text() and DEFAULT in page.read_text()


def test_a_part_measured_anew_leaves_the_other_sections_of_the_page_as_they_are(tmp_path):
    page, tables = tmp_path / "page.md", tmp_path / "tables"
    page.write_text("# Old title\n\n<!-- accuracy -->\n\n## Errors\n\nOld.\n\n<!-- scaling -->\n\nOld too.\n")
    tables.mkdir()
    rows = [{"varied": "examples", "parameters": 10, "examples": n, "seconds": n / 4} for n in (1, 4)]
    pd.DataFrame(rows).to_csv(tables / "scaling.csv", index=False)
    (tables / "scaling.json").write_text('{"machine": "A machine."}')
    page.write_text(found := render(tables, page))
    assert found.startswith("# Old title\n") and "## Errors\n\nOld." in found and "Old too" not in found
    assert "| 10 | 1 | 0.25 | 1 |" in found and render(tables, page) == found


def test_shown():
    assert shown(pd.DataFrame({"a_b": [1234567, 2], "c": [0.12345, float("nan")]})).splitlines()[2:] == [
        "| 1,234,567 | 0.123 |",
        "| 2 | – |",
    ]


@pytest.mark.long
def test_the_papers_experiment_goes_on_from_call_to_call_and_machine_to_machine(tmp_path):
    """At toy size: a first call without time for all, others elsewhere, from what those before left to carry."""
    settings = smoke(flows=["stable", "drift_free_rod"], architectures=["mlp"], landscapes=[], precision_cells=[])
    settings |= {"optimizers": ["gd", "adam"], "steps": 1500, "record_interval": 100}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))

    def call(work: str, **more: str) -> subprocess.CompletedProcess:
        of_call = {"CONFIG": f"{tmp_path}/config.yaml", "WORK": f"{tmp_path}/{work}", "JOBS": "2", "EXAMPLES": "5"}
        environment = os.environ | of_call | more
        words = ["bash", "benchmarks/paper_on_gpu.sh", f"{tmp_path}/kept"]
        return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)

    first = call("here", LIMIT="1", DTYPES="float64 mixed")
    assert first.returncode == 3, first.stderr
    table = pd.read_csv(tmp_path / "kept/gpu.csv")
    assert table["dtype"].tolist() == ["float64", "mixed"] and (table["drift-free step"] > 0).all()
    second = call("elsewhere", FLOWS="drift_free_rod")
    assert second.returncode == 0, second.stderr
    third = call("third")
    assert third.returncode == 0, third.stderr
    ran = re.findall(r"^(?:local)?rule (\w+):", third.stderr, re.MULTILINE)
    assert sorted(ran) == ["flow", "flow", "replication", "tables"]  # the stable flows
    errors = pd.read_csv(tmp_path / "third/results/smoke/tables/errors.csv")
    followed = {key: list(rows["flow"]) for key, rows in errors.groupby("optimizer")}
    assert followed == {"gd": ["stable", "drift_free_rod"], "adam": ["stable", "drift_free_rod"]}
    cells = pd.read_csv(tmp_path / "kept/paper.csv").set_index("optimizer")
    map_of = errors[errors["flow"] == "drift_free_rod"].set_index("optimizer")
    assert cells.index.tolist() == ["gd", "adam"] and cells["rod error"].isna().all()
    pd.testing.assert_series_equal(cells["drift_free_rod error"], map_of["error_eos_mean"], check_names=False)
    assert (cells["run seconds"] > 0).all() and "The paper's size" in (tmp_path / "kept/gpu.md").read_text()
    assert not (tmp_path / "here/results/smoke/tables/errors.csv").exists()
    with tarfile.open(tmp_path / "kept/paper.tar.gz") as kept:
        assert {"results/smoke/discrete/mlp-gd-seed0.json", "results/smoke/tables/errors.csv"} < set(kept.getnames())
