"""Conditions and sorting choose the runs that plain Python chooses, and mistakes are named with their place."""

import pytest

from optrun.analysis.chosen_runs import choose
from optrun.analysis.conditions import fulfilled
from optrun.analysis.run_columns import RunColumns
from optrun.errors import ConfigError
from optrun.store import RunRecord, Status

ROWS = [
    {"lr": 0.1, "name": "SGD", "status": Status.DIVERGED, "loss": None, "nesterov": True, "steps": 3},
    {"lr": 0.01, "name": "Adam", "status": Status.COMPLETED, "loss": 0.5, "nesterov": False, "steps": 10},
    {"lr": 0.001, "name": "Adam", "status": Status.COMPLETED, "loss": 2.0, "nesterov": False, "steps": 10},
    {"lr": 1e-4, "name": "SGD", "status": Status.FAILED, "loss": "lacking", "nesterov": True, "steps": 0},
    {"lr": 0.01, "name": "SGD", "status": Status.COMPLETED, "loss": 1.0, "nesterov": False, "steps": 10},
]


def record(run, row):
    optimizer = {"name": row["name"], "lr": row["lr"], "nesterov": row["nesterov"]}
    return RunRecord(
        run=run,
        seed=7,
        config={
            "optimizer": optimizer | {"groups": [{"lr": row["lr"] / 2}]},
            "steps": 10,
            "größe": 3,
            "mixed": [1, "a", None, 2, "b"][run],
        },
        status=row["status"],
        steps=row["steps"],
        summary={} if row["loss"] == "lacking" else {"final_loss": row["loss"]},
    )


@pytest.fixture
def columns():
    settings = [
        {"optimizer.lr": row["lr"], "optimizer": {"name": row["name"], "lr": row["lr"]}} for row in ROWS
    ]
    records = [record(run, row) for run, row in enumerate(ROWS)]
    return RunColumns(records, [str(row["status"]) for row in ROWS], settings)


@pytest.mark.parametrize(
    ("condition", "runs"),
    [
        ("optimizer.lr < 0.01", [2, 3]),
        ("lr <= 1e-2 and status == completed", [1, 2, 4]),
        ("optimizer.lr < 0.01 and status == diverged or run == 0", [0]),
        ("status == diverged or status == 'failed'", [0, 3]),
        ("status in (diverged, failed)", [0, 3]),
        ("status not in (diverged, failed)", [1, 2, 4]),
        ("not (optimizer == Adam)", [0, 3, 4]),
        ("optimizer.name != Adam", [0, 3, 4]),
        ("status == interrupted", []),
        ("final_loss < 1.5", [1, 4]),
        ("final_loss >= 1 or final_loss == null", [0, 2, 3, 4]),
        ("not final_loss < 1.5", [0, 2, 3]),
        ("0.001 <= lr < 0.1", [1, 2, 4]),
        ("optimizer.nesterov", [0, 3]),
        ("optimizer.nesterov == false and steps == 10", [1, 2, 4]),
        ("log(lr) / log(10) < -3.5", [3]),
        ("max(final_loss, 1, 0.2) == 1", [1, 4]),
        ("-run ** 2 + 1 < -4", [3, 4]),
        ("steps // 4 == 2 and steps % 4 == 2", [1, 2, 4]),
        ("1 / (run - 1) > 1e300", [1]),
        ("optimizer.groups.0.lr == 0.05", [0]),
        ("größe == 3 and seed == 7 and run > 3", [4]),
        ("  run\t==0", [0]),
        ("optimizer > 'B'", [0, 3, 4]),
        ("mixed != 1", [1, 2, 3, 4]),
        ("status != 'a # b' and status != \"#\"", [0, 1, 2, 3, 4]),
        ("mixed == a or mixed >= 2", [1, 3]),
        ("true", [0, 1, 2, 3, 4]),
    ],
)
def test_a_condition_chooses_runs(columns, condition, runs):
    assert fulfilled(condition, columns) == runs


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("optimizer.lrr < 1", "column 1: unknown name 'optimizer.lrr'. Did you mean 'optimizer.lr'?"),
        ("run < 1 and staus == failed", "column 13: unknown name 'staus'. Did you mean 'status'?"),
        ("status == compleed", "column 11: unknown name 'compleed'. Did you mean 'completed'?"),
        ("optimizer == Adm", "column 14: unknown name 'Adm'. Did you mean 'Adam'?"),
        ("  größe < zzz", "column 11: unknown name 'zzz'. There are: run, "),
        ("größe == zzz", "\n    größe == zzz\n             ^~~"),
        ("größe == 3 and xyzzy > 3", "column 16: unknown name 'xyzzy'"),
        ("status < 3", "column 10: text and numbers are compared"),
        ("final_loss == status", "column 15: text and numbers are compared"),
        ("status = failed", "column 8: invalid syntax; is equal to is written =="),
        ("run <", "column 6: "),
        ("status == 'failed' # or run < 1", "column 20: an expression has no comments"),
        ("run", "column 1: a condition compares values"),
        ("run + 1", "column 1: a condition compares values"),
        ("run < 1 & lr < 2", "column 9: & is written and"),
        ("(run < 1) & (lr < 2)", "& is written and"),
        ("status is failed", "column 11: 'is' is written =="),
        ("status in failed", "column 11: after 'in' there is a list"),
        ("run + status > 1", "column 7: arithmetic needs a number, not 'diverged'"),
        ("sqr(run) > 1", "column 1: unknown function 'sqr'. Did you mean 'sqrt'?"),
        ("sqrt(run, 1) > 1", "column 1: sqrt takes one number (got 2)"),
        ("min(run) > 1", "column 1: min takes at least two numbers (got 1)"),
        ("__import__('os') == 1", "column 1: unknown function '__import__'"),
        ("run.__class__ == 1", "column 1: unknown name 'run.__class__'"),
        ("(lambda: 1)() == 1", "column 8: invalid syntax"),
        ("[run for run in (1, 2)] == 1", "column "),
        ("run == 1e999", "column 8: a number that is too large"),
        ("", "a condition is empty: write one such as"),
        ("run<1 or " * 60 + "run<1", "at most 500 characters"),
        ("(" * 99 + "-" * 110 + "1 < run" + ")" * 99, "nested deeper than 100 levels"),
    ],
)
def test_a_mistake_is_named_with_its_place(columns, condition, message):
    with pytest.raises(ConfigError) as caught:
        fulfilled(condition, columns)
    assert str(caught.value).startswith("--where: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("final_loss", [1, 4, 2, 0, 3]),
        ("-final_loss", [2, 4, 1, 0, 3]),
        ("lr", [3, 2, 1, 4, 0]),
        ("-optimizer.lr", [0, 1, 4, 2, 3]),
        ("-run", [4, 3, 2, 1, 0]),
        ("status", [1, 2, 4, 0, 3]),
        ("optimizer.name", [1, 2, 0, 3, 4]),
        ("seed", [0, 1, 2, 3, 4]),
    ],
)
def test_runs_are_sorted_stably_with_missing_values_last(columns, sort, order):
    assert choose(columns, None, sort) == order
    assert choose(columns, "run != 1", sort) == [run for run in order if run != 1]


def test_an_unknown_column_to_sort_by_is_named(columns):
    with pytest.raises(ConfigError, match="--sort: unknown name 'final_los'. Did you mean 'final_loss'"):
        choose(columns, None, "-final_los")
