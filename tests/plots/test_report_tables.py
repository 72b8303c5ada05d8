"""The tables of a report, and what it says it rests on."""

from dataclasses import replace
from pathlib import Path

import pytest

import optrun
from optrun.analysis.best_settings import ComparedSweep
from optrun.analysis.comparison import Comparison, ComparisonRow, Difference, ProblemTable, Rank, Speedup
from optrun.analysis.leaderboard import SweepPlan
from optrun.api.comparisons import evidence
from optrun.plots.report.honesty import facts, honesty_box, results_digest
from optrun.plots.report.markup import Strip, Td, table
from optrun.plots.report.tables import mark, nearness, problem_table, ranking_table
from tests.plots.test_report import STUDY, Page


@pytest.fixture(scope="module")
def study():
    return optrun.sweep(STUDY, save=False)


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
    ("better", "separable", "sign"),
    [(True, True, "✓"), (False, True, "✗"), (True, False, ""), (True, None, "")],
)
def test_marks_say_what_is_better_beyond_chance(better, separable, sign):
    of = Difference(-1.0, None, None, 0.01, 6, better)
    row = ComparisonRow("a", {}, 6, 1.0, 1.0, None, None, of, separable, 0, (), 1, False, {})
    assert mark(row, Comparison("m", "minimize", "optimizer.name", "b", [], [])) == sign


def test_a_problem_has_the_columns_of_compare_and_parts_as_json():
    part = {"name": "StepLR", "step_size": 3}
    row = ComparisonRow("a", {"scheduler": part}, 6, 1.0, 1.0, None, None, None, None, 0, (), 1, False, {})
    fast = replace(row, at_defaults=3.5, lr_sensitivity=0.25, speedup=Speedup(0.5, 100, 40, 2.5))
    never = replace(row, value="b", speedup=Speedup(0.5, 100, None, None))
    of = ProblemTable("p", None, [fast, never], False)
    found = Comparison("m", "minimize", "optimizer.name", "c", [of], [])
    text = problem_table(of, found)
    page = Page(text)
    heads = [words for tag, words in page.texts if tag == "button"]
    cells = [words for tag, words in page.texts if tag == "td"]
    assert [head for head in heads if head in ("at defaults", "lr sensitivity", "speed-up")] == heads[-5:-2]
    assert {"3.5", "0.25", "2.5×", "not reached"} <= set(cells)
    assert "0.5 in 40 steps, the baseline in 100" in text
    assert "{&quot;name&quot;: &quot;StepLR&quot;, &quot;step_size&quot;: 3}" in text
    rank = Rank("a", 1.0, None, None, 1.0, None, None, 0.125)
    assert "0.12" in [words for tag, words in Page(ranking_table(replace(found, ranking=[rank]))).texts]


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
