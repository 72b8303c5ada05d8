"""Pictures in files."""

import builtins
import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from optrun.errors import ConfigError, MissingExtraError
from optrun.plots.figure import FORMATS, Curves, format_of, save_figure

STEPS = np.arange(50)
RUNS = [
    Curves("lr=0.1", {"step": STEPS, "loss": 0.8**STEPS, "lr": np.full(50, 0.1)}, {}),
    Curves(
        "_$x^{\x1b$",
        {"step": STEPS, "loss": np.where(STEPS == 7, np.nan, 1.0), "lr": np.full(50, 0.2)},
        {"step": STEPS[::10], "test_loss": np.ones(5)},
    ),
]


def picture(format, **options):
    stream = BytesIO()
    save_figure(RUNS, stream, format, **options)
    return stream.getvalue()


@pytest.mark.parametrize(("format", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_same_runs_make_the_same_bytes(format, magic):
    pytest.importorskip("matplotlib")
    assert picture(format).startswith(magic)
    assert picture(format) == picture(format)


def test_a_picture_names_its_runs_and_its_axes():
    pytest.importorskip("matplotlib")
    svg = picture("svg").decode()
    for text in ("lr=0.1", "test_loss", "learning rate", "step", "loss"):
        assert text in svg
    assert picture("svg", log=False).decode() != svg


def test_labels_of_any_length_leave_room_for_the_curves():
    pytest.importorskip("matplotlib")
    runs = [replace(run, label=f"{index} {'long ' * 60}") for index, run in enumerate(RUNS * 4)]
    stream = BytesIO()
    save_figure(runs, stream, "png", title="what they are")  # Matplotlib warns where there is none
    assert stream.getvalue()


def test_a_curve_of_one_point_is_a_mark():
    pytest.importorskip("matplotlib")
    for rows, marks in ((1, 1), (2, 0)):
        stream = BytesIO()
        curves = {name: values[:rows] for name, values in RUNS[0].curves.items()}
        save_figure([replace(RUNS[0], curves=curves, evaluations={})], stream, "svg")
        # Those of the axes are not clipped.
        assert len(re.findall(r"<g clip-path[^>]*>\s*<use", stream.getvalue().decode())) == marks


def test_quartiles_are_shaded():
    pytest.importorskip("matplotlib")
    plain, shaded = BytesIO(), BytesIO()
    loss = RUNS[0].curves["loss"]
    save_figure(RUNS[:1], plain, "svg")
    save_figure([replace(RUNS[0], bands={"loss": (loss / 2, loss * 2)})], shaded, "svg")
    assert b"FillBetween" not in plain.getvalue()
    assert b"FillBetween" in shaded.getvalue()


def test_without_matplotlib_the_error_is_the_command_that_installs_it(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtraError, match="pip install matplotlib"):
        picture("png")


def test_the_format_is_that_of_the_name():
    assert [format_of(Path(f"a.{name.upper()}")) for name in FORMATS] == list(FORMATS)
    with pytest.raises(ConfigError, match="Did you mean 'png'"):
        format_of(Path("a.pgn"))


@pytest.mark.parametrize("metric", ["loss", "lr"])
@pytest.mark.parametrize(("log", "scale"), [(True, "log"), (False, "linear"), (None, "linear")])
def test_both_panels_obey_the_axis_that_is_asked_for(monkeypatch, metric, log, scale):
    pytest.importorskip("matplotlib")
    scales = []
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig",
        lambda figure, *_, **__: scales.extend(axes.get_yscale() for axes in figure.axes),
    )
    t = STEPS / 49
    run = Curves("x", {"step": STEPS, "loss": 1 + t, "lr": 1 + np.cos(np.pi * t) + 1e-9}, {})
    save_figure([run], BytesIO(), "png", metric=metric, log=log)
    assert scales == [scale, scale]
