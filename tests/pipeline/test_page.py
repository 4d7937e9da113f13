"""The page of a run: charts to the point, links that lead somewhere, and a browser that shows it whole at any width."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from html import unescape

import numpy as np
import pandas as pd
import pytest
from helpers.checkout import smoke
from helpers.pages import Reader
from helpers.runs import run_everything

from rodflow import config as configuration
from rodflow.pipeline.finished import everything
from rodflow.pipeline.stages.animation import animate, motions
from rodflow.pipeline.stages.figure import draw_figure
from rodflow.pipeline.stages.page import lay_out, other_figures
from rodflow.report.figures.charts import error_chart, strip
from rodflow.report.figures.panels import PlottedCell
from rodflow.report.figures.style import EDGE_COLOUR, flow_style
from rodflow.report.replication import JUDGED_FLOWS

SMOKE = smoke()
NARROW = {
    "architectures": ["mlp"],
    "flows": ["stable", "rod", "drift_free_rod"],
    "precision_cells": [],
    "landscapes": [],
    "animated_cells": ["mlp-gd"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The config, results folder and page of a small run, its figures drawn."""
    root = tmp_path_factory.mktemp("page")
    config = configuration.parse(SMOKE | NARROW)
    run_everything(config, root)
    results, figures = root / "results/smoke", root / "figures/smoke"
    for optimizer in config.optimizers:
        stem = figures / f"cells/mlp-{optimizer}"
        draw_figure(config, results, "cell", stem, architecture="mlp", optimizer=optimizer)
    for name in other_figures(config, everything(config)):
        kind, _, of = name.partition("/")
        kind = kind.removesuffix("s") if of else kind
        draw_figure(config, results, kind, figures / name, **({kind: of} if of else {}))
    animate(config, results, "cell", figures / "animations/mlp-gd", architecture="mlp", optimizer="gd")
    lay_out(config, results, figures / "index.html")
    return config, results, figures


def drawn(values, **changes):
    """The chart of a run at the edge from step 20 on, whose one flow has these errors."""
    steps = 10.0 * np.arange(1, len(values) + 1)
    run = pd.DataFrame({"step": steps, "sharpness": np.where(steps < 20, 1.0, 2.0), "oscillation": np.nan})
    flow = pd.DataFrame({"step": steps, "error": values, "loss": values, "rod_length": np.nan})
    flow["sharpness"] = flow["loss"]
    lost = None if np.isfinite(values[-1]) else int(steps[-1])
    shown = PlottedCell({("rod", 0): flow}, {0: run.assign(loss=1.0)}, 2.0, {("rod", 0): lost})
    return error_chart(shown, **{"description": "a <b>"} | changes).picture


def paths(picture, colour):
    """The lines of that colour."""
    styled = [p for p in ElementTree.fromstring(picture).iter() if f"stroke: {colour}" in p.get("style", "")]
    return [p.get("d") for p in styled if p.get("d")]


def strokes(picture, colour):
    """How the lines of that colour are drawn: M moves the pen, L draws."""
    return ["".join(re.findall(r"[ML]", path)) for path in paths(picture, colour)]


def test_chart_says_what_it_is_and_is_the_same_each_time():
    picture = drawn([1.0, 10.0, 100.0])
    assert picture == drawn([1.0, 10.0, 100.0])
    drawing = ElementTree.fromstring(picture)
    assert (drawing.get("aria-label"), drawing.get("role")) == ("a <b>", "img")
    assert "optimizer step" in picture and "10" in picture and "Date" not in picture


def test_chart_is_logarithmic():
    (path,) = paths(drawn([1.0, 10.0, 100.0]), flow_style("rod").colour.lower())
    (x0, y0), (x1, y1), (x2, y2) = ((float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path))
    assert x0 < x1 < x2 and x1 - x0 == pytest.approx(x2 - x1)
    assert y0 > y1 > y2 and y0 - y1 == pytest.approx(y1 - y2)


def test_chart_has_gaps_a_cross_and_a_shade():
    colour = flow_style("rod").colour.lower()
    whole, gap = drawn([1.0, 2.0, 2.5, 3.0, 4.0]), drawn([1.0, 2.0, np.nan, 3.0, 4.0, np.nan])
    assert strokes(whole, colour) == ["MLLLL"] and strokes(gap, colour) == ["MLML"]
    cross = f"fill: {colour}"
    assert cross in gap and cross not in whole
    assert f"fill: {EDGE_COLOUR}" in gap and f"fill: {EDGE_COLOUR}" not in drawn([3.0])  # not at the edge yet


@pytest.mark.parametrize("values", [[np.nan, np.nan], [5.0, 5.0], [3.0]])
def test_chart_of_nearly_nothing(values):
    picture = drawn(values)
    ElementTree.fromstring(picture)
    assert ("no data" in picture) == bool(np.isnan(values).all())
    assert not re.search(r"[ML] (nan|inf)", picture)


def test_page_is_whole_and_leads_to_files_beside_it(made, tmp_path):
    _, _, figures = made
    moved = shutil.copytree(figures, tmp_path / "elsewhere")
    text = (moved / "index.html").read_text()
    page = Reader(text)
    assert page.open == [] and page.mute == []
    assert page.tags.count("script") == 1 + 2 * 2 + 1  # ours: the page's, the numbers of charts, what moves
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=.(https?:)?//|url\(.?http", text)
    assert text.count('<article class="cell"') == 2
    assert len(page.targets) > 20
    for target in page.targets:
        if target.startswith("#"):
            assert target[1:] in page.names
        elif target != "data:,":
            assert (moved / target).is_file(), target


def test_page_shows_each_cells_numbers_config_code_machine_and_command(made):
    _, results, figures = made
    text = unescape((figures / "index.html").read_text())
    cell = text[text.index('id="mlp-adam"') : text.index("</article>", text.index('id="mlp-adam"'))]
    summary = json.loads((results / "discrete/mlp-adam-seed0.json").read_text())
    assert f"{summary['parameters']:,}" in cell
    assert summary["provenance"]["platform"] in cell
    assert (summary["provenance"]["commit"] or "unknown") in cell
    assert "learning_rate: 0.002" in cell
    assert "snakemake --cores 2 figures/smoke/cells/mlp-adam.png --configfile results/smoke/config.yaml" in cell
    assert [label in cell for label in ("Stable flow", "Rod flow, drift-free")] == [True, True]
    assert text.count('<tr><th scope="row">tracks the run') == len(JUDGED_FLOWS)
    assert 'class="verdict' in text


def test_page_escapes_what_it_is_told(made, tmp_path):
    config, results, _ = made
    copy = shutil.copytree(results, tmp_path / "results")
    file = copy / "discrete/mlp-gd-seed0.json"
    summary = json.loads(file.read_text())
    summary["provenance"]["platform"] = "<script>alert(1)</script>"
    file.write_text(json.dumps(summary))
    lay_out(config, copy, tmp_path / "index.html")
    text = (tmp_path / "index.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert text.count("<script") == (made[2] / "index.html").read_text().count("<script")


def test_page_of_a_run_that_diverged(tmp_path):
    """Every number is a dash and every chart says so; the page stands."""
    changes = {"optimizers": ["gd"], "flows": ["stable", "central"], "learning_rates": {"mlp": {"gd": 1e4}}}
    config = configuration.parse(SMOKE | NARROW | changes)
    run_everything(config, tmp_path)
    lay_out(config, tmp_path / "results/smoke", tmp_path / "index.html")
    text = (tmp_path / "index.html").read_text()
    assert Reader(text).open == []
    assert "no data" in text and re.search(r"Discrete run \(diverged at step \d+\)", text)
    assert "not tested" in text and "nan" not in text.split("<main>")[1].split("<details>")[0].lower()


def test_page_begins_with_what_rod_flow_is_what_moves_and_a_row_a_cell(made):
    config, results, figures = made
    text = unescape((figures / "index.html").read_text())
    parts = ['class="lead"', 'class="player"', 'class="overview"', 'id="mlp-gd"']
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    assert list(motions(config, results, everything(config))) == ["mlp-gd"]
    errors = pd.read_csv(results / "tables/errors.csv").set_index(["optimizer", "flow"])["error_eos_mean"]
    rows = re.findall(r"<tr><th scope=\"row\"><a href=\"#mlp-.*?</tr>", text, re.DOTALL)
    assert len(rows) == 2
    for optimizer, row in zip(("gd", "adam"), rows, strict=True):
        assert "40 examples of digits, learning rate" in row and "seed 0" in row and "weights" in row
        marks = re.findall(r"<title>(.*?)</title>", row)
        known = {flow_style(flow).label for flow in config.flows if np.isfinite(errors[optimizer, flow])}
        assert {mark.split(":")[0] for mark in marks} == known  # at no edge: no marks


def test_a_row_says_the_numbers_of_its_marks_and_of_its_twins():
    shapes, titles = {"stable": "o", "rod": "s"}, {"stable": "Stable flow: 0.1", "floor": "Twins: 0.001 to 0.01"}
    row = strip("mlp-gd", {"stable": 0.1, "rod": np.nan}, shapes, (1e-3, 1e-2), (1e-4, 1.0), titles)
    assert re.findall(r"<title>(.*?)</title>", row) == [titles["floor"], titles["stable"]]
    left, right = (
        float(x) for x in re.search(r'id="mlp-gd-floor">.*?d="M ([\d.]+) .*?L ([\d.]+)', row, re.DOTALL).groups()
    )
    (dot,) = re.findall(r'id="mlp-gd-stable">.*?<use [^>]*x="([\d.]+)"', row, re.DOTALL)
    assert float(dot) - right == pytest.approx(right - left, rel=0.01)  # a decade each
    assert "mlp-gd-rod" not in row


def test_same_files_same_page(made, tmp_path):
    config, results, figures = made
    lay_out(config, results, tmp_path / "index.html")
    assert (tmp_path / "index.html").read_bytes() == (figures / "index.html").read_bytes()


# A window cannot be as narrow as a phone, a frame can. It is measured when all that it holds has loaded.
FRAME = """<!doctype html><style>body { margin: 0 } iframe { border: 0; display: block }</style>
<iframe src="page/index.html" width="WIDTH" height="2000"></iframe><script>
addEventListener("load", () => {
  const view = frames[0], page = view.document, images = [...page.images];
  for (const section of page.querySelectorAll("details")) section.open = true;
  const fixed = [...page.body.querySelectorAll("*")].filter(e => !e.closest(".scroll, svg"));
  const wide = fixed.filter(e => e.getBoundingClientRect().right > view.innerWidth + 1);
  document.documentElement.dataset.seen = JSON.stringify({
    width: view.innerWidth, content: page.documentElement.scrollWidth,
    wide: wide.map(e => e.outerHTML.slice(0, 80)),
    scrolled: [...page.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth).length,
    claims: getComputedStyle(page.querySelector(".claims td")).display,
    moved: [...page.querySelectorAll(".player")].map(player => {
      const slider = player.querySelector("input"), lines = () => player.querySelector(".pictures").innerHTML;
      const at = step => { slider.value = step; slider.dispatchEvent(new view.Event("input")); return lines(); };
      return [at(slider.min) !== at(slider.max), player.querySelector("output").textContent];
    }),
    said: [...page.querySelectorAll(".chart")].map(chart => {
      const box = chart.querySelector("svg").getBoundingClientRect();
      const place = { clientX: box.left + 0.9 * box.width, clientY: box.top + 9 };
      chart.dispatchEvent(new view.PointerEvent("pointermove", place));
      return chart.querySelector("output").textContent;
    }),
    images: images.length, broken: images.filter(i => !i.naturalWidth).map(i => i.src),
    charts: [...page.querySelectorAll(".chart svg")].map(e => e.getBoundingClientRect().width),
  });
});
</script>"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser(made, tmp_path, width):
    """Headless Chromium shows the page at this width without overflow, broken images or messages on its console."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert browser, "no Chromium: install it, or leave the marker `browser` out"
    page = shutil.copytree(made[2], tmp_path / "page") / "index.html"
    page.write_text(page.read_text().replace('loading="lazy"', ""))
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={tmp_path}/user"]
    options += ["--enable-logging=stderr", "--allow-file-access-from-files", f"--window-size={max(width, 500)},2000"]

    def run(*words):
        return subprocess.run([browser, *options, *words, frame.as_uri()], capture_output=True, text=True, timeout=120)

    shown = run("--dump-dom")
    seen = json.loads(unescape(re.search(r'data-seen="([^"]*)"', shown.stdout).group(1)))
    assert seen["width"] == width
    assert seen["content"] <= width
    assert seen["wide"] == []
    assert seen["scrolled"] == 0
    assert seen["claims"] == ("table-cell" if width == 1280 else "block")
    assert (seen["images"], seen["broken"]) == (len(other_figures(made[0], everything(made[0]))), [])
    assert len(seen["charts"]) == 4 and min(seen["charts"]) > 200
    assert seen["moved"] == [[True, "step 60"]]
    assert all(re.match(r"Step \d+: .*Stable flow \d", said) for said in seen["said"])
    assert "CONSOLE" not in shown.stderr
    picture = tmp_path / f"{width}.png"
    run(f"--screenshot={picture}")
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 20_000
