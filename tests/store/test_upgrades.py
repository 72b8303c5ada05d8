"""Files of an older format version: readers see what they mean, and writers bring them up to date."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

import pytest

from optrun.errors import StoreError
from optrun.store import Store, schema
from optrun.store.check import faults
from optrun.store.locate import RESULTS
from optrun.store.opening import open_results
from tests.store.test_store_hostile import everything, execute

FIRST = Path(__file__).parent / "golden" / "format-1" / "run"
WRITING = ["pwrite64", "fdatasync", "unlink"]
"""The calls by which SQLite writes."""

UPGRADE = [*schema.FIRST.upgrade, *schema.SECOND.upgrade, f"PRAGMA user_version = {schema.FORMAT_VERSION}"]
"""What makes a file of the first version one of this version."""

NEXT = schema.OlderFormat(
    schema.TABLES,
    [
        "UPDATE runs SET seed = seed + 1, crc = 0",
        "CREATE TABLE notes (crc INTEGER NOT NULL, note INTEGER PRIMARY KEY)",
    ],
)
"""What becomes of files of this version in one that does not exist."""


@pytest.fixture
def older(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIRST, tmp_path / "run"))


def version(path: Path) -> int:
    with closing(sqlite3.connect(path / RESULTS)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_readers_see_what_an_older_version_means_and_leave_it(older: Path) -> None:
    before = (older / RESULTS).read_bytes()
    expected = everything(older)
    assert (older / RESULTS).read_bytes() == before
    execute(older, *UPGRADE)
    assert everything(older) == expected


def test_an_older_file_is_upgraded_where_it_is_opened_for_writing(older: Path) -> None:
    with Store.open(older) as store:
        expected = store.results_digest()
    with Store.open(older, write=True) as store:
        assert store.results_digest() == expected
    assert version(older) == schema.FORMAT_VERSION
    assert faults(older) == (1, [])


def test_the_copy_that_readers_upgrade_is_not_trusted_either(older: Path) -> None:
    with closing(open_results(older, write=False)) as db:
        assert db.execute("PRAGMA trusted_schema").fetchone() == (0,)
        assert db.execute("PRAGMA cell_size_check").fetchone() == (1,)


@pytest.mark.parametrize("late", [False, True])
def test_no_writer_upgrades_a_file_while_a_reader_opens_it(
    older: Path, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = everything(older)
    found_in = schema.found_in

    def beside_a_writer(connection: sqlite3.Connection) -> list[schema.Row]:
        found = found_in(connection)
        with (
            suppress(sqlite3.OperationalError),
            closing(sqlite3.connect(older / RESULTS, timeout=0, isolation_level=None)) as db,
        ):
            for statement in ("BEGIN", *UPGRADE, "COMMIT"):
                db.execute(statement)
        return found if late else found_in(connection)

    monkeypatch.setattr(schema, "found_in", beside_a_writer)
    assert everything(older) == expected


@pytest.mark.parametrize("write", [False, True])
def test_an_upgrade_that_fails_changes_nothing(
    older: Path, write: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the last of several: the others are undone, too."""
    version = schema.FORMAT_VERSION
    monkeypatch.setattr(schema, "FORMAT_VERSION", version + 1)
    monkeypatch.setattr(schema, "OLDER", schema.OLDER | {version: NEXT})
    before = (older / RESULTS).read_bytes()
    with pytest.raises(StoreError, match="other tables"):
        Store.open(older, write=write)
    assert (older / RESULTS).read_bytes() == before


@pytest.mark.parametrize("write", [False, True])
def test_damage_of_an_older_file_is_noticed(older: Path, write: bool) -> None:
    execute(older, "UPDATE curves SET last = last + 1 WHERE first = 16")
    with (
        pytest.raises(StoreError, match="a row of the table curves is damaged"),
        Store.open(older, write=write) as store,
    ):
        store.curves()


def test_tables_are_those_of_their_own_version(older: Path) -> None:
    execute(older, "PRAGMA user_version = 2")
    with pytest.raises(StoreError, match="other tables"):
        Store.open(older)


@pytest.mark.full
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace kills at a call")
@pytest.mark.parametrize("call", WRITING)
def test_a_kill_in_an_upgrade_leaves_an_older_file_or_an_upgraded_one(tmp_path: Path, call: str) -> None:
    expected = everything(FIRST)
    opening = "import sys; from pathlib import Path; from optrun.store.opening import open_results"
    command = [sys.executable, "-c", f"{opening}; open_results(Path(sys.argv[1]), write=True).close()"]
    for number in count(1):
        path = Path(shutil.copytree(FIRST, tmp_path / str(number)))
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"]
        code = subprocess.run(["strace", "-f", "-o", "/dev/null", *inject, *command, path]).returncode
        assert code in (0, -signal.SIGKILL, 128 + signal.SIGKILL)
        assert everything(path) == expected, number
        now = schema.FORMAT_VERSION
        assert version(path) in ((now,) if code == 0 else (1, now))
        if code == 0:
            break
    assert number > 1
