"""Whatever moment a process is killed at, what it had committed is there whole, and nothing else is."""

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from optrun.errors import StoreError
from optrun.store import Store, opening
from tests.store.samples import columns, new_store

ROWS = 7  # of a commit
KILLS = 6

WRITER = f"""
import sys
from pathlib import Path
import numpy as np
from optrun.store import Checkpoint, RunState, Status, Store

store = Store.open(Path(sys.argv[1]), write=True)
checkpoint = store.checkpoint(0)
first = 0 if checkpoint is None else checkpoint.meta["step"]
while len(sys.argv) < 3 or sys.stdin.readline():
    steps = np.arange(first, first + {ROWS})
    first += {ROWS}
    store.commit(
        curves={{0: {{"step": steps, "loss": np.sqrt(steps), "lr": steps}}}},
        evaluations={{0: {{"step": [first], "accuracy": [1 / first]}}}},
        states={{0: RunState(status=Status.RUNNING, steps=first)}},
        checkpoints={{0: Checkpoint({{"p": np.full(5000, first)}}, {{"step": first}})}},
    )
    print(first, flush=True)
"""


def start(*arguments: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WRITER, *map(str, arguments)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def check(path: Path, at_least: int) -> int:
    """Check that a store holds whole commits, the acknowledged ones among them, and return the steps."""
    with Store.open(path) as store:
        curves, evaluations = store.curves(0), store.evaluations(0)
        checkpoint = store.checkpoint(0)
        assert checkpoint is not None
        done: int = checkpoint.meta["step"]
        assert done % ROWS == 0
        assert done >= at_least
        assert store.run(0).steps == done
        assert np.array_equal(curves["step"], np.arange(done))
        assert np.array_equal(curves["loss"], np.sqrt(np.arange(done)))
        assert np.array_equal(evaluations["step"], np.arange(ROWS, done + 1, ROWS))
        assert (checkpoint.arrays["p"] == done).all()
        return done


@pytest.mark.full
def test_killed_at_any_moment(tmp_path: Path) -> None:
    store = new_store(tmp_path, directory=tmp_path / "run")
    store.close()
    chance = random.Random(0)
    done = 0
    for _ in range(KILLS):
        process = start(store.path)
        assert process.stdout is not None
        for _ in range(chance.randint(1, 30)):
            acknowledged = int(process.stdout.readline())
        for _ in range(chance.randint(0, 30_000)):  # a moment of its own between two commits
            pass
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL
        acknowledged = max([acknowledged, *map(int, output.splitlines()[:-1])])
        assert acknowledged > done
        done = check(store.path, acknowledged)
    with Store.open(store.path) as reader:
        assert [event.kind for event in reader.events()] == ["created"] + ["resumed"] * KILLS


@pytest.mark.full
def test_readers_beside_a_writer(tmp_path: Path) -> None:
    store = new_store(tmp_path, directory=tmp_path / "run")
    store.close()
    process = start(store.path, "asked")
    assert process.stdin is not None
    assert process.stdout is not None
    for _ in range(20):
        process.stdin.write("\n" * 5)
        process.stdin.flush()
        acknowledged = int(process.stdout.readline())
        with Store.open(store.path) as reader:
            steps = reader.curves(0)["step"]
            assert steps.size >= acknowledged
            assert np.array_equal(steps, np.arange(steps.size))
    process.kill()
    process.communicate()


@pytest.fixture
def torn(tmp_path: Path) -> Path:
    """A run directory as it is found after a kill in the middle of a write: half a commit and a journal."""
    with new_store(tmp_path, directory=tmp_path / "whole") as store:
        store.commit(curves={0: columns(0, 2000)})
        store._db.execute("PRAGMA cache_size = 2")  # so that the pages reach the disk before the commit
        store._db.execute('UPDATE curves SET "values" = zeroblob(length("values"))')
        shutil.copytree(store.path, tmp_path / "torn")
        store._db.rollback()
    assert (tmp_path / "torn" / "results.sqlite-journal").stat().st_size > 0
    return tmp_path / "torn"


@pytest.mark.parametrize("write", [False, True])
def test_half_a_commit_is_undone(torn: Path, write: bool) -> None:
    assert bytes(4096) in (torn / "results.sqlite").read_bytes()
    with Store.open(torn, write=write) as store:
        assert np.array_equal(store.curves(0)["loss"], columns(0, 2000)["loss"])
    assert not (torn / "results.sqlite-journal").exists()


def test_half_a_commit_where_nothing_can_be_undone(torn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = opening._connect
    monkeypatch.setattr(opening, "_connect", lambda path, mode: connect(path, "ro"))
    with pytest.raises(StoreError, match="copy the run directory"):
        Store.open(torn)


def test_a_journal_that_names_another_file_is_refused(torn: Path) -> None:
    with (torn / "results.sqlite-journal").open("ab") as journal:
        journal.write(bytes.fromhex("d9d505f920a163d7"))
    for write in (False, True):
        with pytest.raises(StoreError, match="names other files"):
            Store.open(torn, write=write)


def test_a_commit_waits_for_the_removal_of_its_journal(tmp_path: Path) -> None:
    extra = 3
    with new_store(tmp_path) as store:
        assert store._db.execute("PRAGMA synchronous").fetchone() == (extra,)
        assert store._db.execute("PRAGMA fullfsync").fetchone() == (True,)
