"""Tables of settings: short labels, and columns that are cut where the terminal is narrow."""

import pytest
from rich.cells import cell_len
from rich.console import Console

from optrun.cli.text import setting_table
from optrun.cli.text.setting_table import Labels, settings_table
from optrun.cli.text.tables import Column
from optrun.cli.views.sweep_overview import over_lines

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
        ([None, {"name": "StepLR", "step_size": 3}], ["null", "StepLR"]),
        (["Adadelta", {"name": "Rprop", "lr": 0.01}], ["Adadelta", "Rprop"]),
        ([{"lr": 0.1, "eps": 0}, {"lr": 0.2, "eps": 0}], ["lr=0.1", "lr=0.2"]),
        ([{"lr": 0.1}], ["{lr: 0.1}"]),
        (
            [{"name": "SGD", "wrap": wrap} for wrap in ([], [{"name": "Lookahead", "k": 5}, "SAM"])],
            ["SGD wrap=[]", "SGD wrap=[{k: 5, name: Lookahead}, SAM]"],
        ),
        ([0.999999, 0.9999999, 0.99999999], ["0.999999", "0.9999999", "0.99999999"]),
        ([0.9999999], ["0.9999999"]),
        ([0.123456712, 0.123456789], ["0.1234567", "0.1234568"]),
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


def drawn(width, monkeypatch, settings, after):
    """Return the lines of a table on a terminal."""
    monkeypatch.setattr(setting_table, "console", lambda: Console(width=width))
    places = Column("", [str(place) for place in range(1, len(settings) + 1)], right=True)
    out = Console(width=width)
    with out.capture() as captured:
        out.print(settings_table([places], Labels(settings), settings, after))
    return [line.rstrip() for line in captured.get().splitlines()]


def characters_of(lines):
    """Return the characters of each row, those of all its lines where it was folded."""
    rows = []
    for line in lines:
        if line[:1].isdecimal():
            rows.append("")
        rows[-1] += line.replace(" ", "")
    return [sorted(row) for row in rows]


RUNS = Column("run", ["174–176", "0–2", "3–5"], right=True)


@pytest.mark.parametrize("width", [*range(44, 60), *range(60, 130, 7)])
def test_no_value_is_cut_however_narrow_the_terminal_is(width, monkeypatch):
    figures = Column("test_loss", ["0.00828843", "1.5", ""], right=True)
    title, *lines = drawn(width, monkeypatch, SETTINGS, [figures, RUNS])
    schedules = ("CosineAnnealingLR", "null", "null")
    names = ("softmax_regression", "mlp", "日本語の長い名前")
    rest = ("10.00828843174–176", "21.50–2", "33–5")
    form = "problem={}scheduler={}lr=0.1momentum=0.9{}" if "setting" in title else "{}{}0.10.9{}"
    expected = [form.format(*row) for row in zip(names, schedules, rest, strict=True)]
    assert characters_of(lines) == [sorted(row) for row in expected]
    assert ("setting" in title) is (width < 73)
    assert ("momentum" in title) is (width >= 76)
    assert all(cell_len(line) <= width for line in (title, *lines))


VARIED = [
    {"optimizer": name, "optimizer.lr": lr, "optimizer.beta2": beta, **others}
    for name, lr, beta, others in (
        ("Adam", 3.16227766e-05, 0.9, {}),
        ({"name": "Adam", "weight_decay": 0.0123456, "amsgrad": True}, 1e-05, 0.99999, {}),
        ("Adam", 0.316227766, 0.999, {}),
    )
]
MORE = [{"optimizer": "SGD", "optimizer.lr": 100.0, "optimizer.momentum": 0.5}]


@pytest.mark.parametrize(
    ("width", "titles", "second"),
    [
        (
            130,
            ["optimizer", "lr", "beta2", "momentum", "test_accuracy", "quartiles", "left", "run"],
            "0.98765",
        ),
        (110, ["optimizer", "lr", "beta2", "test_accuracy", "quartiles", "run"], "0.98765"),
        (88, ["optimizer", "lr", "beta2", "test_accuracy", "run"], "0.98765"),
        (81, ["optimizer", "lr", "beta2", "test_ac…", "run"], "0.98765"),
        (80, ["optimizer", "lr", "beta2", "test_acc…", "run"], "0.9877"),
        (60, ["optimizer", "lr", "beta2", "test_…", "run"], "0.9877"),
        (54, ["setting", "test_…", "run"], "0.9877"),
    ],
)
def test_what_says_least_goes_first(width, titles, second, monkeypatch):
    monkeypatch.setattr(setting_table, "console", lambda: Console(width=width))
    after = [
        Column("test_accuracy", ["0.987654", "0.98765", ""], right=True, short=["0.9877", "0.9877", ""]),
        Column("quartiles", ["0.75 … 0.7827", "0.75 … 0.8", ""], spare=True),
        Column("left", ["", "", ""]),
        RUNS,
    ]
    out = Console(width=width)
    with out.capture() as captured:
        out.print(settings_table([], Labels([*VARIED, *MORE]), VARIED, after))
    lines = captured.get().splitlines()
    assert lines[0].split() == titles
    words = " ".join(lines).replace("beta2=", "").split()
    assert {second, "0.99999", "174–176", "0–2", "3–5"} <= {*words}
    assert ("3.16e-05" in " ".join(lines)) is (width <= 60)


@pytest.mark.parametrize(
    ("width", "rates", "shown"),
    [
        (18, (0.0123456, 0.0234567), ["0.0123", "0.0235"]),
        (12, (0.0123456, 0.0123467), ["lr=0.012346", "lr=0.012347"]),
    ],
)
def test_numbers_are_rounded_as_far_as_they_are_told_apart(width, rates, shown, monkeypatch):
    settings = [{"problem": "softmax", "optimizer.lr": lr} for lr in rates]
    words = " ".join(drawn(width, monkeypatch, settings, [])).split()
    assert [word for word in words if "0.0" in word] == shown


@pytest.mark.parametrize(("count", "titles"), [(8, [f"p{i}" for i in range(8)]), (9, ["setting"])])
def test_many_parameters_that_few_settings_have_are_one_column(count, titles):
    settings = [{"optimizer.name": f"O{i}", f"optimizer.p{i}": 0.5, "steps": i} for i in range(count)]
    columns = Labels(settings).columns(settings)
    assert sorted(each.title for each in columns) == sorted(["optimizer", "steps", *titles])
    if count == 9:
        assert columns[-1].cells == [f"p{i}=0.5" for i in range(count)]


@pytest.mark.parametrize(("count", "last"), [(7, "p6: 1"), (8, "2 more: p6, p7")])
def test_very_many_parameters_share_a_line(count, last):
    lines = over_lines({f"p{i}": [1] for i in range(count)})
    assert [*lines[:6], lines[-1]] == [*(f"p{i}: 1" for i in range(6)), last]
    assert len(lines) == 7
