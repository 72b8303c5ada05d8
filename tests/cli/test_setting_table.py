"""Tables of settings: short labels, and columns that are cut where the terminal is narrow."""

import pytest
from rich.console import Console

from optrun.cli import setting_table
from optrun.cli.setting_table import Column, Labels, settings_table

MLP = {"name": "mlp", "data": "wine", "hidden": [16]}


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([{"name": "softmax_regression", "data": "iris"}, MLP], ["softmax_regression", "mlp"]),
        ([MLP, {**MLP, "hidden": [32]}], ["mlp hidden=[16]", "mlp hidden=[32]"]),
        (
            [MLP, {**MLP, "depth": 2}, "mlp"],
            ["mlp data=wine hidden=[16]", "mlp data=wine hidden=[16] depth=2", "mlp"],
        ),
        ([None, {"name": "StepLR", "step_size": 3}], ["none", "StepLR"]),
        (["Adadelta", {"name": "Rprop", "lr": 0.01}], ["Adadelta", "Rprop"]),
        ([{"lr": 0.1, "eps": 0}, {"lr": 0.2, "eps": 0}], ["lr=0.1", "lr=0.2"]),
        ([{"lr": 0.1}], ["{lr: 0.1}"]),
        ([0.1, 1e-7, True, [1, 2]], ["0.1", "1e-07", "true", "[1, 2]"]),
    ],
)
def test_values_have_the_shortest_label_that_tells_them_apart(values, labels):
    settings = [{"problem": value} for value in values]
    assert [Labels(settings).cells(setting) for setting in settings] == [[label] for label in labels]


@pytest.mark.parametrize(
    ("settings", "titles"),
    [
        ([{"optimizer.lr": 1, "scheduler.step_size": 2}], ["lr", "step_size"]),
        (
            [{"optimizer.weight_decay": 1, "optimizer.groups.0.weight_decay": 2}],
            ["optimizer.weight_decay", "0.weight_decay"],
        ),
        ([{"optimizer.name": 1, "problem.name": 2, "steps": 3}], ["optimizer", "problem", "steps"]),
        ([{"optimizer.name": "SGD"}, {"optimizer": "Adadelta"}], ["optimizer"]),
        ([{"optimizer.name": "SGD", "optimizer": "Adadelta"}], ["optimizer.name", "optimizer"]),
        ([{"optimizer.betas.0": 0.9}], ["betas.0"]),
    ],
)
def test_columns_have_the_shortest_ends_of_paths_that_tell_them_apart(settings, titles):
    assert Labels(settings).titles == titles


SETTINGS = [
    {"problem": name, "scheduler.name": schedule, "optimizer.lr": 0.1, "optimizer.momentum": 0.9}
    for name, schedule in (
        ("softmax_regression", "CosineAnnealingLR"),
        ("mlp", None),
        ("日本語の長い名前", None),
    )
]


@pytest.mark.parametrize("width", range(30, 110))
def test_parameters_are_cut_and_never_what_is_beside_them(width, monkeypatch):
    monkeypatch.setattr(setting_table, "console", lambda: Console(width=width))
    figures = Column("test_loss", ["0.00828843", "1.5", ""], right=True)
    runs = Column("run", ["174–176", "0–2", "3–5"], right=True)
    made = settings_table([Column("", ["1", "2", "3"])], Labels(SETTINGS), SETTINGS, [figures, runs])
    out = Console(width=width)
    with out.capture() as captured:
        out.print(made)
    lines = captured.get().splitlines()
    assert len(lines) == 4
    assert lines[0].split()[-2:] == ["test_loss", "run"]
    assert lines[1].split()[-2:] == ["0.00828843", "174–176"]
    assert ("softmax_regression" in lines[1]) is (width >= 73)
    assert ("momentum" in lines[0]) is (width >= 76)
    shown = len(lines[0].split()) - 2
    assert shown == 4 or lines[0].split()[-3] == "…"
