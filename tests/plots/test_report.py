"""The page of a report: its numbers, its markup, and that nothing in it is loaded or injected."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.analysis.trials import trials_of
from optrun.api.comparisons import evidence
from optrun.errors import ConfigError, MissingExtraError
from optrun.plots.report.charts import MOST_POINTS
from optrun.plots.report.honesty import results_digest
from optrun.plots.report.page import page_of
from tests.missing import without
from tests.plots.browser import BROWSER, print_page

EVIL = "</script><img src=x onerror=alert(1)>{{<b>"
STUDY = {
    "name": EVIL,
    "problem": {"name": "softmax_regression", "data": "iris", "batch_size": 32},
    "optimizer": "SGD",
    "steps": 20,
    "evaluate": {"every": 5},
    "sweep": {
        "method": "random",
        "trials": 16,
        "repeats": 6,
        "parameters": {
            "problem.data": ["iris", "wine"],
            "optimizer.name": ["SGD", "AdamW"],
            "optimizer.lr": {"loguniform": [1e-3, 1e-1]},
            "optimizer.weight_decay": {"uniform": [0, 1e-2]},
        },
        "metric": {"name": "test_loss"},
    },
}
GRID = {
    "repeats": 2,
    "parameters": {"optimizer.name": ["SGD", "AdamW"], "optimizer.lr": [1e-3, 1e-2]},
    "metric": {"name": "test_loss"},
}
VOID = {"meta", "wbr", "img", "br", "line", "circle", "link", "input"}


class Page(HTMLParser):
    """What a browser sees of a page: its elements in their order, and the text of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        # A browser writes the ends of elements of SVG that have no content.
        assert tag in VOID or self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def text(self, *tags: str) -> str:
        return " ".join(text for tag, text in self.texts if tag in tags)


@pytest.fixture(scope="module")
def study():
    return optrun.sweep(STUDY, save=False)


@pytest.fixture(scope="module")
def made(study):
    """The text of a page whose names are hostile; the library stands for Plotly's."""
    found = evidence(study, baseline="SGD")
    named = replace(found.comparison, verdict=f"{EVIL} wins.", warnings=[f"{EVIL}: a; b" + " " * 300])
    return page_of(replace(found, comparison=named), [None], Path("a'b.html"), "window.Plotly = null;")


def test_the_markup_is_closed_and_nothing_is_injected(made):
    page = Page(made)
    assert page.open == []
    assert {tag for tag, _ in page.elements} & {"img", "b", "iframe", "object", "link", "base"} == set()
    assert not [name for _, given in page.elements for name in given if name.startswith("on")]
    assert f"{EVIL} wins." in page.text("p")


def test_nothing_is_loaded(made):
    page = Page(made)
    for tag, given in page.elements:
        assert not {"src", "srcset", "data", "action", "poster"} & set(given), tag
        assert given.get("href", "#").startswith("#")
        assert given.get("href", "#")[1:] in {"", *(each.get("id") for _, each in page.elements)}
        assert "url(" not in (given.get("style") or "")
    assert "url(" not in page.text("style")
    assert "@import" not in page.text("style")


def test_only_the_scripts_of_the_page_may_run(made):
    page = Page(made)
    policy = next(given["content"] for tag, given in page.elements if "http-equiv" in given)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    scripts = re.findall(r"<script>(.*?)</script>", made, re.S)
    assert allowed == [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts
    ]


def test_the_numbers_are_those_of_compare(study, made):
    found = optrun.compare(study, baseline="SGD")
    cells = [cell for tag, cell in Page(made).texts if tag in ("td", "a")]
    for of in found.problems:
        for row in of.rows:
            assert any(cell.startswith(f"{row.median:.4g} ({row.n})") for cell in cells)
            assert {f"{row.median:.4g}", f"[{row.low:.4g}, {row.high:.4g}]", f"{row.iqm:.4g}"} <= set(cells)
            if row.difference:
                assert {f"{row.difference.median:+.3g}", f"{row.difference.p:.2g}"} <= set(cells)
    for rank in found.ranking:
        assert {f"{rank.score:.2f}", f"{rank.average_rank:.2f}"} <= set(cells)


def test_the_page_says_what_it_rests_on(tmp_path):
    pytest.importorskip("plotly")
    places = [tmp_path / "runs" / name for name in ("<img src=x onerror=alert(1)>", "again")]
    saved = [optrun.sweep(STUDY, directory=place) for place in places]
    output = tmp_path / "a" / "page.html"
    assert optrun.report(*places, path=output, by="sweep", baseline="again") == output
    text = output.read_text(encoding="utf-8")
    assert len(text) < 7_000_000
    page = Page(text)
    assert page.open == []
    assert "img" not in {tag for tag, _ in page.elements}
    command = "--by sweep --baseline again --metric test_loss -o"
    assert command in page.text("pre")
    assert EVIL in page.text("pre")
    cells = page.text("td")
    for said in ("96 runs: 96 completed", "0, 1, 2", optrun.__version__, "(16 values)"):
        assert said in cells
    first, second = re.findall(r"\b[0-9a-f]{64}\b", cells)
    assert first == second == results_digest(saved[0].records())
    assert first != results_digest(saved[0].records()[1:])
    assert "optimizer" in [text for tag, text in page.texts if tag == "button"]


def charts_of(text):
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', text, re.S)
    assert found is not None
    assert not set("<>&") & set(found[1])
    return json.loads(found[1])


def titled(charts, title):
    """The charts whose y axis has this title."""
    titles = [each["layout"]["yaxis"].get("title", {}).get("text") for each in charts]
    return [each for each, of in zip(charts, titles, strict=True) if of == title]


def test_each_chart_has_its_place(made):
    charts = charts_of(made)
    places = [given["data-chart"] for _, given in Page(made).elements if given.get("class") == "chart"]
    assert places == [str(number) for number in range(len(charts))]


def test_a_profile_is_the_part_of_the_problems_within_a_ratio(study, made):
    (chart,) = titled(charts_of(made), "part of the problems within τ")
    found = optrun.compare(study, baseline="SGD")
    best = [of.rows[0].median for of in found.problems]
    for trace in chart["data"]:
        medians = [row.median for of in found.problems for row in of.rows if row.value == trace["name"]]
        for ratio, part in zip(trace["x"], trace["y"], strict=True):
            within = [median <= 1.00002 * ratio * low for median, low in zip(medians, best, strict=True)]
            assert part == pytest.approx(sum(within) / 2)


def test_the_curves_are_medians_over_the_seeds(study, made):
    row = optrun.compare(study, baseline="SGD").problems[0].rows[0]
    place = study.settings.index(row.setting)
    losses = [run.evaluations["test_loss"] for run in study.runs[6 * place : 6 * place + 6]]
    chart = titled(charts_of(made), "test_loss")[0]
    line = next(each for each in chart["data"] if each["name"] == row.value and each["showlegend"])
    assert line["y"] == pytest.approx(np.median(losses, axis=0), rel=1e-4)
    below = [each for each in chart["data"] if each.get("yaxis") == "y2"]
    assert {each["name"] for each in below} == {"SGD", "AdamW"}
    assert chart["layout"]["xaxis"]["anchor"] == "y2"


def test_tuning_ends_at_the_best_setting_of_random_search(study, made):
    chart = titled(charts_of(made), "best test_loss")[0]
    of = optrun.compare(study, baseline="SGD").problems[0]
    lines = {each["name"]: each for each in chart["data"] if each["showlegend"]}
    for row in of.rows:
        assert lines[row.value]["y"][-1] == pytest.approx(row.median, rel=1e-4)
        assert lines[row.value]["y"][0] == pytest.approx(row.after[1], rel=1e-4)
    grid = optrun.sweep({**STUDY, "sweep": GRID}, save=False)
    assert titled(charts_of(page_of(evidence(grid), [None], Path("a.html"), "")), "best test_loss") == []


def test_the_settings_are_those_of_the_sweep_the_best_first(study):
    found = trials_of(evidence(study, baseline="SGD"))
    assert sum(map(len, found.values())) == 16
    assert sorted({*found["softmax_regression data=wine"][0].setting}) == [
        "optimizer.lr",
        "optimizer.weight_decay",
    ]
    for of in found.values():
        medians = [each.median for each in of]
        assert medians == sorted(medians)


def test_sweeps_of_different_metrics_say_why_their_settings_are_not_drawn():
    sweeps = [
        optrun.sweep({**STUDY, "name": name, "sweep": {**GRID, "metric": {"name": name}}}, save=False)
        for name in ("test_loss", "train_loss")
    ]
    page = page_of(evidence(*sweeps, by="sweep", metric="test_loss"), [None, None], Path("a.html"), "")
    assert "Settings are not drawn: the sweeps rank them by different metrics" in page
    assert ": test_loss, minimized; " in page
    assert ": train_loss, minimized)" in page


def test_long_curves_are_thinned_and_the_last_point_stays():
    config = {**STUDY, "steps": 1000, "sweep": {**GRID, "parameters": {"optimizer.name": ["SGD", "AdamW"]}}}
    del config["evaluate"]
    chart = charts_of(page_of(evidence(optrun.sweep(config, save=False)), [None], Path("a.html"), ""))[0]
    for trace in chart["data"]:
        assert len(trace["x"]) == len(trace["y"]) == MOST_POINTS
        assert trace["x"][-1] == 999


def test_a_comparison_writes_its_report(study, tmp_path):
    pytest.importorskip("plotly")
    found = optrun.compare(study, baseline="SGD", metric="final_loss")
    assert "_sweeps" not in found.to_dict()
    written = found.report(tmp_path / "a.html")
    page = Page(written.read_text(encoding="utf-8"))
    assert found.verdict in page.text("p")
    assert "by final_loss" in found.verdict


def test_a_report_is_an_html_page(study):
    with pytest.raises(ConfigError, match="ends in .html"):
        optrun.report(study, path="report.pdf")


def test_without_plotly_the_error_is_the_command_that_installs_it(monkeypatch, study, tmp_path):
    without(monkeypatch, "plotly")
    with pytest.raises(MissingExtraError, match="pip install plotly"):
        optrun.report(study, path=tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


@pytest.mark.full
@pytest.mark.skipif(BROWSER is None, reason="without a browser")
def test_a_browser_without_network_prints_the_page_and_finds_no_error(study, tmp_path):
    pytest.importorskip("plotly")
    output = optrun.report(study, path=tmp_path / "page.html")
    # A page that is printed draws all charts first.
    printed = size_in_print(output, tmp_path)
    text = output.read_text(encoding="utf-8")
    output.write_text(re.sub(r'<div class="chart"[^>]*>', "<div>", text), encoding="utf-8")
    assert printed > size_in_print(output, tmp_path) + 3_000 * len(charts_of(text))


def size_in_print(page, folder):
    printed, console = print_page(page, folder)
    assert console == []
    return printed.stat().st_size
