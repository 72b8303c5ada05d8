"""The command `map`: its numbers, its picture, its window, and what it refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from optrun.config.map import load_map
from optrun.plots.look import COLOURS
from optrun.plots.map_figure import map_figure
from optrun.store import Status
from optrun.store.states import CODES, STATUSES
from optrun.sweeps.map_file import Pixels
from optrun.sweeps.maps import MapPlan
from tests.cli.looking import call

__all__ = ["call"]

MAP = """
problem: himmelblau
optimizer: {name: SGD, lr: 0.01, momentum: 0.5}
steps: 200
map:
  x: {problem.start.0: {linspace: [-4, 4, 6]}}
  y: {problem.start.1: {linspace: [-4, 4, 4]}}
"""
NUMBERS = {"x", "y", "value", "status", "statuses", "config", "identity"}


@pytest.fixture
def file(tmp_path):
    (tmp_path / "drawn.yaml").write_text(MAP)
    return "drawn.yaml"


def held(path="drawn.npz"):
    with np.load(path) as numbers:
        return dict(numbers)


def test_a_map_is_a_picture_and_its_numbers(file, call):
    pytest.importorskip("matplotlib")
    done = call("map", file)
    assert done == (0, "drawn.png\n", "24 completed\n")
    found = held()
    assert found.keys() == NUMBERS
    np.testing.assert_allclose(found["x"], np.linspace(-4, 4, 6))
    np.testing.assert_allclose(found["y"], np.linspace(-4, 4, 4), rtol=1e-11)
    assert found["value"].shape == found["status"].shape == (4, 6)
    assert set(found["statuses"][found["status"]].ravel()) == {"completed"}
    assert list(found["statuses"]) == list(STATUSES)
    config = json.loads(str(found["config"]))
    assert config["problem"] == "himmelblau"
    assert config["map"]["x"] == {"problem.start.0": {"linspace": [-4, 4, 6]}}
    assert call("map", file, "-q", "-o", "again.png").out == "again.png\n"
    np.testing.assert_equal(held("again.npz")["value"], found["value"])


def test_the_picture_shows_the_numbers(file, call, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    from optrun.cli.views import map as view

    drawn = []
    monkeypatch.setattr(view, "save", lambda picture, stream, format: drawn.append(picture))
    call("map", file, "optimizer.lr=0.03")
    pixels = drawn[0].axes[0].images[0].get_array()
    found = held()
    diverged = found["status"] == CODES[Status.DIVERGED]
    assert 0 < diverged.sum() < diverged.size
    assert (pixels[diverged] == pixels[diverged][0]).all()
    lightness = matplotlib.colors.rgb_to_hsv(pixels[..., :3] / 255)[..., 2]
    best, worst = (np.nanargmin(found["value"]), np.nanargmax(found["value"]))
    assert lightness.flat[best] > lightness.flat[worst]
    assert drawn[0].axes[0].images[0].origin == "lower"
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["diverged"]


@pytest.mark.parametrize(
    ("low", "high", "name", "texts"),
    [
        (1.0, 1000.0, "lr", ["1", "10", "10²", "10³"]),
        (5.0, 22.0, "lr", ["5", "10", "20"]),
        (0.47, 1.36, "lr", ["0.6", "0.8", "1", "1.2"]),
        (1.234561, 1.234565, "lr − 1.234563", ["−2e−6", "−1e−6", "0", "1e−6", "2e−6"]),
    ],
)
def test_axes_of_any_window_have_several_short_texts(low, high, name, texts):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    numbers = np.geomspace(low, high, 64)
    found = Pixels(numbers, numbers, np.outer(numbers, np.ones(64)), np.full((64, 64), 2, np.uint8))
    picture: Figure = map_figure(found, x="lr", y="y", color="steps_to_target", title="t", log=True)
    axes, bar = picture.axes
    assert axes.get_xlabel() == name
    assert [text.get_text() for text in axes.get_xticklabels()] == texts
    places = axes.get_xticks()
    assert len(bar.get_yticks()) >= 3
    assert ((axes.get_xlim()[0] <= places) & (places <= axes.get_xlim()[1])).all()


def test_json_tells_the_files_the_ends_and_the_minima(file, call):
    pytest.importorskip("matplotlib")
    for color in ("final_loss", "minimum"):
        done = call(
            "map", file, f"map.color={color}", "optimizer.lr=0.03", "-o", f"{color}.png", "--json", "-q"
        )
        told, found = json.loads(done.out), held(f"{color}.npz")
        assert (told["picture"], told["numbers"]) == (f"{color}.png", f"{color}.npz")
        assert sum(told["runs"].values()) == 24
        assert told["runs"]["diverged"] == (found["status"] == CODES[Status.DIVERGED]).sum()
        assert told.get("minima") == (found["minima"].tolist() if color == "minimum" else None)


def test_a_coordinate_that_is_zero_but_for_rounding_is_named_zero():
    pytest.importorskip("matplotlib")
    found = Pixels(np.arange(2.0), np.arange(2.0), np.array([[0.0, 1], [0, 1]]), np.full((2, 2), 2, np.uint8))
    found.minima, found.minima_loss = np.array([[-1.97e-31, 0.25], [3e-5, -1e-17]]), np.zeros(2)
    picture = map_figure(found, x="x", y="y", color="minimum", title="t")
    assert [text.get_text() for text in picture.legends[0].get_texts()] == ["(0, 0.25)", "(3e-05, 0)"]


@pytest.mark.parametrize(
    ("numbers", "places", "texts"),
    [
        ([0.0, 1.0, 10.0], [0, 1, 2], ["0", "1", "10"]),
        ([3.0, 1.0, 2.0], [0, 1, 2], ["3", "1", "2"]),
        ([0.9], [0], ["0.9"]),
        (np.arange(20.0) ** 2 - 1, range(0, 20, 3), ["−1", "8", "35", "80", "143", "224", "323"]),
        ([0.0, 1.0, 2.0], [0, 0.5, 1, 1.5, 2], ["0", "0.5", "1", "1.5", "2"]),
    ],
    ids=str,
)
def test_ticks_of_listed_numbers_are_at_their_pixels(numbers, places, texts):
    pytest.importorskip("matplotlib")
    numbers = np.array(numbers)
    size = len(numbers)
    found = Pixels(numbers, np.array([0.0, 1.0]), np.ones((2, size)), np.full((2, size), 2, np.uint8))
    (axes, *_) = map_figure(found, x="lr", y="y", color="final_loss", title="t").axes
    drawn = dict(zip(axes.get_xticks(), (text.get_text() for text in axes.get_xticklabels()), strict=True))
    assert {place: drawn.get(place) for place in places} == dict(zip(places, texts, strict=True))
    assert axes.get_xlim() == pytest.approx((-0.5, size - 0.5))
    assert axes.images[0].get_extent()[:2] == pytest.approx([-0.5, size - 0.5])


def test_stars_are_where_minima_are_on_an_axis_of_logarithms(file, call, monkeypatch):
    pytest.importorskip("matplotlib")
    from optrun.cli.views import map as view

    drawn = []
    monkeypatch.setattr(view, "save", lambda picture, stream, format: drawn.append(picture))
    call("map", file, "map.color=minimum", "map.x.problem.start.0={logspace: [0.1, 10, 5]}")
    (stars,) = drawn[0].axes[0].lines
    points = held()["minima"]
    wanted = np.log10(np.where(points[:, 0] > 0, points[:, 0], np.nan))
    np.testing.assert_allclose(stars.get_xdata(), wanted)
    np.testing.assert_allclose(stars.get_ydata(), points[:, 1])


def test_which_minimum_is_a_color(file, call, monkeypatch):
    pytest.importorskip("matplotlib")
    from matplotlib.colors import to_rgba

    from optrun.cli.views import map as view

    drawn = []
    monkeypatch.setattr(view, "save", lambda picture, stream, format: drawn.append(picture))
    done = call("map", file, "map.color=minimum")
    assert "minima at which runs ended: 4 known of the function\n" in done.err
    found = held()
    assert found.keys() == NUMBERS | {"ends", "minima", "minima_loss", "minima_known", "minima_axes"}
    distances = np.linalg.norm(found["ends"][:, :, None] - found["minima"], axis=-1)
    np.testing.assert_array_equal(found["value"], distances.argmin(axis=-1))
    assert (distances.min(axis=-1) < 0.1).all()
    pixels = drawn[0].axes[0].images[0].get_array()
    for number, colour in enumerate(COLOURS[:4]):
        shown = pixels[found["value"] == number]
        assert (shown == np.round(255 * np.array(to_rgba(colour)))).all()
    (stars,) = drawn[0].axes[0].get_lines()
    np.testing.assert_array_equal(stars.get_xydata(), found["minima"])
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert labels == ["(3, 2)", "(-2.81, 3.13)", "(-3.78, -3.28)", "(3.58, -1.85)"]
    again = call("map", file, "map.color=minimum").err
    assert again.startswith("nothing was run: drawn.npz holds all 24 runs\n24 completed\n")
    assert "4 known" in again


def test_a_run_that_ends_too_far_away_is_at_no_minimum(file, call):
    pytest.importorskip("matplotlib")
    done = call("map", file, "map.color=minimum", "map.tolerance=0.5", "steps=12")
    found = held()
    nearest = np.linalg.norm(found["ends"][:, :, None] - found["minima"], axis=-1).min(axis=-1)
    np.testing.assert_array_equal(np.isnan(found["value"]), nearest > 0.5)
    assert 0 < (nearest > 0.5).sum() < nearest.size
    assert f"; {(nearest > 0.5).sum()} run" in done.err


def test_minima_that_are_not_known_are_found(file, call):
    pytest.importorskip("matplotlib")
    written = "problem={name: expression, f: '(x**2 - 1)**2 + 0.1 * x + y**2', start: {x: 0.0, y: 0.0}}"
    axes = ["map.x.problem.start.x={linspace: [-2, 2, 6]}", "map.y.problem.start.y=[-1.0, 1.0]"]
    done = call("map", file, written, *axes, "map.color=minimum")
    assert "0 known of the function, and 2 found where runs ended\n" in done.err
    found = held()
    roots = np.sort(np.roots([4, 0, -4, 0.1]).real)  # of the derivative
    np.testing.assert_allclose(found["minima"], [[roots[0], 0], [roots[2], 0]], atol=1e-9)
    assert not found["minima_known"].any()
    assert found["minima_axes"].tolist() == [0, 1]
    assert (
        call("map", file, written, *axes, "map.color=minimum", "map.tolerance=1e-9", "-o", "b.png").code == 0
    )
    assert np.isnan(held("b.npz")["value"]).any()  # float32 ends nearby


@pytest.mark.parametrize("color", ["steps", "steps_to_target", "diverged_at"])
def test_steps_are_those_until_the_target_or_the_divergence(color, file, call):
    pytest.importorskip("matplotlib")
    axes = ["map.x.optimizer.lr={logspace: [1e-4, 1e-1, 5]}", "map.y.optimizer.momentum=[0.0, 0.9]"]
    assert call("map", file, *axes, "stop.target=1e-3", f"map.color={color}").code == 0
    found = held()
    status = found["statuses"][found["status"]]
    counted = {
        "steps": ("target_reached", "diverged"),
        "steps_to_target": ("target_reached",),
        "diverged_at": ("diverged",),
    }[color]
    assert {*status.ravel()} == {"completed", "target_reached", "diverged"}
    np.testing.assert_array_equal(np.isfinite(found["value"]), np.isin(status, counted))


def test_values_with_commas_are_an_axis_as_in_a_sweep(file, call):
    pytest.importorskip("matplotlib")
    assert call("map", file, "map.x.problem.start.0=0,1.5,-2").code == 0
    assert held()["x"].tolist() == [0, 1.5, -2]


def test_an_override_gives_another_window(file, call):
    pytest.importorskip("matplotlib")
    window = "map.x.problem.start.0={linspace: [2.9, 3.1, 3]}"
    assert call("map", file, window, "-o", "zoom.svg").out == "zoom.svg\n"
    np.testing.assert_array_equal(held("zoom.npz")["x"], np.linspace(2.9, 3.1, 3))
    picture = Path("zoom.svg").read_text(encoding="utf-8")
    assert "x[0]" in picture
    assert "problem.start" not in picture
    refused = call("map", file, window, "-o", "zoom.svg", "steps=5")
    assert refused.code == 2
    assert "zoom.npz: holds another map" in refused.err


KILLED = """
import os, signal
from optrun.sweeps import maps
maps.lanes_of_packs, maps.SAVE_SECONDS, write = lambda pack: 10, -1, maps.write_map
def killed(*given):
    write(*given)
    os.kill(os.getpid(), signal.SIGKILL)
maps.write_map = killed
from optrun.cli.app import main
main()
"""


def test_what_was_killed_goes_on(file, call):
    pytest.importorskip("matplotlib")
    command = [sys.executable, "-c", KILLED, "map", file]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -9
    assert np.count_nonzero(held()["status"]) == 10
    assert not Path("drawn.png").exists()
    assert call("map", file).code == 0
    call("map", file, "-o", "other.png")
    for name, values in held().items():
        np.testing.assert_array_equal(values, held("other.npz")[name])


def test_the_example_of_a_map_has_the_names_of_the_start(file, call):
    written = 'problem={name: expression, f: "x * u[1]", start: {x: 0.0, u: [1.0, 2.0]}}'
    said = "give map: {x: {problem.start.x: {linspace: [-5, 5, 512]}}, y: {problem.start.u.0: {linspace"
    assert said in call("map", file, written, "map=null").err
    assert "map: must be a mapping such as {x: {problem.start.0: " in call("map", file, "map=3").err
    assert "{x: {problem.start.0: " in call("map", file, "problem={name: rosenbrock}", "map=null").err
    rates = "{x: {optimizer.lr: {logspace: [1e-4, 1, 512]}}, y: {seed: {range: [0, 512, 1]}}}"
    assert f"give map: {rates}" in call("map", file, "problem={name: mlp, data: iris}", "map=null").err


REFUSED = {
    "no axis": ("map.x.optimizer.lrr=[0.1, 0.2]", "drawn.yaml|override.*lrr.*Did you mean 'lr'"),
    "a decimal comma": ("map.x.problem.start.0=0,01", "a number has a decimal point and no other mark, 0.01"),
    "no start": ("map.x.problem.start.2=[0.1, 0.2]", "problem.start.2.*no place in a start of 2"),
    "no figure": ("map.color=minimun", "no figure 'minimun'.*Did you mean 'minimum'"),
    "no target": ("map.color=steps_to_target", "set stop.target"),
    "tolerance": ("map.tolerance=0.1", "map.tolerance: it has no effect without color: minimum"),
    "no function": (
        "problem={name: mlp, data: iris, start: 1}",
        "problem.start",
    ),
}


@pytest.mark.parametrize(("change", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_map_is_refused(change, said, file, call):
    pytest.importorskip("matplotlib")
    done = call("map", file, change)
    assert done.code == 2
    assert not Path("drawn.npz").exists()
    assert re.search(said, done.err), done.err


def test_minima_are_those_of_one_function(file):
    for problem, x, said in [
        ("{name: quadratic}", "problem.noise: [0.0, 0.1]", ""),
        ("{name: mlp, data: iris}", "optimizer.lr: [0.1, 0.2]", "is a color for maps of functions"),
        (
            "{name: expression, f: a * x**2, start: {x: 1.0}, parameters: {a: 1.0}}",
            "problem.parameters.a: [1.0, 2.0]",
            "problem.parameters.a makes other functions",
        ),
    ]:
        config = load_map(
            file,
            [
                f"problem={problem}",
                f"map={{x: {{{x}}}, y: {{optimizer.momentum: [0.1, 0.2]}}, color: minimum}}",
            ],
        )
        if said:
            with pytest.raises(Exception, match=said):
                MapPlan(config)
        else:
            MapPlan(config)


def test_a_seed_that_nothing_follows_is_no_axis_without_a_note(file, call):
    pytest.importorskip("matplotlib")
    done = call("map", file, "map.y={seed: [0, 1]}", "optimizer.wrap=[{name: SAM, rho: 0}]")
    assert done.err.splitlines() == [
        "note: optimizer.wrap.0.rho is 0: SAM takes the gradient where it is, twice",
        "note: himmelblau draws nothing, so that seeds have no effect",
        "12 completed",
    ]
