"""The ledger is of what is registered now, keeps its bounds, and is what a run of today finds."""

import re

import numpy as np
import pytest

from tests.oracles import draws, ledger, rules, schedule_draws
from tests.oracles.schedule_differences import DIFFERENCES

LISTED = ledger.read()
DTYPE_COLUMNS = {"float64": (3, 6), "float32": (4, 7)}
EVERY_KEY = pytest.mark.parametrize(
    "key", ledger.optimizer_keys(), ids=lambda key: " ".join(ledger.head(*key))
)
AGAIN = 1
"""Draws that are run anew."""


def listed(key):
    (row,) = (row for row in LISTED["Optimizers"] if row[:3] == ledger.head(*key))
    return row


def test_the_rows_are_those_of_the_registries():
    assert [row[:3] for row in LISTED["Optimizers"]] == [ledger.head(*key) for key in ledger.optimizer_keys()]
    assert [row[0] for row in LISTED["Schedules"]] == list(ledger.schedule_keys())
    assert [row[0] for row in LISTED["Where torch differs and why"]] == list(DIFFERENCES)


def test_every_figure_is_within_its_bound():
    for key in ledger.optimizer_keys():
        row = listed(key)
        assert int(row[5]) == draws.COUNT
        for dtype, columns in DTYPE_COLUMNS.items():
            for column in columns:
                assert row[column] == "–" or float(row[column]) <= rules.bound(key[0], dtype, key[2]), row
        assert "–" not in row or key[2] == "formula"
    for row in LISTED["Schedules"]:
        assert float(row[1]) <= schedule_draws.bound(row[0]), row


@pytest.mark.full
@EVERY_KEY
def test_the_first_draws_of_an_optimizer_are_as_near_as_listed(key):
    pytest.importorskip("torch")
    row = listed(key)
    for dtype, (_, column) in DTYPE_COLUMNS.items():
        if row[column] != "–":
            name, flags, oracle = key
            found = draws.compared(name, flags, dtype, oracle, AGAIN).difference
            # Another processor rounds elsewhere.
            assert found <= 10 * float(row[column]) + 8 * np.finfo(dtype).eps


@pytest.mark.full
@pytest.mark.parametrize("title", ledger.schedule_keys())
def test_the_first_draws_of_a_schedule_are_as_near_as_listed(title):
    pytest.importorskip("torch")
    found = max(map(schedule_draws.difference, ledger.schedule_keys()[title][:AGAIN]))
    assert found <= 10 * float(dict(row for row in LISTED["Schedules"])[title]) + 1e-15


@pytest.mark.full
@pytest.mark.parametrize("title", DIFFERENCES)
def test_torch_differs_as_listed(title):
    pytest.importorskip("torch")
    (row,) = (row for row in LISTED["Where torch differs and why"] if row[0] == title)
    theirs, ours = DIFFERENCES[title]()
    assert theirs != ours
    assert (worded(theirs), worded(ours)) == (worded(row[1]), worded(row[2]))


def worded(shown):
    """Return a text without the figures that another processor rounds otherwise."""
    return re.sub(r"≈\S+", "≈", shown)


@pytest.mark.parametrize("page", ["README.md", "optrun/guide/reliability.md"])
def test_pages_name_the_torch_that_optrun_was_compared_with_and_the_one_whose_classes_it_has(page):
    head = ledger.LEDGER.read_text(encoding="utf-8").partition("## ")[0]
    compared = re.search(r"torch (\d+\.\d+)\.\d+,", head)[1]
    has = re.search(r"optrun has what torch (\d+\.\d+) has", head)[1]
    text = (ledger.LEDGER.parents[2] / page).read_text(encoding="utf-8")
    assert set(re.findall(r"torch\s+(\d\.\d+)", text)) == {compared, has}
