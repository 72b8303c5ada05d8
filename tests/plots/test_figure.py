"""Pictures in files."""

import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from optrun.analysis.setting_curves import Curves
from optrun.errors import ConfigError, MissingExtraError
from optrun.plots.figure import FORMATS, curves_figure, format_of, save
from optrun.plots.look import COLOURS, Look, series_style, size_of
from tests.missing import without

STEPS = np.arange(50)
RUNS = [
    Curves("lr=0.1", {"step": STEPS, "loss": 0.8**STEPS, "lr": np.full(50, 0.1)}, {}),
    Curves(
        "_$x^{\x1b$",
        {"step": STEPS, "loss": np.where(STEPS == 7, np.nan, 1.0), "lr": np.full(50, 0.2)},
        {"step": STEPS[::10], "test_loss": np.ones(5)},
    ),
]


def saved(figure, format):
    stream = BytesIO()
    save(figure, stream, format)
    return stream.getvalue()


def picture(format, runs=RUNS, **options):
    return saved(curves_figure(runs, **options), format)


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
    assert picture("png", runs, caption="what they are")  # Matplotlib warns where there is none


def test_a_curve_of_one_point_is_a_mark():
    pytest.importorskip("matplotlib")
    for rows, marks in ((1, 2), (2, 0)):  # of the loss and of the rate
        curves = {name: values[:rows] for name, values in RUNS[0].curves.items()}
        svg = picture("svg", [replace(RUNS[0], curves=curves, evaluations={})]).decode()
        # Those of the axes are not clipped.
        assert len(re.findall(r"<g clip-path[^>]*>\s*<use", svg)) == marks


def test_quartiles_are_shaded():
    pytest.importorskip("matplotlib")
    loss = RUNS[0].curves["loss"]
    assert b"FillBetween" not in picture("svg", RUNS[:1])
    assert b"FillBetween" in picture("svg", [replace(RUNS[0], bands={"loss": (loss / 2, loss * 2)})])


def test_without_matplotlib_the_error_is_the_command_that_installs_it(monkeypatch):
    without(monkeypatch, "matplotlib")
    with pytest.raises(MissingExtraError, match="pip install matplotlib"):
        picture("png")


def test_the_format_is_that_of_the_name():
    assert [format_of(Path(f"a.{name.upper()}")) for name in FORMATS] == list(FORMATS)
    with pytest.raises(ConfigError, match="Did you mean 'png'"):
        format_of(Path("a.pgn"))


@pytest.mark.parametrize("metric", ["loss", "lr"])
@pytest.mark.parametrize(("log", "scale"), [(True, "log"), (False, "linear"), (None, "linear")])
def test_both_panels_obey_the_axis_that_is_asked_for(metric, log, scale):
    pytest.importorskip("matplotlib")
    t = STEPS / 49
    run = Curves("x", {"step": STEPS, "loss": 1 + t, "lr": 1 + np.cos(np.pi * t) + 1e-9}, {})
    figure = curves_figure([run], metric=metric, log=log)
    assert [axes.get_yscale() for axes in figure.axes] == [scale, scale]


def test_the_look_is_what_was_chosen():
    pytest.importorskip("matplotlib")
    figure = curves_figure(RUNS, caption="what they are", look=Look("My $title", (6, 4), 50))
    svg = saved(figure, "svg").decode()
    assert "My $title" in svg
    assert "what they are" not in svg
    png = saved(figure, "png")
    assert [int.from_bytes(png[at : at + 4], "big") for at in (16, 20)] == [300, 200]
    fonts = {
        style: curves_figure(RUNS[:1], look=Look(style=style)).axes[0].yaxis.label.get_fontsize()
        for style in (None, "paper", "talk")
    }
    assert fonts == {None: 11, "paper": 8, "talk": 16}


def test_texts_stay_texts_and_fonts_are_those_that_publishers_take():
    matplotlib = pytest.importorskip("matplotlib")
    with matplotlib.rc_context({"pdf.fonttype": 3, "svg.fonttype": "path", "pdf.compression": 0}):
        figure = curves_figure(RUNS)
        pdf, svg = saved(figure, "pdf"), saved(figure, "svg")
        assert b"CIDFontType2" in pdf
        assert b"/Type3" not in pdf
        assert b">learning rate</text>" in svg
        assert matplotlib.rcParams["pdf.fonttype"] == 3


def test_thirty_series_are_told_apart_and_leave_room_for_the_curves():
    pytest.importorskip("matplotlib")
    styles = [series_style(index) for index in range(30)]
    assert (
        len({tuple(map(str, (each["color"], each.get("linestyle"), each.get("marker")))) for each in styles})
        == 30
    )
    assert "marker" not in styles[len(COLOURS) - 1]
    runs = [replace(RUNS[0], label=f"optimizer {index}") for index in range(30)]
    for look in (Look(), Look(size=(6, 4)), Look(size=(3, 2)), Look(style="paper"), Look(style="talk")):
        figure = curves_figure(runs, look=look)
        saved(figure, "png")
        upper = figure.axes[0].get_position()
        assert upper.height > 0.15
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        given = [text for text in labels if text.startswith("optimizer")]
        assert len(given) == 30 or labels[-1] == f"… and {30 - len(given)} more"
        assert len(given) == 30 or look.size is not None


def test_a_size_without_room_is_refused():
    pytest.importorskip("matplotlib")
    runs = [replace(run, label=f"{run.label} of a long name") for run in RUNS]
    with pytest.raises(ConfigError, match="2 x 1.5 inches are too small for this picture with letters of 16"):
        saved(curves_figure(runs, look=Look(size=(2, 1.5), style="talk")), "png")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"style": "papr"}, "style 'papr': it is one of paper, talk. Did you mean 'paper'?"),
        ({"dpi": 5}, "dpi 5: it is a whole number from 20 to 1200"),
        ({"size": (0.5, 3)}, "width and height are 1 to 50 inches"),
        ({"size": (float("nan"), 3)}, "width and height are 1 to 50 inches"),
        ({"size": 3}, "width and height are 1 to 50 inches"),
    ],
)
def test_a_look_that_cannot_be_is_refused(options, said):
    with pytest.raises(ConfigError) as error:
        Look(**options)
    assert said in str(error.value)


@pytest.mark.parametrize("text", ["6", "x", "6x", "6x4x2", "axb"])
def test_a_size_is_two_numbers(text):
    assert size_of("6x4.5") == (6, 4.5)
    with pytest.raises(ConfigError, match="WIDTHxHEIGHT in inches, such as 6x4"):
        size_of(text)


def test_evaluations_of_many_runs_are_left_out_and_the_title_says_so():
    pytest.importorskip("matplotlib")
    run = Curves(
        "x", {"step": STEPS, "loss": 1.0 + STEPS, "lr": 1.0 + STEPS}, {"step": STEPS, "val_loss": 2.0 + STEPS}
    )
    few, many = (curves_figure([run] * count) for count in (3, 4))
    assert len(few.axes[0].lines) > len(many.axes[0].lines)
    assert "not drawn: val_loss" in many.legends[0].get_title().get_text()
