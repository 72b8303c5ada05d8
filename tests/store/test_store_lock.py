"""One writer at a time, whoever looks; and a directory that is removed is nobody's."""

import errno
import fcntl
import os
import signal
from pathlib import Path

import pytest

from optrun.errors import StoreError
from optrun.store import Store, directory
from optrun.store.check import faults
from tests.store.samples import new_store
from tests.store.test_store_directory import start

HOLD = """
import sys
from pathlib import Path
from optrun.store import Store
store = Store.open(Path(sys.argv[1]), write=True)
print("ready", flush=True)
sys.stdin.readline()
"""


def test_one_writer(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        with pytest.raises(StoreError, match="is being written by another process"):
            Store.open(store.path, write=True)
        Store.open(store.path).close()
    process = start(HOLD, store.path)
    with pytest.raises(StoreError, match="is being written by another process"):
        Store.open(store.path, write=True)
    Store.open(store.path).close()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    Store.open(store.path, write=True).close()
    Store.open(store.path, write=True).close()


def test_a_store_that_fails_to_open_is_not_locked(tmp_path: Path) -> None:
    new_store(tmp_path, directory=tmp_path / "run").close()
    results = (tmp_path / "run" / "results.sqlite").read_bytes()
    (tmp_path / "run" / "results.sqlite").write_bytes(b"garbage" * 1000)
    with pytest.raises(StoreError):
        Store.open(tmp_path / "run", write=True)
    (tmp_path / "run" / "results.sqlite").write_bytes(results)
    Store.open(tmp_path / "run", write=True).close()


def test_a_looker_does_not_keep_the_writer_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_store(tmp_path, directory=tmp_path / "run").close()
    looker = os.open(tmp_path / "run", os.O_RDONLY)
    fcntl.flock(looker, fcntl.LOCK_SH)
    monkeypatch.setattr("time.sleep", lambda _: fcntl.flock(looker, fcntl.LOCK_UN))
    Store.open(tmp_path / "run", write=True).close()
    os.close(looker)


def test_a_directory_that_is_gone_has_no_writer(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone: No such file or directory$"):
        directory.is_being_written(tmp_path / "gone")


@pytest.mark.parametrize("unknown", [False, True])
def test_a_file_system_may_have_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unknown: bool
) -> None:
    def flock(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert directory.is_being_written(tmp_path, unknown=unknown) is unknown


def test_what_is_being_written_is_not_checked(tmp_path: Path) -> None:
    """SQLite would keep the writer waiting until it gives up."""
    with new_store(tmp_path) as store, pytest.raises(StoreError, match="is being written"):
        faults(store.path)
    assert faults(store.path) == (1, [])


def test_what_a_check_raises_keeps_the_directory(tmp_path: Path) -> None:
    new_store(tmp_path, directory=tmp_path / "run").close()

    def refuse() -> None:
        assert directory.is_being_written(tmp_path / "run")
        raise StoreError("no")

    with pytest.raises(StoreError, match="no"):
        directory.remove_directory(tmp_path / "run", refuse)
    Store.open(tmp_path / "run", write=True).close()
