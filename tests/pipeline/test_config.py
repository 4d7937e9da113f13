"""The config: what is accepted, and what is refused by key, value and what is allowed."""

import json
import subprocess
import sys
from inspect import signature
from typing import get_args

import pytest
import yaml
from helpers.checkout import ROOT, smoke

from rodflow import config as configuration
from rodflow.catalogue import ARCHITECTURES, FLOWS, LANDSCAPES, OPTIMIZERS
from rodflow.config import Cell
from rodflow.config.reader import plain_scalars, read_yaml
from rodflow.config.run import VARIANTS
from rodflow.config.schema import Activation, Sizes
from rodflow.errors import InvalidInput
from rodflow.problems.architectures import ACTIVATIONS
from rodflow.training.losses import LOSSES

MLP_GD, MLP_ADAM = Cell("mlp", "gd", 0), Cell("mlp", "adam", 0)


@pytest.mark.parametrize(
    "path", [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))], ids=lambda p: p.stem
)
def test_shipped_configs_are_valid_and_survive_a_round_trip(path):
    config = configuration.load(path)
    assert configuration.parse(yaml.safe_load(config.to_yaml())) == config


def test_default_run_holds_every_cell():
    config = configuration.load(ROOT / "config.yaml")
    assert config.run == "default"
    assert len(config.cells) == 27


def test_names_in_the_schema_are_those_of_the_code():
    properties = json.loads(configuration.json_schema())["properties"]
    for key, names in (
        ("optimizers", OPTIMIZERS),
        ("architectures", ARCHITECTURES),
        ("flows", FLOWS),
    ):
        assert properties[key]["items"]["anyOf"][0]["enum"] == list(names)
    assert properties["landscapes"]["items"]["enum"] == list(LANDSCAPES)
    assert properties["loss"]["anyOf"][0]["enum"] == list(LOSSES)
    assert list(get_args(Activation)) == list(ACTIVATIONS)
    assert set(Sizes.model_fields) == set(ARCHITECTURES)


def test_the_configs_sizes_are_the_networks_own():
    for name, sizes in Sizes().model_dump().items():
        of_network = signature(ARCHITECTURES[name]).parameters
        own = {key: of_network[key].default for key in sizes}
        assert {key: list(x) if isinstance(x, tuple) else x for key, x in own.items()} == sizes


def test_every_field_of_every_section_is_described():
    schema = json.loads(configuration.json_schema())
    for section in (schema, *schema["$defs"].values()):
        assert section["properties"]
        for name, field in section["properties"].items():
            assert len(field.get("description", "")) > 5, name


def test_a_cell_is_named_as_its_files_are():
    assert str(MLP_GD) == f"{MLP_GD}" == "mlp-gd-seed0"


@pytest.mark.parametrize("written", ["auto", "on", "off", "'off'"])
def test_compile_is_what_is_written(tmp_path, written):
    """YAML 1.1 reads on and off as true and false."""
    settings = yaml.safe_dump({key: value for key, value in smoke().items() if key != "compile"})
    (tmp_path / "config.yaml").write_text(f"{settings}compile: {written}\n")
    config = configuration.load(tmp_path / "config.yaml")
    assert config.compile == written.strip("'")
    assert configuration.parse(yaml.safe_load(config.to_yaml())).compile == config.compile


def test_variants_change_what_they_say_and_no_other_is_known():
    config = configuration.parse(smoke(flow_dtype="float32"))
    assert config.variant("") is config
    for name, changes in VARIANTS.items():
        assert config.variant(name) == config.model_copy(update=changes | {"flow_dtype": "float64"})
    with pytest.raises(InvalidInput, match="variant"):
        config.variant("float16")


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"optimizers": ["sgdd"]}, "optimizers.0", "sgdd"),
        ({"architectures": ["rnn"]}, "architectures.0", "rnn"),
        ({"flows": ["river"]}, "flows.0", "river"),
        ({"flows": ["edge"]}, "flows", "at least one that models adam"),
        ({"solvers": {"central": {"tolerance": 1.5}}}, "solvers.central.tolerance", "1.5"),
        ({"landscapes": ["hill"]}, "landscapes.0", "hill"),
        ({"landscapes": ["valley", "valley"]}, "landscapes", "valley"),
        ({"data": {"dataset": "imagenet"}}, "data.dataset", "imagenet"),
        ({"learning_rate": 0.1}, "learning_rate", "0.1"),
        ({"data": {"colour": 1}}, "data.colour", "1"),
        ({"learning_rates": {"mlp": {"gd": -0.1}}}, "learning_rates.mlp.gd", "-0.1"),
        ({"learning_rates": {"mlp": {"gd": float("nan")}}}, "learning_rates.mlp.gd", "nan"),
        ({"learning_rates": {"mlp": {"gd": 0.1}}}, "learning_rates", "adam"),
        ({"run": "../elsewhere"}, "run", "../elsewhere"),
        ({"run": ""}, "run", "''"),
        ({"steps": 0}, "steps", "0"),
        ({"steps": "many"}, "steps", "many"),
        ({"seeds": [-1]}, "seeds.0", "-1"),
        ({"seeds": []}, "seeds", "[]"),
        ({"seeds_of": {"mlp": []}}, "seeds_of.mlp", "[]"),
        ({"seeds_of": {"rnn": [1]}}, "seeds_of.rnn", "rnn"),
        ({"seeds_of": {"mlp": [1, 1]}}, "seeds_of.mlp", "[1, 1]"),
        ({"optimizers": ["gd", "gd"]}, "optimizers", "gd"),
        ({"dtype": "float16"}, "dtype", "float16"),
        ({"device": "tpu"}, "device", "tpu"),
        ({"record_interval": 100}, "record_interval", "100"),
        ({"chunk_size": 0}, "chunk_size", "0"),
        ({"hyperparameters": {"beta1": 1.0}}, "hyperparameters.beta1", "1.0"),
        ({"data": {"classes": [1, 1]}}, "classes", "[1, 1]"),
        ({"solvers": {"rod": {"method": "guess"}}}, "solvers.rod.method", "guess"),
        ({"perturbation": -1e-7}, "perturbation", "-1e-07"),
        ({"checkpoint_seconds": -1}, "checkpoint_seconds", "-1"),
        ({"precision_cells": ["mlp-sgd"]}, "precision_cells.0", "mlp-sgd"),
        ({"precision_cells": ["mlp-gd", "rnn-gd"]}, "precision_cells.1", "rnn-gd"),
        ({"precision_cells": ["mlp-gd", "mlp-gd"]}, "precision_cells", "['mlp-gd', 'mlp-gd']"),
        ({"precision_cells": ["cnn-gd"]}, "learning_rates.cnn.gd", "missing"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(changes, key, value):
    with pytest.raises(InvalidInput) as refused:
        configuration.parse(smoke(**changes))
    assert key in str(refused.value)
    assert value in str(refused.value)


@pytest.mark.parametrize("settings", [None, [], "text", 3])
def test_a_config_is_a_mapping(settings):
    with pytest.raises(InvalidInput, match="mapping"):
        configuration.parse(settings)


def test_unreadable_files_are_refused(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1, 2")
    for path in (broken, tmp_path / "missing.yaml"):
        with pytest.raises(InvalidInput, match="readable YAML"):
            configuration.load(path)


def test_studied_cells_by_seed():
    config = configuration.parse(smoke(precision_cells=["vit-gd", "mlp-adam"], seeds=[0, 3], architectures=["vit"]))
    assert config.precision_studies == [("vit", "gd", 0), ("vit", "gd", 3), ("mlp", "adam", 0), ("mlp", "adam", 3)]
    assert configuration.parse(smoke(precision_cells=[])).precision_studies == []


def test_an_architectures_own_seeds_take_the_place_of_the_shared_ones():
    config = configuration.parse(smoke(seeds_of={"mlp": [1, 0]}, optimizers=["gd"], precision_cells=["mlp-gd"]))
    assert config.cells == [("mlp", "gd", 1), ("mlp", "gd", 0), ("vit", "gd", 0)]
    assert config.precision_studies == [("mlp", "gd", 1), ("mlp", "gd", 0)]
    assert config.seeds_named == "seeds 0 (mlp: 1, 0)"
    assert configuration.parse(smoke()).seeds_named == "seeds 0"


def test_cells_have_the_flows_that_model_their_optimizer():
    config = configuration.parse(smoke(flows=["rod", "central", "central_momentum", "edge"]))
    assert config.flows_of("gd") == ["rod", "central", "edge"]
    assert config.flows_of("rmsprop") == ["rod", "central"]
    assert config.flows_of("adam") == ["rod", "central_momentum"]


def test_settings_of_a_cell_leave_out_the_other_cells():
    one = configuration.parse(smoke())
    rates = {"mlp": {"gd": 0.2, "adam": 0.5}, "vit": {"gd": 0.1, "adam": 0.5}}
    other = configuration.parse(smoke(learning_rates=rates, optimizers=["gd", "adam"], flows=["stable"]))
    assert one.discrete_settings(MLP_GD) == other.discrete_settings(MLP_GD)
    assert one.discrete_settings(MLP_ADAM) != other.discrete_settings(MLP_ADAM)
    assert one.flow_settings(MLP_GD, "stable") == other.flow_settings(MLP_GD, "stable")


def test_an_optimizers_own_hyperparameters_take_the_place_of_the_shared_ones():
    own = {"adam": {"beta2": 0.9}}
    config = configuration.parse(smoke(hyperparameters={"beta1": 0.8}, hyperparameters_of=own))
    assert config.discrete_settings(MLP_ADAM)["hyperparameters"]["beta2"] == 0.9
    assert config.discrete_settings(MLP_ADAM)["hyperparameters"]["beta1"] == 0.8
    assert config.discrete_settings(MLP_GD)["hyperparameters"] == {}
    assert config.hyperparameters_for("nadam")["beta2"] == 0.99
    with pytest.raises(InvalidInput, match=r"hyperparameters_of\.adam\.beta3"):
        configuration.parse(smoke(hyperparameters_of={"adam": {"beta3": 0.9}}))


def test_a_config_is_read_without_the_libraries_that_take_seconds():
    """As Snakemake does at each start, and every command: names are looked up in the catalogue, not loaded."""
    check = (
        "import sys, yaml; from rodflow import config; read = yaml.safe_load(open('config.yaml'))\n"
        "assert config.parse(read).followed\n"
        "sys.exit(bool({'torch', 'pandas', 'matplotlib', 'h5py'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False, cwd=ROOT).returncode == 0


def test_what_yaml_has_and_a_config_may_use(tmp_path):
    path = tmp_path / "fine.yaml"
    rates = "learning_rates:\n  mlp: &rates {gd: 2e-1, adam: 2.0e-3}\n  vit: {<<: *rates, gd: 0.1}\n"
    rest = "hyperparameters: {bias_correction: on}\ncompile: off\nchunk_size: 010\n"
    path.write_text(
        "\ufeff"
        + (ROOT / "config/smoke.yaml").read_text().replace("compile", "# ").partition("learning_rates")[0]
        + rates
        + rest
    )
    config = configuration.load(path)
    assert config.learning_rates == {"mlp": {"gd": 0.2, "adam": 2e-3}, "vit": {"gd": 0.1, "adam": 2e-3}}
    assert config.hyperparameters.bias_correction is True
    assert config.compile == "off" and config.chunk_size == 10


@pytest.mark.parametrize("path", [ROOT / "config.yaml", *(ROOT / "config").glob("*.yaml")], ids=lambda path: path.name)
def test_settings_as_texts_are_read_as_in_a_file(path):
    """Snakemake leaves what stands between brackets texts, as PyYAML's BaseLoader does."""
    assert plain_scalars(yaml.load(path.read_text(), yaml.BaseLoader)) == read_yaml(path)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("3", 3), ("-0.5", -0.5), ("1e-3", 1e-3), ("010", 10), ("true", True), ("null", None), ("~", None)]
    + [(text, text) for text in ("my.npz", "1:30", "0x10", "2026-01-02", "<<", "=", "a: b", "[1]")],
)
def test_a_plain_scalar(text, meant):
    got = plain_scalars({"key": [text]})["key"][0]
    assert (got, type(got)) == (meant, type(meant))
