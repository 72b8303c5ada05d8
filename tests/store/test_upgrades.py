"""Files of an older format version: readers see what they mean, and writers bring them up to date."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from optrun.errors import StoreError
from optrun.store import Store, schema
from optrun.store.check import faults
from tests.store.test_store_hostile import everything, execute

FIRST = schema.OlderFormat(
    tables={
        **schema.TABLES,
        "runs": "run INTEGER PRIMARY KEY, config TEXT NOT NULL, name TEXT NOT NULL",
        "notes": "note INTEGER PRIMARY KEY, text TEXT NOT NULL",
    },
    upgrades={"runs": lambda row: (row[0], len(row[2]), row[1])},
)
SECOND = schema.OlderFormat(tables=schema.TABLES, upgrades={"states": lambda row: (*row[:4], "{}")})


def first(path: Path) -> None:
    """Make a store one of version 1, in which runs had a name instead of a seed, and there were notes."""
    with closing(sqlite3.connect(path / schema.RESULTS)) as db, db:
        runs = [(run, config, "x" * seed) for run, seed, config in schema.select(db, "runs")]
        types = schema.types_of(FIRST.tables)
        for table, rows in (("runs", runs), ("notes", [(0, "a note")])):
            db.execute(f"DROP TABLE IF EXISTS {table}")
            db.execute(schema.ddl(table, FIRST.tables[table]))
            marks = ", ".join("?" * (1 + len(types[table])))
            db.executemany(f"INSERT INTO {table} VALUES ({marks})", schema.with_checksums(rows, types[table]))


def version(path: Path) -> int:
    with closing(sqlite3.connect(path / schema.RESULTS)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


@pytest.fixture
def older(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A store of version 1 where 3 is the newest."""
    first(finished)
    monkeypatch.setattr(schema, "FORMAT_VERSION", 3)
    monkeypatch.setattr(schema, "OLDER", {1: FIRST, 2: SECOND})
    return finished


def test_readers_see_what_an_older_version_means_and_leave_it(finished: Path, older: Path) -> None:
    before = (older / schema.RESULTS).read_bytes()
    with Store.open(older) as store:
        assert [run.seed for run in store.runs()] == [0, 1]
        assert [dict(state.summary) for state in store.states()] == [{}, {}]
        assert store.curves(1)["step"].tolist() == list(range(40))
    assert (older / schema.RESULTS).read_bytes() == before


def test_an_older_file_is_upgraded_where_it_is_opened_for_writing(older: Path) -> None:
    expected = everything(older)
    with Store.open(older, write=True):
        pass
    assert version(older) == 3
    with Store.open(older) as store:
        assert [run.seed for run in store.runs()] == [0, 1]
        assert faults(older) == (2, [])
        assert repr(store.results_digest()) in expected


@pytest.mark.parametrize("write", [False, True])
def test_damage_is_noticed_on_the_way_and_changes_nothing(older: Path, write: bool) -> None:
    execute(older, "UPDATE runs SET name = 'other' WHERE run = 1")
    before = (older / schema.RESULTS).read_bytes()
    with pytest.raises(StoreError, match="a row of the table runs is damaged"):
        Store.open(older, write=write)
    assert (older / schema.RESULTS).read_bytes() == before
    assert version(older) == 1


def test_tables_are_those_of_their_own_version(older: Path) -> None:
    execute(older, "PRAGMA user_version = 2")
    with pytest.raises(StoreError, match="other tables"):
        Store.open(older)
    execute(older, "PRAGMA user_version = 4")
    with pytest.raises(StoreError, match="has format version 4, and this optrun reads up to 3"):
        Store.open(older)
