"""errors.csv by hand: means over the edge window, ratios and the records that they are over, the twins' floor."""

import numpy as np
import pandas as pd
import pytest
from helpers.summaries import flow_summary, run_summary

from rodflow.measures.errors import ERROR_COLUMNS, RATIOS, cell_rows, errors, told

STEPS = [20, 30, 40, 50, 60, 70]
SHARPNESS = [1.0, 1.7, 1.9, 2.1, 2.0, 1.9]  # threshold 2: the edge window is from step 40 on, four records


def flow(*values):
    """The series of a flow with these errors."""
    return pd.DataFrame({"step": STEPS, "error": values, "discrete_sharpness": SHARPNESS}).assign(
        relative_error=0.5, displacement=2.0
    )


def records():
    """The run's records; its oscillation sets in at step 50."""
    return pd.DataFrame({"step": STEPS, "sharpness": SHARPNESS, "oscillation_along_sharpest": [0, 0, 0, 0.2, 1.0, 0.5]})


def rows(**series):
    summaries = {name: flow_summary(flow=name) for name in series}
    return errors(cell_rows(series, summaries, records(), run_summary())).set_index("flow")


NAN = np.nan
CELL = {
    "stable": flow(9, 9, 0.4, 0.8, NAN, NAN),  # stopped after two records of the window
    "rod": flow(9, 9, 0.1, 0.1, 0.2, 0.4),
    "twin": flow(9, 9, 0.01, 0.02, 0.03, 0.04),
    "second_twin": flow(9, 9, 0.03, 0.02, 0.05, 0.08),
}


def test_ratios_are_over_common_records_and_say_how_many():
    table = rows(**CELL)
    assert table["n"].to_dict() == {"stable": 2, "rod": 4, "twin": 4, "second_twin": 4}
    assert table["n_after_onset"].to_dict() == {"stable": 1, "rod": 3, "twin": 3, "second_twin": 3}
    assert table["error_eos_mean"].to_dict() == pytest.approx(
        {"stable": 0.6, "rod": 0.2, "twin": 0.025, "second_twin": 0.045}
    )
    assert table.loc["rod", ["ratio_to_stable", "n_stable"]].tolist() == pytest.approx([0.6 / 0.1, 2])
    assert table.loc["rod", "n_stable_corrected"] == 0 and np.isnan(table.loc["rod", "ratio_to_stable_corrected"])
    assert table.loc["rod", "error_eos_common"] == pytest.approx(0.1)


def test_the_floor_is_the_mean_of_the_twins():
    table = rows(**CELL)
    assert table["floor"].tolist() == pytest.approx([0.035] * 4)
    assert table.loc["rod", ["ratio_to_floor", "n_floor"]].tolist() == pytest.approx([0.2 / 0.035, 4])
    # the stable flow's two records against the floor of the same two
    assert table.loc["stable", ["ratio_to_floor", "n_floor"]].tolist() == pytest.approx([0.6 / 0.02, 2])
    one = rows(**{name: CELL[name] for name in ("rod", "twin")})
    assert one.loc["rod", "ratio_to_floor"] == pytest.approx(0.2 / 0.025)


def test_without_twins_there_is_no_floor():
    table = rows(stable=CELL["stable"], rod=CELL["rod"])
    assert table["floor"].isna().all() and table["ratio_to_floor"].isna().all()
    assert table["n_floor"].tolist() == [0, 0]


def test_every_ratio_of_the_table_has_its_number_of_records():
    assert {name for name in ERROR_COLUMNS if name.startswith("ratio")} == set(RATIOS)
    assert set(RATIOS.values()) < set(ERROR_COLUMNS)


def test_cells_of_few_records_are_left_out_of_medians():
    table = pd.DataFrame({"ratio_to_stable": [1.0, 2.0, 3.0, NAN], "n_stable": [4, 5, 6, 9]})
    assert told(table, "ratio_to_stable")["ratio_to_stable"].tolist() == [2.0, 3.0]
