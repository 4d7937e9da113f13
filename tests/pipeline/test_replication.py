"""REPLICATION.md: verdicts follow from the numbers, what did not run is said, the committed copy is up to date."""

import numpy as np
import pandas as pd
import pytest
import yaml
from helpers.checkout import ROOT

from rodflow import config as configuration
from rodflow.measures.constants import FEW
from rodflow.measures.errors import over
from rodflow.reference.replication import replicate_reference
from rodflow.report import replication
from rodflow.report.replication import (
    FAILS,
    HOLDS,
    IN_PART,
    JUDGED_FLOWS,
    NO_NUMBER,
    NOT_RUN,
    PAPER_OPTIMIZERS,
    UNTESTED,
    claims,
    counted,
    generated,
    judged,
    markdown,
    remake,
    scale,
)
from rodflow.report.summary import median_told

DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())


def config(**changes):
    return configuration.parse(DEFAULT | changes)


def flows_rows(ratios, **columns):
    """Rows of errors.csv of one flow, each of enough records, in which the two errors differ by more than the floor."""
    frame = pd.DataFrame({"ratio_to_stable": np.array(ratios, dtype=float)})
    frame = frame.assign(error_eos_mean=0.1, floor=1e-3, n_stable=20, n_stable_corrected=20, n_floor=20, **columns)
    return frame.assign(ratio_to_stable_corrected=frame["ratio_to_stable"] / 2, ratio_to_floor=100.0)


def tables(ratios, settled=1.0, near=1.0, share=0.5, architectures=("mlp", "cnn", "vit"), optimizers=PAPER_OPTIMIZERS):
    """Tables of a made-up run: ``ratios`` by flow, a function of architecture and optimizer."""
    cells = [(a, o) for a in architectures for o in optimizers]
    rows = [
        flows_rows([of(a, o)], architecture=a, optimizer=o, flow=f, seed=0, sharpness_ratio=near)
        for a, o in cells
        for f, of in ratios.items()
    ]
    errors = pd.concat(rows, ignore_index=True)
    rows = [
        {"architecture": a, "optimizer": o, "sharpness_eos_median": 2 * settled, "eos_share": share} for a, o in cells
    ]
    thresholds = pd.DataFrame(rows).assign(threshold=2.0)
    return {"errors": errors, "thresholds": thresholds, "fidelity": errors}


def rows(found, start):
    return [row for row in found if row.claim.startswith(start)]


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([3.0, 2.0, 5.0], HOLDS),
        ([3.0, 0.9, 5.0], IN_PART),  # one cell is farther from the run than the stable flow
        ([1.9, 1.5, 100.0], FAILS),  # closer everywhere, but by less than a factor of two in the median
        ([np.nan, 4.0], HOLDS),
        ([np.nan], UNTESTED),
        ([], UNTESTED),
    ],
)
def test_verdict_on_ratios(ratios, verdict):
    assert judged(flows_rows(ratios)) == verdict


def test_a_difference_below_the_floor_holds_in_part():
    """Errors .1 and .3, and a floor between and above their difference; no floor is not known to be below it."""
    for floor, verdict in ((0.19, HOLDS), (0.21, IN_PART), (np.nan, IN_PART)):
        assert judged(flows_rows([3.0, 5.0]).assign(floor=[floor, 0.01])) == verdict


def test_cells_of_few_records_do_not_count():
    few = flows_rows([0.5, 4.0, 4.0]).assign(n_stable=[FEW - 1, FEW, 31])
    assert judged(few) == HOLDS and judged(few[:1]) == UNTESTED
    assert over(few, "ratio_to_stable") == "2 of 3 cells, n 5 to 31"
    assert median_told(few, "ratio_to_stable") == "4 (2 of 3 cells, n 5 to 31)"


def test_verdict_on_counts():
    cases = [(3, 3), (2, 4), (1, 3), (0, 0)]
    assert [counted(held, total) for held, total in cases] == [HOLDS, IN_PART, FAILS, UNTESTED]


def test_claims_of_a_run_where_one_model_works_and_the_other_does_not():
    numbers = {"stable": lambda a, o: 1.0, "rod": lambda a, o: 1.1, "drift_free_rod": lambda a, o: 20.0}
    found = claims(config(), **tables(numbers), weights=[1000])
    assert {row.scale for row in found} - {NOT_RUN} == {"reduced"}
    ours, others = list(JUDGED_FLOWS).index("drift_free_rod"), [UNTESTED, UNTESTED]
    for start, verdicts in {
        "tracks": [FAILS, *others, HOLDS],
        "by how much": [NO_NUMBER, *others, NO_NUMBER],
        "is as near": [FAILS, *others, FAILS],
        "effective sharpness": [HOLDS],
        "better tracking holds for all eight": [FAILS, *others, HOLDS],
        "better tracking holds for three": [FAILS, *others, HOLDS],
    }.items():
        assert [row.verdict for row in rows(found, start)] == verdicts, start
    assert "20 times (quartiles 20 and 20; 24 of 24 cells, n 20 to 20)" in rows(found, "by how much")[ours].measured
    assert "10 times the corrected" in rows(found, "by how much")[ours].measured
    assert "median 1.1 of 24 of 24 cells, n 20 to 20" in rows(found, "tracks")[0].measured
    assert "above 1 in 24" in rows(found, "tracks")[0].measured
    assert (
        "median 100 of 24 of 24 cells, n 20 to 20, at most 100; at most 2 in 0" in rows(found, "is as near")[0].measured
    )


def test_one_bad_optimizer_is_named():
    numbers = {"rod": lambda a, o: 0.5 if o == "nadam" else 3.0, "drift_free_rod": lambda a, o: 3.0}
    found = claims(config(), **tables(numbers), weights=[1000])
    rod, *_, free = rows(found, "better tracking holds for all eight")
    assert (rod.verdict, free.verdict) == (IN_PART, HOLDS)
    assert rod.measured == "holds for 7 of 8; does not hold: nadam"


def test_sharpness_away_from_the_threshold_does_not_count():
    numbers = {"rod": lambda a, o: 3.0}
    for settled, share, verdict in ((1.05, 0.5, HOLDS), (1.2, 0.5, FAILS), (1.0, 0.1, FAILS), (np.nan, 0.0, UNTESTED)):
        found = claims(config(), **tables(numbers, settled=settled, share=share), weights=[1])
        assert rows(found, "effective sharpness")[0].verdict == verdict
    for near, verdict in ((1.04, HOLDS), (0.94, FAILS), (np.nan, UNTESTED)):
        found = claims(config(), **tables(numbers, near=near), weights=[1])
        assert rows(found, "sharpness stabilises with")[0].verdict == verdict


def test_what_was_not_run_is_said():
    narrow = config(flows=["stable", "drift_free_rod"], optimizers=["adam"])
    found = claims(narrow, **tables({"drift_free_rod": lambda a, o: 9.0}, optimizers=["adam"]), weights=[1000])
    for row in found:
        if row.model == JUDGED_FLOWS["rod"]:
            assert (row.scale, row.verdict, row.measured) == (NOT_RUN, UNTESTED, "–")
    free = rows(found, "better tracking holds for all eight")[-1]
    assert free.verdict == FAILS
    assert "holds for 1 of 8; not tested: heavy_ball, nesterov" in free.measured


def test_scale():
    paper = configuration.parse(DEFAULT | yaml.safe_load((ROOT / "config/paper.yaml").read_text()))
    assert scale(paper, [200_000, 150_000]) == "full"
    assert scale(paper, [200_000, 1_000]) == "reduced"
    assert scale(config(), [200_000]) == "reduced"


def test_commands_name_the_config_where_it_is_not_the_projects_own():
    target = "figures/default/cells/mlp-adam.png"
    assert remake(config(), target) == f"snakemake --cores 2 {target}"
    assert remake(config(steps=100), target) == f"snakemake --cores 2 {target} --configfile results/default/config.yaml"


def test_every_row_of_the_markdown_is_whole():
    numbers = {"rod": lambda a, o: 1.1, "drift_free_rod": lambda a, o: 20.0}
    made, chosen = tables(numbers), config()
    found = claims(chosen, **made, weights=[1000])
    text = markdown(found, chosen, made["errors"], "Made here.")
    for block in text.split("\n\n"):
        lines = block.splitlines()
        if lines[0].startswith("|"):
            assert len({line.count("|") for line in lines}) == 1
    assert "snakemake --cores 2 results/adam/tables/REPLICATION.md --config run=adam 'optimizers=[\"adam\"]'" in text
    assert generated(chosen) in text


def test_settings_that_the_numbers_depend_on_make_it_stale():
    assert generated(config(steps=100)) != generated(config())
    assert generated(config(maximum_sharpness=3)) != generated(config())
    assert generated(config(landscapes=[])) == generated(config())


def test_commands_of_the_reference_name_its_config_and_leave_its_images_to_the_reader(monkeypatch):
    kept = config(run="kept", data={"dataset": "cifar10"})
    monkeypatch.setattr(replication, "_project_config", {"reference/config.yaml": kept}.get)
    command = 'snakemake --cores 2 tables --configfile reference/config.yaml --config run=x \'data={"file": "my.npz"}\''
    assert remake(kept, "tables", "run=x") == command


def test_the_committed_copy_is_up_to_date(tmp_path):
    """If this fails: ``make replication``, and commit the copy."""
    replicate_reference(ROOT / "reference", tmp_path / "REPLICATION.md")
    assert (ROOT / "REPLICATION.md").read_text() == (tmp_path / "REPLICATION.md").read_text()
