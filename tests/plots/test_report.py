"""The page of a report: its numbers, its markup, and that nothing in it is loaded or injected."""

import base64
import builtins
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.analysis.best_settings import ComparedSweep
from optrun.analysis.comparison import Comparison, ComparisonRow, Difference, ProblemTable
from optrun.analysis.leaderboard import SweepPlan
from optrun.analysis.trials import trials_of
from optrun.api.comparisons import evidence
from optrun.errors import ConfigError, MissingExtraError
from optrun.plots.report.charts import MOST_POINTS
from optrun.plots.report.honesty import facts, honesty_box, results_digest
from optrun.plots.report.markup import Strip, Td, table
from optrun.plots.report.page import page_of
from optrun.plots.report.tables import mark, nearness

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
        assert self.open.pop() == tag

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


def test_long_curves_are_thinned_and_the_last_point_stays():
    config = {**STUDY, "steps": 1000, "sweep": {**GRID, "parameters": {"optimizer.name": ["SGD", "AdamW"]}}}
    del config["evaluate"]
    chart = charts_of(page_of(evidence(optrun.sweep(config, save=False)), [None], Path("a.html"), ""))[0]
    for trace in chart["data"]:
        assert len(trace["x"]) == len(trace["y"]) == MOST_POINTS
        assert trace["x"][-1] == 999


@pytest.mark.parametrize(
    ("goal", "medians", "parts"),
    [
        ("minimize", [1.0, 2.0, 4.0, 9.0, None], [1.0, 0.5, 0.0, 0.0, None]),
        ("minimize", [-1.0, 0.0, 1.0], [1.0, 0.5, 0.0]),
        ("maximize", [0.9, 0.8, 0.7], [1.0, 0.5, 0.0]),
        ("maximize", [0.9, 0.9], [1.0, 1.0]),
    ],
)
def test_the_colour_is_how_near_a_median_is_to_the_best(goal, medians, parts):
    rows = [
        ComparisonRow(str(place), {}, 3, median, median, None, None, None, None, 0, (), 1, False, {})
        for place, median in enumerate(medians)
    ]
    of = ProblemTable("p", None, rows, False)
    found = Comparison("m", goal, "optimizer.name", "0", [of], [])
    assert [nearness(row, of, found) for row in rows] == pytest.approx(parts)


@pytest.mark.parametrize(
    ("goal", "difference", "separable", "sign"),
    [
        ("minimize", -1.0, True, "✓"),
        ("minimize", 1.0, True, "✗"),
        ("maximize", 1.0, True, "✓"),
        ("minimize", -1.0, False, ""),
        ("minimize", -1.0, None, ""),
    ],
)
def test_marks_say_what_is_better_beyond_chance(goal, difference, separable, sign):
    of = Difference(difference, None, None, 0.01, 6)
    row = ComparisonRow("a", {}, 6, 1.0, 1.0, None, None, of, separable, 0, (), 1, False, {})
    assert mark(row, Comparison("m", goal, "optimizer.name", "b", [], [])) == sign


@pytest.mark.parametrize(
    "change",
    [{"seed": 7}, {"config": {"steps": 1}}, {"steps": 1}, {"status": "failed"}, {"summary": {"loss": 0.5}}],
)
def test_the_digest_is_that_of_all_results(study, change):
    runs = study.records()
    assert results_digest([*runs[:-1], replace(runs[-1], **change)]) != results_digest(runs)
    assert results_digest([*runs[:-1], replace(runs[-1], reason="other words")]) == results_digest(runs)


def test_an_interval_far_from_the_others_does_not_compress_them():
    axis = Strip.over([1.0, 2.0, 3.0, 4.0, 1e6], 0.0)
    assert (axis.low, axis.high) == (0.0, 4.0)
    assert "beyond" in axis.draw(1e6, None, None).markup
    assert "beyond" not in axis.draw(2.0, 1.0, 3.0).markup


def test_a_table_leaves_out_empty_columns_and_escapes():
    page = Page(table(["a<", "b", "c"], [[Td("<x>"), Td("", 1.0), Td("2", 2.0)]]))
    assert [text for tag, text in page.texts if tag == "button"] == ["a<", "c"]
    assert [text for tag, text in page.texts if tag == "td"] == ["<x>", "2"]


@pytest.mark.parametrize(
    ("separable", "words"),
    [
        ([None, None], "No difference to SGD is tested."),
        ([None, False], "1 comparison with SGD, by the exact"),
    ],
)
def test_the_page_says_how_much_was_tested(study, separable, words):
    found = evidence(study, baseline="SGD")
    of = found.comparison.problems[0]
    rows = [replace(row, separable=each) for row, each in zip(of.rows, separable, strict=True)]
    changed = replace(found.comparison, problems=[replace(of, rows=rows)], ranking=[])
    assert words in honesty_box(replace(found, comparison=changed), [None], Path("a.html"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([{"a": 0.1}, {"a": 1}, {"b": 7}], "0.1 … 1 (2 values)"),
        ([{"a": None}, {"a": {"name": "StepLR", "step_size": 3}}, {"a": True}], "null, StepLR, true"),
        ([{"a": str(place)} for place in range(20)], ", ".join(map(str, range(12))) + " and 8 more"),
    ],
)
def test_a_space_is_told_by_what_was_tried(settings, words):
    plan = SweepPlan([{**each, "c": 1} for each in settings], 1, "loss", False)
    assert dict(facts(ComparedSweep("s", plan, []), None))["a"] == words


def test_a_report_is_an_html_page(study):
    with pytest.raises(ConfigError, match="ends in .html"):
        optrun.report(study, path="report.pdf")


def test_without_plotly_the_error_is_the_command_that_installs_it(monkeypatch, study, tmp_path):
    real = builtins.__import__

    def missing(name, *rest):
        if name.startswith("plotly"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtraError, match="pip install plotly"):
        optrun.report(study, path=tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.full
@pytest.mark.skipif(BROWSER is None, reason="without a browser")
def test_a_browser_without_network_draws_all_charts_and_finds_no_error(study, tmp_path):
    pytest.importorskip("plotly")
    output = optrun.report(study, path=tmp_path / "page.html")
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    # Of a name that cannot be looked up nothing can be loaded; the console says what the policy of the page forbids.
    command += [
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--enable-logging=stderr",
        "--window-size=1200,20000",
    ]
    command += ["--virtual-time-budget=20000", "--dump-dom", output.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    drawn = done.stdout.count('class="chart js-plotly-plot"')
    assert drawn == len(charts_of(output.read_text(encoding="utf-8"))) > 5
