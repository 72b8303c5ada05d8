"""A damaged or hostile run directory: StoreError or the right data, never anything else."""

import json
import os
import random
import shutil
import sqlite3
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optrun.errors import StoreError
from optrun.store import RunState, Status, Store, blobs, schema, verified
from optrun.store.check import faults
from optrun.store.locate import RESULTS
from optrun.store.store_errors import store_errors
from tests.store.samples import columns, config_columns, new_store, packed

FLIPS = 400


def everything(path: Path, *, write: bool = False) -> str:
    """Read all there is and return it as text."""
    with Store.open(path, write=write) as store:
        runs = range(len(store.runs()))
        parts: list[Any] = [store.runs(), store.environments(), store.events(), store.results_digest()]
        for run in runs:
            parts += [store.run(run), store.curves(run), store.evaluations(run), store.params(run)]
        for pack in runs:
            checkpoint = store.checkpoint(pack)
            parts.append(checkpoint and (dict(checkpoint.arrays), checkpoint.meta))
        with np.printoptions(threshold=10**6):
            return repr(parts)


def refusal(read: Callable[[Path], str], path: Path, expected: str) -> str:
    """Return the message of the StoreError, or nothing where the right data was read."""
    try:
        found = read(path)
    except StoreError as error:
        return str(error)
    assert found == expected
    return ""


@pytest.mark.full
@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"w": np.arange(3, dtype=np.float32)},
        {
            "π": np.arange(12.0).reshape(3, 4).T,
            "b": np.zeros((0, 3)),
            "n": np.int64(7),
            "on": np.ones(2, bool),
        },
    ],
)
def test_small_archives_are_those_that_zipfile_writes(arrays: dict[str, Any]) -> None:
    for factor in (1, 0):  # the second one fills in what the first one has left
        own = {name: (values * factor).astype(values.dtype) for name, values in arrays.items()}
        blob, stream = blobs.encode_npz(own), BytesIO()
        blobs.write_npz(stream, own.items())
        assert blob == stream.getvalue()
        with zipfile.ZipFile(BytesIO(blob)) as archive:
            assert archive.testzip() is None
        with np.load(BytesIO(blob), allow_pickle=False) as read:
            assert all((read[name] == values).all() for name, values in own.items())


def test_flipped_bytes(finished: Path) -> None:
    file, expected = finished / "results.sqlite", everything(finished)
    original = file.read_bytes()
    chance = random.Random(1)
    noticed = 0
    places = [*range(0, 100, 3), *(chance.randrange(len(original)) for _ in range(FLIPS))]
    for place in places:
        damaged = bytearray(original)
        damaged[place] ^= chance.randint(1, 255)
        file.write_bytes(damaged)
        message = refusal(everything, finished, expected)
        noticed += bool(message)
        assert message.isprintable()
    assert noticed > FLIPS / 10


def shortened(original: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield a file once for each of its pages with rows, which counts one row too few."""
    for page in range(4096, len(original), 4096):
        if original[page] in b"\2\5\x0a\x0d" and original[page + 4]:
            yield (
                page // 4096 + 1,
                original[: page + 4] + bytes([original[page + 4] - 1]) + original[page + 5 :],
            )


def test_rows_that_a_page_no_longer_counts(finished: Path) -> None:
    """Readers notice what the other rows tell of; of the last of the others, `doctor` alone knows."""
    file, expected = finished / "results.sqlite", everything(finished)
    with closing(sqlite3.connect(file)) as db:
        roots = dict(db.execute("SELECT rootpage, name FROM sqlite_master"))
    unnoticed = set()
    pages = list(shortened(file.read_bytes()))
    assert len(pages) > 8
    for page, damaged in pages:
        file.write_bytes(damaged)
        try:
            if everything(finished) != expected:
                unnoticed.add(roots.get(page))
        except StoreError:
            pass
        assert faults(finished)[1], page
    assert unnoticed == {"params", "checkpoints", "environments", "events"}


def lose(path: Path, lost: str) -> None:
    """Take rows of curves out of their index, and leave them in the table."""
    file = path / "results.sqlite"
    with closing(sqlite3.connect(file)) as db, db:
        rows = db.execute(f"SELECT rowid, * FROM curves WHERE {lost}").fetchall()
        db.execute(f"DELETE FROM curves WHERE {lost}")
        schema = db.execute("SELECT rowid, * FROM sqlite_master").fetchall()
        names = ", ".join(f'"{name}"' for _, name, *_ in db.execute("PRAGMA table_info(curves)"))
        db.execute("PRAGMA writable_schema = ON")
        db.execute("DELETE FROM sqlite_master WHERE type = 'index'")
        db.execute(f"UPDATE sqlite_master SET sql = 'CREATE TABLE curves ({names})' WHERE name = 'curves'")
    with closing(sqlite3.connect(file)) as db, db:
        db.executemany(f"INSERT INTO curves (rowid, {names}) VALUES ({', '.join('?' * len(rows[0]))})", rows)
        db.execute("PRAGMA writable_schema = ON")
        db.execute("DELETE FROM sqlite_master")
        db.executemany(
            "INSERT INTO sqlite_master (rowid, type, name, tbl_name, rootpage, sql) VALUES (?, ?, ?, ?, ?, ?)",
            schema,
        )


@pytest.fixture
def in_segments(tmp_path: Path) -> Path:
    """A run that has made 40 steps, committed in three segments of four columns."""
    with new_store(tmp_path) as store:
        for first, last in pairwise((0, 10, 30, 40)):
            state = RunState(status=Status.RUNNING, steps=last)
            store.commit(curves={0: columns(first, last)}, states={0: state})
        return store.path


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("true", "it has made 40 steps, and what is stored ends before the first"),
        ("first_step = 30", "it has made 40 steps, and what is stored ends with step 29"),
        ("first_step = 10", "some of its steps are missing"),
        ("first_step = 10 AND column_index = 3", "its columns have different lengths"),
        ("column_index = 1", "a segment lacks columns"),
        ("name = 'lr'", "a segment lacks columns"),
    ],
)
def test_segments_that_are_lost(in_segments: Path, lost: str, message: str) -> None:
    execute(in_segments, f"DELETE FROM curves WHERE {lost}")
    with Store.open(in_segments) as store, pytest.raises(StoreError, match=message):
        store.curves(0)
    assert any(message in fault for fault in faults(in_segments)[1])


@pytest.mark.parametrize("lost", ["true", "first_step = 30", "first_step = 10", "column_index = 3"])
def test_segments_that_the_index_has_lost(in_segments: Path, lost: str) -> None:
    lose(in_segments, lost)
    with (
        Store.open(in_segments) as store,
        pytest.raises(StoreError, match="columns are lost|before the first"),
    ):
        store.curves(0)
    with pytest.raises(StoreError, match="rows of curves are lost"):
        Store.open(in_segments, write=True)
    assert "wrong # of entries in index sqlite_autoindex_curves_1" in faults(in_segments)[1]


def test_truncated_files(finished: Path) -> None:
    file, expected = finished / "results.sqlite", everything(finished)
    original = file.read_bytes()
    for length in [0, 1, 16, 99, 100, *range(512, len(original), 1536), len(original) - 1]:
        file.write_bytes(original[:length])
        with pytest.raises(StoreError):
            everything(finished)
    file.write_bytes(original + bytes(4096))
    assert everything(finished) == expected


def fifo(path: Path) -> None:
    os.mkfifo(path)


def elsewhere(path: Path) -> None:
    shutil.copy(path.parent / "copy", path.parent / "elsewhere")
    path.symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "not a run directory, for it has no results.sqlite"),
        (Path.mkdir, "not a regular file"),
        (fifo, "not a regular file"),
        (elsewhere, "not a regular file"),
        (lambda path: path.symlink_to("nowhere"), "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        (lambda path: path.touch(), "not a results file of optrun"),
        (lambda path: path.write_bytes(b"PK\3\4" * 5000), "not a database"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" * 5000), "results.sqlite"),
    ],
)
@pytest.mark.parametrize("write", [False, True])
def test_another_thing_in_the_place_of_the_file(
    finished: Path, make: Callable[[Path], object], message: str, write: bool
) -> None:
    file = finished / "results.sqlite"
    file.rename(finished / "copy")
    make(file)
    with pytest.raises(StoreError, match=message):
        Store.open(finished, write=write)


@pytest.mark.parametrize("suffix", ["-journal", "-wal"])
def test_another_thing_in_the_place_of_a_companion(finished: Path, suffix: str) -> None:
    os.mkfifo(finished / f"results.sqlite{suffix}")
    with pytest.raises(StoreError, match=suffix):
        Store.open(finished)


def test_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("none", "file"):
        for write in (False, True):
            with pytest.raises(StoreError, match=name):
                Store.open(tmp_path / name, write=write)


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path / "results.sqlite", isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA user_version = 4", "has format version 4, and this optrun reads up to 3"),
        ("PRAGMA user_version = 1", "other tables"),
        ("PRAGMA user_version = 0", "damaged"),
        ("PRAGMA user_version = -1", "damaged"),
        ("PRAGMA application_id = 0", "not a results file of optrun"),
        ("PRAGMA journal_mode = WAL", "results.sqlite"),
        ("DROP TABLE curves", "other tables"),
        ("ALTER TABLE runs ADD COLUMN more TEXT", "other tables"),
        ("CREATE TABLE more (x)", "other tables"),
        ("CREATE INDEX more ON runs (seed)", "other tables"),
        ("CREATE VIEW more AS SELECT * FROM runs", "other tables"),
        ("CREATE TRIGGER more AFTER INSERT ON runs BEGIN DELETE FROM runs; END", "other tables"),
        ("CREATE VIRTUAL TABLE more USING fts5(x)", "other tables"),
        ("UPDATE runs SET seed = seed + 1", "checksum"),
        ("UPDATE runs SET seed = 'one'", "wrong type"),
        ("UPDATE states SET status = 'completed!'", "checksum"),
        ("UPDATE params SET arrays = 'text'", "wrong type"),
        ("DELETE FROM states", "has no state"),
        ("DELETE FROM states WHERE run = 0", "run 0 is damaged: it has no state"),
        ("DELETE FROM runs WHERE run = 0", "run 0 is damaged: it has no config"),
        ("UPDATE runs SET run = 7 WHERE run = 1", "a run has no state, or a state no run"),
    ],
)
def test_changed_files(finished: Path, statement: str, message: str) -> None:
    execute(finished, statement)
    with pytest.raises(StoreError, match=message):
        everything(finished)


def test_resuming_reads_what_goes_on_first(finished: Path) -> None:
    execute(finished, "UPDATE curves SET last_step = 7 WHERE run = 1")
    with pytest.raises(StoreError, match="checksum"):
        Store.open(finished, write=True)


def forge(path: Path, table: str, *rows: tuple[Any, ...]) -> None:
    """Replace a table's rows by rows whose checksums are right."""
    with closing(sqlite3.connect(path / "results.sqlite")) as db, db:
        db.execute(f"DELETE FROM {table}")
        verified.insert(db, table, rows)


def npy(descr: str, shape: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + data


def saved(array: Any, **options: Any) -> bytes:
    stream = BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


FOUR = np.arange(4.0).tobytes()
BAD_ARRAYS = {
    "empty": b"",
    "garbage": b"garbage",
    "no data": npy("'<f8'", "(4,)"),
    "too little": npy("'<f8'", "(4,)", FOUR[:-1]),
    "too much": npy("'<f8'", "(4,)", FOUR + b"\0"),
    "a bomb": npy("'<f8'", "(2305843009213693951,)", FOUR),
    "an overflow": npy("'<f8'", "(4611686018427387905, 4)", FOUR),
    "an empty bomb": npy("'<f8'", "(0, 999999999999999999, 999999999999999999)"),
    "a hundred dimensions": npy("'<f8'", "(" + "1, " * 100 + ")", FOUR[:8]),
    "negative": npy("'<f8'", "(-4,)", FOUR),
    "a long integer": npy("'<f8'", "(4L,)", FOUR),
    "an expression": npy("'<f8'", "(2*2,)", FOUR),
    "deep": npy("'<f8'", "(" * 3000 + ")" * 3000, FOUR),
    "a pickle": saved(np.array([{"x": 1}]), allow_pickle=True),
    "an object dtype": npy("'|O'", "(4,)", FOUR),
    "a structure": saved(np.zeros(2, [("x", "f8")])),
    "text": saved(np.array(["text"])),
    "complex": saved(np.zeros(2, complex)),
    "big-endian": saved(np.zeros(2, ">f8")),
    "a boolean of eight bytes": npy("'<b8'", "(4,)", FOUR),
    "an unknown dtype": npy("'<f1'", "(32,)", FOUR),
    "version 3": npy("'<f8'", "(4,)", FOUR, b"\3\0"),
    "an npz": blobs.encode_npz({"x": np.zeros(3)}),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays(finished: Path, name: str) -> None:
    forge(finished, "curves", (0, "curve", 0, 0, 3, "loss", BAD_ARRAYS[name]))
    forge(finished, "params", (0, zipped({"w.npy": BAD_ARRAYS[name]})))
    with Store.open(finished) as store:
        with pytest.raises(StoreError, match="curve of run 0: 'loss'"):
            store.curves(0)
        with pytest.raises(StoreError, match=r"parameters of run 0: 'w\.npy'"):
            store.params(0)


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def repeated() -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("w.npy", saved(np.zeros(3)))
    return stream.getvalue()


def nested() -> bytes:
    """An array whose bytes are another member: every level would be read, and allocated, again."""
    inner = zipped({"b.npy": saved(np.zeros(1000))})
    member, entry = (
        inner[: (start := inner.index(b"PK\1\2"))],
        bytearray(inner[start : inner.rindex(b"PK\5\6")]),
    )
    outer = zipped({"a.npy": saved(np.frombuffer(member, np.uint8))})
    entry[42:46] = struct.pack("<I", outer.index(member))
    end = outer.rindex(b"PK\5\6")
    tail = bytearray(outer[end:])
    tail[8:16] = struct.pack("<HHI", 2, 2, len(entry) * 2)
    return outer[:end] + bytes(entry + tail)


GOOD = saved(np.arange(4.0))
BAD_ARCHIVES = {
    "empty": b"",
    "garbage": b"garbage" * 100,
    "an npy": GOOD,
    "compressed": zipped({"w.npy": GOOD}, zipfile.ZIP_DEFLATED),
    "a bomb": zipped({"w.npy": saved(np.zeros(10**6))}, zipfile.ZIP_DEFLATED),
    "encrypted": zipped({"w.npy": GOOD}).replace(b"PK\1\2\x14\x03\x14\0\0\0", b"PK\1\2\x14\x03\x14\0\1\0"),
    "another file": zipped({"w.npy": GOOD, "readme.txt": b"x"}),
    "repeated": repeated(),
    "nested": nested(),
    "truncated": zipped({"w.npy": GOOD})[:-9],
    "damaged": zipped({"w.npy": GOOD}).replace(np.float64(3).tobytes(), np.float64(4).tobytes()),
}


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_bad_archives(finished: Path, name: str) -> None:
    forge(finished, "params", (0, BAD_ARCHIVES[name]))
    forge(finished, "checkpoints", (0, "{}", BAD_ARCHIVES[name]))
    with Store.open(finished) as store:
        with pytest.raises(StoreError, match="parameters of run 0"):
            store.params(0)
        with pytest.raises(StoreError, match="checkpoint of run 0"):
            store.checkpoint(0)


def test_fuzzed_archives() -> None:
    arrays = {"weight": np.arange(6.0).reshape(2, 3), "bias": np.zeros(3, np.float32)}
    original = blobs.encode_npz(arrays)
    chance = random.Random(2)
    accepted = 0
    for _ in range(3000):
        damaged = bytearray(original)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(len(damaged))] = chance.choice([0, 1, 255, chance.randrange(256)])
        with suppress(StoreError):
            read = blobs.decode_npz(bytes(damaged[: chance.choice([None, None, -3, 100])]), "it")
            assert sum(array.nbytes for array in read.values()) <= len(original)
            accepted += 1
    assert 0 < accepted < 2000


RUNNING = (1, "running", "", 0, "{}")
BAD_JSON = [
    "",
    "{",
    "[]",
    "1",
    '"text"',
    '{"x": NaN}',
    '{"x": -Infinity}',
    '{"x": 1e999}',
    '{"x": ' + "9" * 5000 + "}",
    '{"x": ' + "[" * 100_000 + "}",
]


@pytest.mark.parametrize("text", BAD_JSON, ids=range(len(BAD_JSON)))
def test_bad_json(finished: Path, text: str) -> None:
    archive = blobs.encode_npz({})
    for table, rows, message in [
        ("runs", [(0, 0, text), (1, 0, "{}")], "config of run 0"),
        ("states", [(0, "running", "", 0, text), RUNNING], "summary of run 0"),
        ("checkpoints", [(0, text, archive)], "checkpoint of run 0"),
        ("environments", [(0, text)], "environment 0"),
        ("events", [(0, "", 0, "", -1, text)], "event 0"),
    ]:
        shutil.copytree(finished, finished.parent / table)
        forge(finished.parent / table, table, *rows)
        with pytest.raises(StoreError, match=message):
            everything(finished.parent / table)


def curve(name: str, values: Any, position: int = 0, first: int = 0) -> tuple[Any, ...]:
    return 0, "curve", first, position, 9, name, saved(np.asarray(values))


@pytest.mark.parametrize(
    ("table", "rows", "message"),
    [
        ("states", [(0, "won", "", 0, "{}"), RUNNING], "unknown status 'won'"),
        ("states", [(0, "running", "", 0, '{"x": "y"}'), RUNNING], "something else than numbers"),
        ("states", [(0, "running", "", 0, '{"x": true}'), RUNNING], "something else than numbers"),
        ("curves", [curve("step", [1.0, 2.0])], "'step' is float64"),
        ("curves", [curve("loss", [1, 2])], "'loss' is int64"),
        ("curves", [curve("loss", [[1.0, 2.0]])], r"float64 \[1, 2\]"),
        ("curves", [curve("loss", [1.0, 2.0])], "different lengths"),
        ("curves", [curve("step", [1, 2]), curve("loss", [1.0], 1)], "different lengths"),
        ("curves", [curve("step", [2, 1])], "do not increase"),
        ("curves", [curve("step", [1, 2]), curve("step", [2, 3], 0, 2)], "do not increase"),
    ],
)
def test_rows_that_make_no_sense(finished: Path, table: str, rows: Any, message: str) -> None:
    forge(finished, table, *rows)
    with pytest.raises(StoreError, match=message):
        everything(finished)


@pytest.fixture
def in_blocks(tmp_path: Path) -> Path:
    """The directory of a store of 70 runs whose configs, states and results are in blocks."""
    state = RunState(status=Status.COMPLETED, steps=3, summary={"final_loss": 0.5})
    left = {
        run: (state, columns(0, 3), {"step": [3], "loss": [run / 2]}, {"w": [run]}) for run in range(0, 70, 2)
    }
    with Store.create(tmp_path, "blocks", config_yaml="", runs=config_columns(70)) as store:
        store.commit(packs=[packed(left)])
        return store.path


def test_flipped_bytes_of_blocks(in_blocks: Path) -> None:
    def read(path: Path) -> str:
        with Store.open(path) as store:
            of_runs = [(store.curves(run), store.evaluations(run), store.params(run)) for run in (0, 1, 68)]
            return repr((store.runs(), of_runs))

    file, expected, chance = in_blocks / RESULTS, read(in_blocks), random.Random(1)
    original = file.read_bytes()
    noticed = 0
    for _ in range(FLIPS // 4):
        damaged = bytearray(original)
        damaged[chance.randrange(len(original))] ^= chance.randint(1, 255)
        file.write_bytes(damaged)
        noticed += bool(refusal(read, in_blocks, expected))
    assert noticed > FLIPS / 40


def test_blocks_that_are_lost(in_blocks: Path) -> None:
    for kind, message in [
        ("runs", "a run has no state, or a state no run"),
        ("states", "a run has no state, or a state no run"),
        ("curve", "what is stored ends before the first"),
    ]:
        copy = Path(shutil.copytree(in_blocks, in_blocks.with_name(kind)))
        execute(copy, f"DELETE FROM blocks WHERE kind = '{kind}'")
        with pytest.raises(StoreError, match=message):
            everything(copy)
        assert kind == "curve" or faults(copy)[1]
    execute(in_blocks, "INSERT INTO states SELECT 0, 3, 'waiting', '', 0, '{}'")
    assert faults(in_blocks)[1]


BAD_BLOCKS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("states", {"statuses": ["won"]}, {}),
    ("states", {"statuses": []}, {}),
    ("states", {"reasons": [7]}, {}),
    ("states", {"names": [["other"]]}, {}),
    ("states", {"names": 7}, {}),
    ("states", {}, {"steps": np.array([1 << 62])}),
    ("states", {}, {"steps": np.array([-1])}),
    ("states", {}, {"steps": np.zeros(69, np.int64)}),
    ("states", {}, {"steps": np.zeros((70, 2), np.int64)}),
    ("states", {}, {"status": np.array([200], np.uint8)}),
    ("states", {}, {"reason": np.array([-1], np.int32)}),
    ("states", {}, {"figure0": np.array(["text"]).view(np.int32)[:1]}),
    ("states", {}, {"run": np.arange(70)}),
    ("runs", {"patterns": [["no places"], ["at all"]]}, {}),
    ("runs", {"patterns": ["text", "text"]}, {}),
    ("runs", {"order": [[0, 1], [0, 1]]}, {}),
    ("runs", {"order": [[0, 2], [1, 2, 0]]}, {}),
    ("runs", {"order": [[0, -1], [1, 2, 0]]}, {}),
    ("runs", {"order": [[0, True], [1, 2, 0]]}, {}),
    ("runs", {"floats": [7, 7]}, {}),
    ("runs", {"floats": ["one", "two"]}, {}),
    ("runs", {}, {"pattern": np.array([2], np.int32)}),
    ("runs", {}, {"value0": np.full(1, np.inf)}),
    ("runs", {}, {"seed": np.zeros(1)}),
    ("curve", {"names": ["loss", "loss"]}, {}),
    ("curve", {"names": ["loss", "lr"]}, {}),
    ("curve", {"names": "step"}, {}),
    ("curve", {"names": []}, {}),
    ("curve", {}, {"count": np.array([1 << 60])}),
    ("curve", {}, {"count": np.array([-3])}),
    ("curve", {}, {"count": np.array([4])}),
    ("curve", {}, {"common": np.arange(2)}),
    ("curve", {}, {"common": np.array([0, 2, 1])}),
    ("curve", {}, {"1": np.zeros(5)}),
    ("curve", {}, {"1": np.zeros((105, 1))}),
    ("curve", {}, {"1": np.zeros(105, np.int64)}),
    ("evaluation", {}, {"common": np.array([1 << 60])}),
    ("params", {}, {"array w": np.zeros(34)}),
    ("params", {}, {"array w": np.array(7)}),
    ("params", {}, {"run": np.arange(35)[::-1].copy()}),
    ("params", {}, {"run": np.arange(34)}),
    ("params", {}, {"run": np.zeros((35, 1), np.int64)}),
]


@pytest.mark.parametrize(("kind", "meta", "arrays"), BAD_BLOCKS, ids=str)
def test_blocks_that_make_no_sense(
    in_blocks: Path, kind: str, meta: dict[str, Any], arrays: dict[str, Any]
) -> None:
    """Each has its right checksum."""
    with closing(sqlite3.connect(in_blocks / RESULTS)) as db, db:
        ((_, first, last, text, blob),) = verified.select(db, "blocks", "kind = ?", (kind,))
        text = json.dumps(json.loads(text) | meta)
        blob = blobs.encode_npz(blobs.decode_npz(blob, kind) | arrays)
        verified.insert(db, "blocks", [(kind, first, last, text, blob)])
    with pytest.raises(StoreError):
        everything(in_blocks)
    assert faults(in_blocks)[1]


@pytest.mark.parametrize(("first", "last"), [(-1, 69), (0, 1 << 50), (0, 1 << 20), (70, 69)])
def test_blocks_of_runs_that_there_are_not(in_blocks: Path, first: int, last: int) -> None:
    with closing(sqlite3.connect(in_blocks / RESULTS)) as db, db:
        for kind in ("runs", "states"):
            (row,) = verified.select(db, "blocks", "kind = ?", (kind,))
            db.execute("DELETE FROM blocks WHERE kind = ?", (kind,))
            verified.insert(db, "blocks", [(kind, first, last, *row[3:])])
    with pytest.raises(StoreError):
        everything(in_blocks)


def test_text_that_is_no_text(finished: Path) -> None:
    execute(finished, "UPDATE states SET reason = CAST(x'ff' AS TEXT)")
    with pytest.raises(StoreError, match="UTF-8"):
        everything(finished)


def test_the_format_is_the_one_that_was_released(tmp_path: Path) -> None:
    """Files lie on people's disks: a change of the tables or of a blob needs another format version."""
    with new_store(tmp_path) as store:
        tables = store._db.execute("SELECT group_concat(sql) FROM sqlite_master").fetchone()[0]
    fixed = [
        tables.encode(),
        blobs.encode(np.arange(3.0)),
        blobs.encode_npz({"w": np.arange(3)}),
        b"".join(verified.canonical_bytes((1, "ü\n", b"x"))),
    ]
    assert (schema.FORMAT_VERSION, [zlib.crc32(part) for part in fixed]) == (
        3,
        [3091867681, 736174372, 2113078436, 1880415754],
    )


def test_content_that_is_well_written_and_impossible(finished: Path) -> None:
    """Every row has its right checksum."""
    with Store.open(finished, write=True) as store:
        good = store.run(0)
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    state, other = (0, "completed", "", 5, '{"final_loss":1.0}'), (1, "running", "", 0, "{}")
    far = [
        (0, "curve", 0, at, 0, name, blobs.encode(np.full(1, 1 << 62, kind)))
        for at, (name, kind) in enumerate([("step", "i8"), ("loss", "f8"), ("lr", "f8")])
    ]
    none = [
        (0, "curve", 0, at, 0, name, blobs.encode(np.zeros(0, kind)))
        for at, (name, kind) in enumerate([("step", "i8"), ("loss", "f8"), ("lr", "f8")])
    ]
    cases: list[tuple[str, list[Any], Callable[[Store], Any], str]] = [
        ("states", [(*state[:4], f'{{"final_loss":{"9" * 4000}}}'), other], Store.states, "4,000 digits"),
        ("states", [(*state[:3], 1 << 62, state[4]), other], Store.states, "steps"),
        ("runs", [(0, 0, json.dumps({"name": deep})), (1, 0, "{}")], Store.runs, "nested more than 64 deep"),
        ("environments", [(1, json.dumps({"name": deep}))], Store.environments, "nested more than 64 deep"),
        ("curves", far, Store.curves, "impossible"),
        ("curves", none, Store.curves, "no steps"),
    ]
    for table, rows, read, message in cases:
        copy = finished.with_name(f"copy-{len(message)}-{len(rows)}")
        shutil.copytree(finished, copy, dirs_exist_ok=True)
        with closing(sqlite3.connect(copy / RESULTS)) as db, db:
            db.execute(f"DELETE FROM {table}")
            verified.insert(db, table, rows)
        with Store.open(copy) as store, pytest.raises(StoreError, match=message):
            read(store)
    assert good.steps >= 0


def test_what_a_run_has_left_that_has_ended_is_not_read_where_another_goes_on(finished: Path) -> None:
    execute(finished, "UPDATE curves SET last_step = 7 WHERE run = 0")
    with Store.open(finished, write=True) as store:
        with pytest.raises(StoreError, match="checksum"):
            store.curves(0)
        with pytest.raises(StoreError, match="checksum"):
            store.rearrange([({}, 0), ({}, 1)], {0: 1, 1: 0})
        with pytest.raises(StoreError, match="checksum"):
            store.prolong(0, {}, None)
        assert store.curves(1)["step"].size == 40


@pytest.mark.parametrize(
    ("code", "words"),
    [(sqlite3.SQLITE_FULL, "the disk is full"), (sqlite3.SQLITE_IOERR_WRITE, "disk I/O error")],
)
def test_a_disk_that_fails_while_the_directory_is_made_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code

    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr("optrun.store.store.insert_runs", fails)
    with pytest.raises(StoreError, match=words) as caught:
        new_store(tmp_path)
    assert "removed or renamed" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_not_called_damaged(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT

    def unreadable(self: Path, mode: str = "r") -> Any:
        raise OSError(5, "Input/output error", str(self))

    monkeypatch.setattr(Path, "open", unreadable)
    with pytest.raises(StoreError, match="Input/output error"), store_errors(finished):
        raise error
