"""comparison.csv from errors.csv, its figure, and what a Hessian-vector product costs in gradients."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.drawings import sticks_out, texts
from torch import nn

from rodflow.catalogue import FLOWS
from rodflow.measures.comparison import COMPARISON_COLUMNS, comparison
from rodflow.measures.errors import ERROR_COLUMNS
from rodflow.report.figures import comparison as figure
from rodflow.report.figures.style import save
from rodflow.report.summary import comparison_in_brief
from rodflow.training.objective import Objective, flat_parameters


def errors():
    """A cell that the central flow ran on, and one that no competing model did."""
    rows = [
        {"architecture": "mlp", "optimizer": optimizer, "seed": 0, "flow": flow, "error_eos_mean": error}
        for optimizer, flows in {"gd": ("stable", "drift_free_rod", "central"), "adam": ("stable", "rod")}.items()
        for flow, error in zip(flows, (0.4, 0.01, 0.1), strict=False)
    ]
    frame = pd.DataFrame(rows).reindex(columns=[*ERROR_COLUMNS, "missing"])
    frame["error_eos_common"] = frame["error_eos_mean"] / 2
    frame["gradients_per_step"], frame["hessian_vector_products_per_step"] = 8.0, 50.0
    frame["gradient_equivalents_per_step"], frame["seconds_per_step"] = 108.0, 0.25
    frame["diverged_at"] = pd.array([300, None, None, None, None], dtype="Int64")
    return frame


def test_only_cells_that_a_competing_model_ran_on():
    table = comparison(errors())
    assert list(table.columns) == COMPARISON_COLUMNS
    assert set(table["optimizer"]) == {"gd"} and list(table["flow"]) == ["stable", "drift_free_rod", "central"]
    competing = [name for name, entry in FLOWS.entries.items() if entry.competes]
    assert competing == ["central", "central_momentum", "edge", "edge_unit_step"]
    assert comparison(errors()[lambda rows: ~rows["flow"].isin(competing)]).empty


def test_in_brief():
    lines = comparison_in_brief(comparison(errors())).splitlines()
    assert len(lines) == 5
    assert lines[2] == "| stable | 1 | 0.4 | 0.2 | 8 | 50 | 108 | 250 | 1 |"


def test_the_figure_warns_of_nothing_and_names_what_is_missing(tmp_path):
    table = comparison(errors())
    missing = table.assign(architecture="vit", error_eos_mean=np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nowhere = figure.draw(missing)
        assert texts(nowhere).count("not at the edge") == 1
        assert sticks_out(nowhere) == []
        save(nowhere, [tmp_path / "nowhere.png", tmp_path / "nowhere.pdf"])
        drawn = figure.draw(pd.concat([table, missing]))
        assert texts(drawn).count("not at the edge") == 1
        assert {axes.get_xscale() for axes in drawn.axes} == {axes.get_yscale() for axes in drawn.axes} == {"log"}
        save(drawn, [tmp_path / "a.png", tmp_path / "a.pdf"])


def test_a_product_of_a_linear_layer_by_hand():
    """y = W x: the gradient takes two matrix products (forward, W's), the product of H and v two more (v x, W's)."""
    layer = nn.Linear(7, 5, bias=False).double()
    objective = Objective.from_module(layer, torch.randn(11, 7, dtype=torch.float64), torch.arange(11) % 5)
    w = flat_parameters(layer)
    before = objective.cost.copy()
    assert objective.product_in_gradients(w) == pytest.approx(1.0)
    assert objective.cost == before


def test_without_matrix_products_a_product_counts_as_a_gradient():
    assert Objective(lambda w: (w**4).sum()).product_in_gradients(torch.ones(3)) == 1.0
