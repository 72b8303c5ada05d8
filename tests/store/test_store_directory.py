"""A run directory is there whole or not at all, belongs to one writer, and fails with one clear line."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from optrun.errors import StoreError
from optrun.store import RunState, Status, Store, directory, write_csv
from tests.store.samples import columns, new_store

NOBODY = 65534


@contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Give up root's right to write anywhere."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A directory that every user can reach, unlike pytest's own."""
    with TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield Path(path)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Digits MLP, lr=1e-3", "digits-mlp-lr-1e-3"),
        ("Größe/../é", "groe-e"),
        ("🙂", "run"),
        ("", "run"),
        ("-=.", "run"),
        ("x" * 99, "x" * 40),
    ],
)
def test_ids(tmp_path: Path, name: str, slug: str) -> None:
    with Store.create(tmp_path, name, config_yaml="", runs=[({}, 0)]) as store:
        assert store.path.parent == tmp_path
        assert re.fullmatch(rf"\d{{8}}-\d{{6}}-{slug}-[0-9a-f]{{4}}", store.path.name)


def test_content(tmp_path: Path) -> None:
    config = "name: größe\r\n"
    with Store.create(tmp_path, "x", config_yaml=config, runs=[({}, 0)]) as store:
        assert sorted(path.name for path in store.path.iterdir()) == ["config.yaml", "results.sqlite"]
        assert (store.path / "config.yaml").read_bytes() == config.encode()


def test_a_new_parent_is_ignored_by_git(tmp_path: Path) -> None:
    new_store(tmp_path / "a" / "runs").close()
    assert (tmp_path / "a" / "runs" / ".gitignore").read_text() == "*\n"
    new_store(tmp_path).close()
    new_store(tmp_path, directory=tmp_path / "b" / "named").close()
    assert not (tmp_path / ".gitignore").exists()
    assert not (tmp_path / "b" / ".gitignore").exists()


def test_a_given_directory_may_be_new_or_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for path in (Path("empty"), Path("new"), tmp_path / "deep" / "er"):
        with new_store(Path("runs"), directory=path) as store:
            assert store.path == path
        with Store.open(path) as store:
            assert len(store.runs()) == 1
    assert not Path("runs").exists()


def test_a_given_directory_that_is_taken_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "link").symlink_to("empty")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match=f"is a link to a directory: name {tmp_path / 'empty'} itself"):
        new_store(tmp_path, directory=tmp_path / "link")
    for name in ("full", "file", "dangling"):
        with pytest.raises(StoreError, match=r"exists already .* name another"):
            new_store(tmp_path, directory=tmp_path / name)
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(StoreError, match="current directory"):
        new_store(tmp_path, directory=Path())
    names = ["dangling", "empty", "file", "full", "link"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]


CREATE = """
import sys
from pathlib import Path
from optrun.store import Store
print("ready", flush=True)
sys.stdin.readline()
for seed in range(int(sys.argv[2])):
    Store.create(Path(sys.argv[1]), "x", config_yaml="", runs=[({}, seed)]).close()
    print(seed, flush=True)
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", script, *map(str, arguments)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.full
def test_runs_of_the_same_second_have_their_own_directories(tmp_path: Path) -> None:
    processes = [start(CREATE, tmp_path / "runs", 8) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    directories = [path for path in (tmp_path / "runs").iterdir() if not path.name.startswith(".")]
    assert len(directories) == 32
    for path in directories:
        Store.open(path).close()


def test_an_id_that_is_taken_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["one", "one", "one", "two", "a-file", "three", *["one"] * 1000])
    monkeypatch.setattr(directory, "new_id", lambda name: next(ids))
    (tmp_path / "a-file").touch()
    for expected in ("one", "two", "three"):
        with new_store(tmp_path) as store:
            assert store.path.name == expected
    with pytest.raises(StoreError, match="no name is left"):
        new_store(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-file", "one", "three", "two"]


@pytest.mark.full
def test_killed_while_creating(tmp_path: Path) -> None:
    for _ in range(5):
        process = start(CREATE, tmp_path, 1000)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "0\n"
        process.send_signal(signal.SIGKILL)
        process.communicate()
    directories = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    assert len(directories) >= 5
    for path in directories:
        with Store.open(path, write=True) as store:
            assert store.run(0).status is Status.RUNNING


@pytest.mark.parametrize("call", ["sync", "_renamed", "new_id"])
def test_a_failed_creation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "x"))

    monkeypatch.setattr(directory, call, fail)
    with pytest.raises(StoreError, match=r"/x: No space left on device$"):
        new_store(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written(public_path: Path) -> None:
    with new_store(public_path) as store:
        store.commit(curves={0: columns(0, 3)})
    with an_ordinary_user():
        for parent in (public_path, public_path / "new"):
            with pytest.raises(StoreError, match=r"Permission denied$"):
                new_store(parent)
        with pytest.raises(StoreError, match="readonly database"):
            Store.open(store.path, write=True)
        with Store.open(store.path) as reader:
            assert reader.curves(0)["step"].size == 3
            with pytest.raises(StoreError, match="Permission denied"):
                write_csv(reader)
    assert [path.name for path in public_path.iterdir()] == [store.path.name]


def test_a_file_in_the_place_of_the_parent(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(StoreError, match="runs"):
        new_store(tmp_path / "runs")


def test_a_directory_deleted_while_it_is_written(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    moved = store.path.rename(tmp_path / "moved")
    for _ in range(2):
        with pytest.raises(StoreError, match="removed or renamed"):
            store.commit(curves={0: columns(0, 3)})
    store.close()
    with Store.open(moved, write=True) as again:
        assert again.curves(0) == {}


def test_a_full_disk(tmp_path: Path) -> None:
    """The transaction is undone, and the store goes on once there is room."""
    with new_store(tmp_path) as store:
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages + 1}")
        before = store.results_digest()
        with pytest.raises(StoreError, match="full"):
            store.commit(curves={0: columns(0, 10_000)}, states={0: RunState(status=Status.COMPLETED)})
        assert store.results_digest() == before
        store._db.execute("PRAGMA max_page_count = 100000")
        store.commit(curves={0: columns(0, 10_000)})
        assert store.curves(0)["step"].size == 10_000


def test_a_link_or_a_device_is_written_through_not_replaced(tmp_path):
    (tmp_path / "target").write_bytes(b"")
    (tmp_path / "link").symlink_to("target")
    directory.write_output(tmp_path / "link", lambda stream: stream.write(b"here"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"here"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    directory.write_output(tmp_path / "pipe", lambda stream: stream.write(b"here"))
    assert os.read(reader, 10) == b"here"
    os.close(reader)


def test_a_place_that_cannot_be_written_is_named_and_no_hidden_file(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    (tmp_path / "there").mkdir()
    monkeypatch.setattr(Path, "mkdir", lambda path, **more: None if more else refuse(path))
    with pytest.raises(StoreError) as error:
        Store.create(Path("runs"), "x", directory=tmp_path / "there" / "new", config_yaml="", runs=[])
    assert str(error.value) == f"{tmp_path / 'there'}: Read-only file system"


def test_what_killed_commands_have_left_is_removed_by_the_next_that_writes_there(tmp_path, monkeypatch):
    """But not what a living process holds, nor a file of somebody else's."""
    new_store(tmp_path).close()
    digits, other = "0123456789abcdef", "fedcba9876543210"
    made, gone, live = tmp_path / f".new-{digits}", tmp_path / f".gone-{digits}", tmp_path / f".new-{other}"
    for path in (made, gone, live):
        path.mkdir()
        (path / "config.yaml").write_text("name: x")
    csv, held, foreign = tmp_path / f".o.csv.{digits}", tmp_path / f".o.csv.{other}", tmp_path / ".o.csv.mine"
    backup = tmp_path / f".backup.{digits}"
    for path in (csv, held, foreign, backup):
        path.write_text("x")
    for path in (made, gone, csv):  # of half an hour, for which another machine may have been at work on them
        os.utime(path, (time.time() - 1800,) * 2)
    others = [directory._held(live), os.open(held, os.O_RDONLY)]
    directory._hold(others[1])
    try:
        new_store(tmp_path).close()
        directory.replace_file(tmp_path / "o.csv", lambda stream: None)
        assert all(path.exists() for path in (made, gone, csv, live, held, foreign))  # they are young
        monkeypatch.setattr(directory, "YOUNG_SECONDS", -1.0)
        new_store(tmp_path).close()
        directory.replace_file(tmp_path / "o.csv", lambda stream: None)
    finally:
        for descriptor in others:
            os.close(descriptor)
    assert [path.exists() for path in (made, gone, csv)] == [False] * 3
    assert all(path.exists() for path in (live, held, foreign, backup))


def test_who_goes_on_with_a_run_removes_what_its_writer_has_left_at_once(tmp_path):
    new_store(tmp_path, directory=tmp_path / "run").close()
    digits = "0123456789abcdef"
    left = [f".{name}.{digits}" for name in ("metrics.csv", "summary.csv", "config.yaml")]
    others = [".metrics.csv.mine", f".notes.{digits}", "metrics.csv"]
    for name in (*left, *others):
        (tmp_path / "run" / name).write_text("x")
    Store.open(tmp_path / "run").close()
    assert all((tmp_path / "run" / name).exists() for name in left)
    Store.open(tmp_path / "run", write=True).close()
    assert sorted(os.listdir(tmp_path / "run")) == sorted([*others, "config.yaml", "results.sqlite"])


def test_what_a_user_asks_for_is_written_into_new_directories(tmp_path):
    directory.write_output(tmp_path / "new" / "er" / "o.csv", lambda stream: stream.write(b"here"))
    assert (tmp_path / "new" / "er" / "o.csv").read_bytes() == b"here"
