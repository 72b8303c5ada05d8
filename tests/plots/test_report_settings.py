"""The charts of all settings in a report, and the colours of values."""

import json
from dataclasses import replace

import pytest

from optrun.analysis.sensitivity import NO_VALUE
from optrun.analysis.trials import Trial
from optrun.plots.report.figures import Palette
from optrun.plots.report.hyperparameters import sensitivities
from optrun.plots.report.parallel import parallel


def test_only_the_best_values_and_the_baseline_are_drawn_at_first():
    values = [f"v{place}" for place in range(30)]
    palette = Palette(values, "v20")
    assert [value for value in values if palette.draws(value)] == [*values[:8], "v20"]
    assert len({(palette.colour(value), palette.line(value)["dash"]) for value in values}) == 30
    assert palette.trace("v9")["visible"] == "legendonly"
    assert len({(palette.colour(value), palette.symbol(value)) for value in values}) == 30
    assert palette.of(["v9"]).trace("v9")["visible"] is True


def trials(count, **others):
    """Settings from the best on; the last tenth diverged."""
    made = []
    for place in range(count):
        setting = {"optimizer.lr": 10.0 ** -(place % 5), "optimizer.beta": 0.1 * (place % 7), **others}
        median = None if place >= 0.9 * count else 1.0 + place
        made.append(Trial("SGD" if place % 2 else "Adam", setting, median, True))
    return made


def test_every_setting_is_a_point_and_what_diverged_a_cross():
    given = trials(40)
    chart, words = sensitivities(given, "loss", Palette(["SGD", "Adam"], "SGD"))
    assert words == "40 settings, the median of each over its seeds; ×: diverged"
    first = [each for each in chart["data"] if each["xaxis"] == "x"]
    crosses = [each for each in first if each["marker"].get("symbol") == "x"]
    points = [each for each in first if each not in crosses]
    assert sum(len(each["x"]) for each in crosses) == 4
    assert sorted(y for each in points for y in each["y"]) == [1.0 + place for place in range(36)]
    assert (chart["layout"]["xaxis"]["type"], chart["layout"]["xaxis2"]["type"]) == ("log", "linear")
    low, high = chart["layout"]["yaxis"]["range"]
    assert all(low < y < high for each in crosses for y in each["y"])


@pytest.mark.parametrize(
    ("medians", "worst_is_high"), [([1.0, 2.0, 3.0, 1e9], True), ([0.9, 0.8, 0.7, -1e9], False)]
)
def test_a_far_worse_median_is_beyond_the_axis(medians, worst_is_high):
    given = [Trial("SGD", {"optimizer.lr": 1.0 + place}, each, True) for place, each in enumerate(medians)]
    given.append(Trial("SGD", {"optimizer.lr": 9.0}, None, True))
    chart, _ = sensitivities(given, "metric", Palette(["SGD"], "SGD"))
    low, high = chart["layout"]["yaxis"]["range"]
    if chart["layout"]["yaxis"]["type"] == "log":
        low, high = 10**low, 10**high
    assert -1e6 < low < min(medians[:3])
    assert max(medians[:3]) < high < 1e6
    cross = chart["data"][-1]["y"][0]
    assert (cross > max(medians[:3])) == worst_is_high
    assert low < cross < high


def test_every_setting_that_the_axis_does_not_show_has_a_mark_and_a_word():
    medians = [0.0, 1.0, 1.1, 1.2, 1e9]
    given = [Trial("SGD", {"optimizer.lr": 1.0 + place}, each, True) for place, each in enumerate(medians)]
    given += [Trial("SGD", {"optimizer.lr": 8.0}, None, True, [why]) for why in NO_VALUE]
    chart, words = sensitivities(given, "loss", Palette(["SGD"], "SGD"))
    assert words.split("; ")[1:] == [
        "▼: 0 or less, below the log axis",
        "▲: far worse, above the plot",
        "×: diverged",
        "+: failed",
        "□: missed the target",
        "Y: no value",
    ]
    marks = [(each["marker"]["symbol"], each["x"], each["text"]) for each in chart["data"][1:]]
    assert marks[:2] == [("triangle-down", [1.0], ["0"]), ("triangle-up", [5.0], ["1e+09"])]
    low, high = (10**end for end in chart["layout"]["yaxis"]["range"])
    assert all(low < each["y"][0] < high for each in chart["data"][1:])


def test_an_axis_has_a_range_even_if_none_of_its_values_is_drawn():
    given = [Trial("SGD", {"optimizer.lr": 10.0**place}, 1.0 + place, True) for place in (2, 0, 1)]
    chart, _ = sensitivities(given, "loss", Palette(["Adam", "SGD"], "Adam").of([]))
    assert chart["data"][0]["visible"] == "legendonly"
    assert chart["layout"]["xaxis"]["range"] == pytest.approx([-0.12, 2.12])


def test_points_of_one_parameter_are_joined():
    given = [Trial("SGD", {"optimizer.lr": 10.0**place}, 1.0 + place, True) for place in (2, 0, 1)]
    chart, _ = sensitivities(given, "loss", Palette(["SGD"], "SGD"))
    assert chart["data"][0]["mode"] == "lines+markers"
    assert chart["data"][0]["x"] == [1.0, 10.0, 100.0]


def test_many_settings_are_thinned_and_the_best_stay():
    given = trials(5000)
    chart, words = sensitivities(given, "loss", Palette(["SGD", "Adam"], "SGD"))
    assert words.startswith("1000 of 5000 settings")
    drawn = {y for each in chart["data"] if each["xaxis"] == "x" for y in each["y"]}
    assert {1.0 + place for place in range(250)} <= drawn
    lines, words = parallel(given, "optimizer", "loss")
    assert words.startswith(
        "each line is one of 250 of 4500 settings with a median. In the legend, a click hides"
    )
    assert sum(each["x"].count(None) for each in lines["data"]) == 250
    assert len(json.dumps(chart)) < 200_000


def test_parallel_coordinates_have_an_axis_for_each_parameter():
    given = trials(20, scheduler={"name": "StepLR<b>"})
    given[0] = replace(given[0], setting={**given[0].setting, "scheduler": None})
    chart, _ = parallel(given, "optimizer", "loss")
    titles = [each["text"] for each in chart["layout"]["annotations"] if each["text"].startswith("<b>")]
    assert titles == [f"<b>{name}</b>" for name in ("optimizer", "scheduler", "lr", "beta", "loss")]
    assert {"null", "StepLR&lt;b&gt;"} <= {each["text"] for each in chart["layout"]["annotations"]}
    best = chart["data"][-1]
    assert best["name"] == "best 10 %"
    assert (best["x"][:6], best["y"][4]) == ([0.0, 1.0, 2.0, 3.0, 4.0, None], 0.0)
    assert all(y is None or 0 <= y <= 1 for each in chart["data"] for y in each["y"])


def test_without_a_number_that_varies_there_is_no_chart_of_settings():
    given = [Trial(value, {}, 1.0, True) for value in ("SGD", "Adam")]
    assert sensitivities(given, "loss", Palette(["SGD", "Adam"], "SGD")) is None
    assert parallel(given, "optimizer", "loss") is None
