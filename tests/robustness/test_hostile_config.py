"""Mutated configs: each is accepted and means what it says, or is refused on one line, by key and what is allowed.

HOSTILE_EXAMPLES=5000 runs that many of each kind; the default is for every day.
"""

import copy
import datetime
import math
import os
import re
import sys

import pytest
import yaml
from helpers.checkout import ROOT
from hypothesis import HealthCheck, event, given, settings, strategies as st

from rodflow import cli, config as configuration
from rodflow.config.reader import LARGEST_FILE, Reader, plain_scalars, read_yaml
from rodflow.errors import InvalidInput

TEXTS = [(ROOT / name).read_text() for name in ("config.yaml", "config/smoke.yaml")]
BASES = [yaml.safe_load(text) for text in TEXTS]
MUTATED = settings(
    max_examples=int(os.environ.get("HOSTILE_EXAMPLES", 300)),
    derandomize="HOSTILE_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


VALUES = st.one_of(
    st.builds(list),
    st.builds(dict),
    st.builds(nested, st.just(3000)),
    st.sampled_from([None, True, False, "", b"\x00\xff", (1, 2), {"gd"}, datetime.date(2026, 1, 2)]),
    st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 1e308, 5e-324, 1.0, 0.5, -1.0, 1e-8]),
    st.sampled_from([0, 1, 2, 3, 8, -1, 2**31 - 1, 2**31, 2**63, 10**400]),
    st.builds(pow, st.just(-10), st.sampled_from([4999, 5000])),
    st.sampled_from(["1e-3", "1e400", "nan", "60", "0x10", "true", "{0}", "%s", "a\nb", "a\0b", "\ud800", "é😀", ".."]),
    st.sampled_from(["gd", "adam", "mlp", "vit", "rod", "central", "edge", "float64", "cifar10", "valley", "mlp-gd"]),
    st.text(max_size=20),
    st.integers(),
    st.floats(),
    st.lists(st.one_of(st.integers(-2, 20), st.text(max_size=5), st.none()), max_size=4),
    st.dictionaries(st.one_of(st.text(max_size=8), st.integers()), st.integers(-5, 5), max_size=3),
    st.text("x{}\n", min_size=3000, max_size=3000),
)


def places(value: object, at: tuple = ()) -> list[tuple]:
    """The path of every entry of a mapping or list, and of what it holds, as deep as a config goes."""
    if len(at) == 4:
        return []
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in entries for place in ((*at, key), *places(inner, (*at, key)))]


@st.composite
def mutated_settings(draw) -> tuple[dict, list[tuple]]:
    """A shipped config with one to three mutations, and the places of these."""
    tree, changed = copy.deepcopy(draw(st.sampled_from(BASES))), []
    for _ in range(draw(st.integers(1, 3))):
        *path, key = place = draw(st.sampled_from(places(tree)))
        holder = tree
        for part in path:
            holder = holder[part]
        kind = draw(st.sampled_from(["replace", "delete", "add", "twice", "wrap", "unwrap", "scale", "scale"]))
        if kind == "scale" and type(holder[key]) in (int, float) and not abs(holder[key]) > 1e300:
            holder[key] = type(holder[key])(holder[key] * draw(st.sampled_from([-1, 0.25, 0.5, 1.5, 2])))
        elif kind == "delete":
            del holder[key]
        elif kind == "add" and isinstance(holder, dict):
            holder[draw(st.one_of(st.text(max_size=10), st.integers(), st.none()))] = draw(VALUES)
        elif kind == "twice" and isinstance(holder, list):
            holder.append(holder[key])
        elif kind == "wrap":
            holder[key] = draw(st.sampled_from([[holder[key]], {"key": holder[key]}, {key: holder[key]}]))
        elif kind == "unwrap" and isinstance(holder[key], list) and holder[key]:
            holder[key] = holder[key][0]
        else:
            holder[key] = draw(VALUES)
        changed.append(place)
    return tree, changed


def means(accepted: object, given: object) -> bool:
    """Whether an accepted value says what was given: the same keys, entries and numbers, truth values being none.

    But YAML reads the words on and off as truth values.
    """
    if isinstance(given, dict):
        return isinstance(accepted, dict) and all(k in accepted and means(accepted[k], v) for k, v in given.items())
    if isinstance(given, list):
        return len(accepted) == len(given) and all(map(means, accepted, given))
    if isinstance(accepted, float):
        return type(given) in (int, float, str) and math.isfinite(accepted) and accepted == float(given)
    if accepted in ("on", "off") and isinstance(given, bool):
        return accepted == ("on" if given else "off")
    return type(accepted) is type(given) and accepted == given


def is_right(config: configuration.Config, given: dict) -> None:
    """The config holds what was given, has cells, and survives being written and read."""
    assert means(config.model_dump(mode="json"), given)
    assert configuration.parse(yaml.load(config.to_yaml(), Reader)) == config
    assert config.cells and all(config.flows_of(optimizer) for optimizer in config.optimizers)


def is_said(refused: InvalidInput) -> None:
    """One printable line of readable length, with a key and what is allowed."""
    said = str(refused)
    assert "\n" not in said and len(said) < 3500
    assert re.match(r".+: got .*, allowed: .+", said)
    said.encode()


SETTLED = {"record_interval", "schedule", "learning_rates", "flows"}
"""Top-level keys that a refusal may name when another was changed, because the two have to fit."""


@MUTATED
@given(mutated_settings())
def test_mutated_settings(mutated):
    tree, changed = mutated
    try:
        config = configuration.parse(tree)
    except InvalidInput as refused:
        event("refused")
        is_said(refused)
        named = str(refused).split(":")[0].split(".")[0]
        assert named in {str(place[0]) for place in changed} | SETTLED or named not in configuration.Config.model_fields
    else:
        event("accepted")
        is_right(config, tree)


FRAGMENTS = [
    "\t", "&a ", "*a", "<<: *a\n", "!!binary ", "!!python/object/apply:os.system [x]", "!!set ", "!!int x", "!!bool x",
    "!!timestamp x", "!!float ''", "? ", "- ", "{", "]", "'", '"', "|", ">", "%YAML 9.9\n", "---\n", "...\n", "# ", "~",
    "on", "010", "0x1F", "1_000", "1:30", ".nan", ".inf", "2026-01-02", "9" * 5000, "[" * 2000, "steps: 5\n", "\0",
    "\ufeff", "\u2028", "é",
]  # fmt: skip


@st.composite
def mutated_text(draw) -> bytes:
    """The text of a shipped config, fragments put into it, lines doubled, or cut short."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        match draw(st.sampled_from(["insert", "insert", "value", "line", "cut"])):
            case "insert":
                text = text[:at] + draw(st.sampled_from(FRAGMENTS)) + text[at:]
            case "value":
                colon = text.find(": ", at) + 2
                text = text[:colon] + draw(st.sampled_from(FRAGMENTS)) + "\n" + text[colon:].partition("\n")[2]
            case "line":
                lines = text.splitlines(keepends=True) or [""]
                lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(lines)))
                text = "".join(lines)
            case "cut":
                text = text[:at]
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16", "latin-1"])), "replace")


@MUTATED
@given(content=mutated_text())
def test_mutated_text(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    path.write_bytes(content)
    try:
        config = configuration.load(path)
    except InvalidInput as refused:
        event("refused")
        is_said(refused)
    else:
        event("accepted")
        is_right(config, yaml.safe_load(content))  # PyYAML's own reader is the oracle for all that ours accepts


MERGES = "a0: &a0 {k: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 12))
ALIASES = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"run: a\nrun: b\n", "the key run is there twice"),
        (b"sizes: {mlp: {widths: [1]}, mlp: {widths: [2]}}\n", "the key mlp is there twice"),
        (b"? [a]\n: 1\n", "a key is no text"),
        (b"steps: 010\n", "010 is not written in decimal digits"),
        (b"steps: 1:30\n", "1:30 is not written in decimal digits"),
        (b"steps: 0x10\n", "decimal digits"),
        (b"steps: " + b"9" * 5000, "limit"),
        (b"run: 2026-01-02\n", "timestamp is no type"),
        (b"run: 2026-13-45\n", "timestamp is no type"),
        (b"run: !!binary c21va2U=\n", "binary is no type"),
        (b"optimizers: !!set {gd, adam}\n", "set is no type"),
        (b"run: !!python/object/apply:os.system [touch hacked]\n", "could not determine a constructor"),
        (b"run: !!bool x\n", "readable YAML"),
        (b"run: !!float ''\n", "readable YAML"),
        (b"run:\t[\n\ta", "readable YAML"),
        (b"run: \xff\xfe\n", "readable YAML"),
        (b"run: a\0b\n", "readable YAML"),
        (b"[" * 5000, "nested too deeply"),
        (b"a: " * 5000, "readable YAML"),
        (b"#" * (LARGEST_FILE + 1), "at most 1048576 bytes"),
        (b"--- {run: a}\n--- {run: b}\n", "readable YAML"),
        (b"", "a mapping"),
        (b"- run\n", "a mapping"),
        (b"seeds: &a [*a]\n" + TEXTS[1].replace("seeds: [0]\n", "").encode(), "seeds.0"),
        ((TEXTS[1] + MERGES).encode(), "unknown key"),
        ((TEXTS[1] + ALIASES).encode(), "unknown key"),
    ],
)
def test_oddities_of_yaml_are_refused_by_name(tmp_path, content, said):
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=re.escape(said)) as refused:
        configuration.load(path)
    is_said(refused.value)


def test_what_yaml_has_and_a_config_may_use(tmp_path):
    path = tmp_path / "fine.yaml"
    rates = "learning_rates:\n  mlp: &rates {gd: 2e-1, adam: 2.0e-3}\n  vit: {<<: *rates, gd: 0.1}\n"
    path.write_text(
        "\ufeff" + TEXTS[1].partition("learning_rates")[0] + rates + "hyperparameters: {bias_correction: on}\n"
    )
    config = configuration.load(path)
    assert config.learning_rates == {"mlp": {"gd": 0.2, "adam": 2e-3}, "vit": {"gd": 0.1, "adam": 2e-3}}
    assert config.hyperparameters.bias_correction is True


@pytest.mark.parametrize("path", [ROOT / "config.yaml", *(ROOT / "config").glob("*.yaml")], ids=lambda path: path.name)
def test_settings_as_texts_are_read_as_in_a_file(path):
    """Snakemake leaves what stands between brackets texts, as PyYAML's BaseLoader does."""
    assert plain_scalars(yaml.load(path.read_text(), yaml.BaseLoader)) == read_yaml(path)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("3", 3), ("-0.5", -0.5), ("1.0e-3", 1e-3), ("true", True), ("null", None), ("~", None), ("my.npz", "my.npz")]
    + [(text, text) for text in ("1e-3", "010", "1:30", "0x10", "2026-01-02", "<<", "=", "a: b", "[1]", "9" * 5000)],
)
def test_a_plain_scalar(text, meant):
    got = plain_scalars({"key": [text]})["key"][0]
    assert (got, type(got)) == (meant, type(meant))


def test_an_endless_file_is_refused():
    with pytest.raises(InvalidInput, match="at most"):
        read_yaml("/dev/zero")


@MUTATED
@given(st.one_of(VALUES, st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3), max_leaves=5)), st.text())
def test_any_value_can_be_named(value, key):
    is_said(InvalidInput(key or "key", value, "something else"))


def test_the_command_line_refuses_on_one_line(tmp_path, monkeypatch, capsys):
    """Through the command line as through ``load``: messages that try to get out of their line."""
    output = tmp_path / "out" / "images.npz"
    for i, change in enumerate(({"run": "a\nb"}, {"a\nb": 1}, {"steps": 10**400}, {"data": {"file": "a\nTraceback"}})):
        path = tmp_path / f"{i}.yaml"
        path.write_text(yaml.safe_dump(BASES[1] | change))
        words = ["rodflow", "dataset", "--config", str(path), "--output", str(output)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr().err
        assert ended.value.code == 2
        assert said.startswith("error: ") and said.count("\n") == 1
    assert not output.parent.exists()
