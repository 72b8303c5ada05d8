"""Runs, sweeps and comparisons draw themselves, and notebooks show them as tables."""

import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import optrun
from optrun.api.html import html_table
from optrun.errors import ConfigError, MissingExtraError
from tests.missing import without

SWEEP = {
    "name": "<b>study</b>",
    "problem": {"name": "quadratic", "noise": 0.5},
    "optimizer": "SGD",
    "steps": 12,
    "sweep": {
        "repeats": 3,
        "parameters": {
            "problem.noise": [0.5, 2.0],
            "optimizer.name": ["SGD", "Adam"],
            "optimizer.lr": [1e-4, 1e-3, 1e-2],
            "optimizer.weight_decay": [0.0, 0.1],
        },
    },
}
NEEDED = {"heat": {"over": ("lr", "weight_decay")}, "curves": {"problem": "noise=2"}}
"""The options without which a kind cannot be drawn of this sweep."""
KINDS = ["curves", "sensitivity", "best", "profile", "ranking", "heat"]


@pytest.fixture(scope="module")
def sweep():
    return optrun.sweep(SWEEP, save=False)


@pytest.fixture
def without_matplotlib(monkeypatch):
    without(monkeypatch, "matplotlib")


class Cells(HTMLParser):
    """The texts of the cells of a table, row by row, and all tags."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.tags = [], set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip("\n")


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_a_sweep_draws_every_kind(kind, sweep):
    figure_module = pytest.importorskip("matplotlib.figure")
    figure = sweep.plot(kind, title="of mine", size=(6, 4), dpi=50, style="talk", **NEEDED.get(kind, {}))
    assert isinstance(figure, figure_module.Figure)
    assert (figure.get_size_inches().tolist(), figure.dpi) == ([6, 4], 50)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_curves_of_a_sweep_are_medians_of_its_best_settings(sweep):
    pytest.importorskip("matplotlib")
    figure = sweep.plot("curves", metric="loss", smooth=2, problem="noise=2")
    best = next(each for each in sweep.standings() if each.problem == "quadratic noise=2")
    runs = np.array([run.curves["loss"] for run in sweep.runs[best.first : best.first + 3]])
    means = np.concatenate([runs[:, :1], (runs[:, 1:] + runs[:, :-1]) / 2], axis=1)
    np.testing.assert_allclose(
        figure.axes[0].get_lines()[0].get_ydata(), np.median(means, axis=0), rtol=1e-12
    )
    said = figure.legends[0]
    assert said.get_title().get_text() == "the best 6 settings, each the median over its seeds"
    assert len(said.get_texts()) == 6


def test_a_sensitivity_has_axes_for_each_problem(sweep):
    pytest.importorskip("matplotlib")
    figure = sweep.plot("sensitivity")
    figure._repr_png_()
    problems = ["quadratic noise=0.5", "quadratic noise=2"]
    assert [axes.get_title().partition("\n")[0] for axes in figure.axes] == problems
    for problem, axes in zip(problems, figure.axes, strict=True):
        found = sweep.sensitivity(problem=problem)
        (star,) = [line for line in axes.get_lines() if line.get_marker() == "*"]
        assert star.get_ydata() == min(each.median for each in sweep.standings() if each.problem == problem)
        assert (found.problem, found.best.median) == (problem, star.get_ydata())
        # Neither is the panel empty, nor have unclipped marks widened its margins.
        assert axes.get_position().width > 0.3
    # A line of one setting has one colour in all panels.
    colours = [{line.get_label(): line.get_color() for line in axes.get_lines()} for axes in figure.axes]
    shared = [label for label in colours[0] if label in colours[1] and not label.startswith("_")]
    assert len(shared) == 4
    assert all(colours[0][label] == colours[1][label] for label in shared)
    (alone,) = sweep.plot("sensitivity", problem="noise=2").axes
    assert {line.get_label(): line.get_color() for line in alone.get_lines()}.keys() >= set(shared)


def test_a_run_draws_its_curves():
    pytest.importorskip("matplotlib")
    run = optrun.run({key: SWEEP[key] for key in SWEEP if key != "sweep"}, save=False)
    upper, lower = run.plot(log=False).axes
    np.testing.assert_array_equal(
        upper.get_lines()[0].get_xydata(), np.column_stack([run.curves["step"], run.curves["loss"]])
    )
    np.testing.assert_array_equal(lower.get_lines()[0].get_ydata(), run.curves["lr"])
    assert upper.get_title(loc="left") == "<b>study</b>"
    with pytest.raises(ConfigError, match="no curve 'los'; it has loss, .*Did you mean 'loss'"):
        run.plot(metric="los")
    with pytest.raises(ConfigError, match="smooth 0: it is a number of recorded steps"):
        run.plot(smooth=0)


def test_a_random_search_draws_its_tuning():
    pytest.importorskip("matplotlib")
    block = {"method": "random", "trials": 3, "parameters": {"optimizer.lr": {"uniform": [1e-4, 1e-3]}}}
    sweep = optrun.sweep({**SWEEP, "sweep": block}, save=False)
    losses = sorted(run.summary["final_loss"] for run in sweep.runs)
    line = sweep.plot("tuning").axes[0].get_lines()[0]
    assert line.get_ydata().tolist() == [losses[1], losses[0], losses[0]]


@pytest.mark.parametrize("kind", ["profile", "ranking"])
def test_a_comparison_draws_itself(kind, sweep):
    pytest.importorskip("matplotlib")
    found = optrun.compare(sweep)
    assert isinstance(found, optrun.Comparison)
    same = sweep.plot(kind)
    drawn = found.plot(kind)
    for one, other in zip(same.axes, drawn.axes, strict=True):
        for a, b in zip(one.get_lines(), other.get_lines(), strict=True):
            np.testing.assert_array_equal(a.get_xydata(), b.get_xydata())
    with pytest.raises(ConfigError, match="kind 'heat': that of a comparison is profile or ranking"):
        found.plot("heat")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"kind": "hat"}, "kind 'hat': it is one of curves, .* Did you mean 'heat'"),
        ({"kind": "best", "over": "lr"}, "^over is for kind sensitivity or heat, not for best"),
        ({"over": ["lr", "weight_decay"]}, "a sensitivity is over one parameter; a heat map is over two"),
        (
            {"kind": "curves"},
            "best curves is of one problem: --problem takes one of quadratic noise=0.5, quad",
        ),
        (
            {"problem": "noise"},
            "'noise' means several of the problems quadratic noise=0.5, quadratic noise=2",
        ),
        ({"problem": "nose=2"}, "'nose=2' is none of the problems"),
        ({"kind": "best", "problem": "noise=2"}, "problem is for kind curves or .* trajectory, not for best"),
        ({"style": "paer"}, "Did you mean 'paper'"),
        ({"size": (6, 4, 2)}, "size .*: width and height"),
    ],
)
def test_what_cannot_be_drawn_is_said(arguments, said, sweep):
    with pytest.raises(ConfigError, match=said):
        sweep.plot(**arguments)


@pytest.mark.parametrize("kind", KINDS)
def test_without_matplotlib_the_error_says_how_to_install_it(kind, sweep, without_matplotlib):
    with pytest.raises(MissingExtraError, match="pip install matplotlib"):
        sweep.plot(kind, **NEEDED.get(kind, {}))


def test_a_notebook_shows_tables_without_pictures(sweep, without_matplotlib):
    shown = Cells(sweep._repr_html_())
    assert shown.tags == {"p", "table", "thead", "tbody", "tr", "th", "td"}
    assert shown.rows[0][-4:] == ["median final_loss", "1st quartile", "3rd quartile", "diverged"]
    best = sweep.standings()[0]
    assert len(shown.rows) == 11
    assert [row[0] for row in shown.rows[1:]] == [
        problem for problem in ("quadratic noise=0.5", "quadratic noise=2") for _ in range(5)
    ]
    setting = [each if isinstance(each, str) else f"{each:.4g}" for each in best.setting.values()]
    assert shown.rows[1] == [
        best.problem,
        *setting,
        *(f"{each:.4g}" for each in (best.median, best.lower, best.upper)),
        "0",
    ]
    assert "the best settings of each problem, 14 more" in sweep._repr_html_()
    run = sweep.runs[0]
    rows = Cells(run._repr_html_()).rows
    assert ["steps", "12"] in rows
    assert ["final_loss", f"{run.summary['final_loss']:.4g}"] in rows
    found = optrun.compare(sweep)
    rows = Cells(found._repr_html_()).rows
    assert len(rows) == 1 + sum(len(table.rows) for table in found.problems)
    first = found.problems[0].rows[0]
    assert rows[1][:2] == [found.problems[0].problem, first.value]
    assert rows[1][3:5] == [str(first.n), f"{first.median:.4g}"]


def test_tables_are_escaped():
    html = html_table(["<b>", "a"], [["<script>alert('&')</script>\x1b", 1.23456], [None, 2]], "<p>")
    assert Cells(html).tags == {"p", "table", "thead", "tbody", "tr", "th", "td"}
    assert Cells(html).rows == [["<b>", "a"], ["<script>alert('&')</script>?", "1.235"], ["", "2"]]
    assert "<p>&lt;p&gt;</p>" in html


@pytest.mark.full
def test_nothing_imports_matplotlib_before_a_picture_is_drawn():
    code = (
        "import sys, optrun, optrun.api.pictures\n"
        "run = optrun.run({'problem': 'beale', 'optimizer': 'SGD', 'steps': 3}, save=False)\n"
        "run._repr_html_()\n"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
