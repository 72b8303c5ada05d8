"""What goes into a store comes out of it, to the bit, and nothing else does."""

import itertools
import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optrun.errors import StoreError
from optrun.store import Checkpoint, RunState, Status, Store, blobs, environment, fingerprint, verified
from optrun.store.check import faults
from optrun.store.fingerprint import machine_changes
from optrun.store.runs import count_runs
from optrun.store.setting_columns import MISSING, SettingColumns
from tests.store.samples import columns, config_columns, new_store, packed

INT64 = np.iinfo(np.int64)
FLOATS = [np.nan, -np.nan, np.inf, -np.inf, -0.0, 0.0, 5e-324, 1.7976931348623157e308, 0.1]
DTYPES = ["?", "i1", "u1", "i2", "i4", "i8", "u8", "f2", "f4", "f8"]


def same_bits(one: Any, other: Any) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def test_curves_keep_every_bit(store: Store) -> None:
    steps = np.arange(9) << 50
    given = {"step": steps, "loss": np.array(FLOATS), "lr": np.array(FLOATS[::-1])}
    store.commit(curves={1: given}, evaluations={2: given})
    with Store.open(store.path) as reader:
        for read in (reader.curves(1), reader.evaluations(2)):
            assert list(read) == ["step", "loss", "lr"]
            assert all(same_bits(read[name], given[name]) for name in given)
        assert reader.curves(0) == reader.curves(2) == reader.evaluations(1) == {}


@pytest.mark.parametrize(
    ("dtype", "shape"),
    list(zip(DTYPES, itertools.cycle([(), (0,), (0, 3), (5,), (2, 3), (1, 1, 1, 4)]))),
    ids=str,
)
def test_arrays_keep_dtype_shape_and_bits(store: Store, dtype: str, shape: tuple[int, ...]) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (*shape, 8), np.uint8)
    array = np.packbits(bits, axis=-1)[..., 0].astype(dtype)
    names = ["w", "file", "layer1/weight", "../../θ.npy", "arr_0", ""]
    store.commit(params={0: dict.fromkeys(names, array)}, checkpoints={3: Checkpoint({"m": array})})
    assert list(store.params(0)) == names
    assert all(same_bits(value, array) for value in store.params(0).values())
    checkpoint = store.checkpoint(3)
    assert checkpoint is not None
    assert same_bits(checkpoint.arrays["m"], array)


def test_memory_order_and_byte_order_do_not_show(store: Store) -> None:
    array = np.arange(6.0).reshape(2, 3)
    variants = [
        array,
        np.asfortranarray(array),
        array.astype(">f8"),
        np.arange(12.0).reshape(2, 6)[:, ::2] / 2,
    ]
    digests = set()
    for variant in variants:
        store.commit(params={0: {"w": variant}})
        digests.add(store.results_digest())
        assert same_bits(store.params(0)["w"], array)
    assert len(digests) == 1


def left(runs: int) -> dict[int, Any]:
    """Return what runs leave whose states, steps and values differ: state, curves, evaluations and parameters."""
    found = {}
    odd = {"step": np.array([0, 4, 7]), "loss": np.array(FLOATS[:3]), "lr": np.full(3, -0.0)}
    for run in range(runs):
        rows = run % 5
        even = {name: of for name, of in columns(0, rows).items() if name != "grad_norm"} if rows else {}
        params = {"w": np.arange(6, dtype=np.float32).reshape(2, 3) * run, "same": np.array([np.nan, -0.0])}
        summary = {"final_loss": 1.0 / (run + 1), "b": np.nan}
        state = RunState(status=Status.COMPLETED, steps=rows, summary=summary)
        if run % 3:
            status = Status.DIVERGED if run % 3 == 1 else Status.EARLY_STOPPED
            state = RunState(status=status, reason=f"at {rows}", steps=8 * (run % 3 == 1), summary={})
        curves = [even, odd, {}][run % 3]
        found[run] = state, curves, {"step": [min(run, state.steps)], "accuracy": [0.5]}, params
    return found


def commit_singly(store: Store, runs: dict[int, Any]) -> None:
    """Commit what `left` returns as that of single runs."""
    states, curves, evaluations, params = (
        {run: of[part] for run, of in runs.items() if of[part] or not part} for part in range(4)
    )
    store.commit(states=states, curves=curves, evaluations=evaluations, params=params)


@pytest.mark.parametrize("size", [5, 64])
def test_runs_of_a_pack_are_those_that_were_committed_singly(tmp_path: Path, size: int) -> None:
    runs, configs = left(size), config_columns(size)
    numbers = {"all": [*runs], "every second": [*runs][::2], "first": [0, 1]}
    with Store.create(tmp_path, "one", config_yaml="", runs=list(configs)) as one:
        commit_singly(one, runs)
        for name, pack in numbers.items():
            with Store.create(tmp_path, name, config_yaml="", runs=configs) as other:
                other.log("an event")
                other.commit(packs=[packed({run: runs[run] for run in pack})])
                kinds = [event.kind for event in other.events()]
                assert kinds == ["created", "an event", "pack"]
                ended = [event.kind for event in other.events_of(pack[1])]
                assert ended == ["created", "an event", str(runs[pack[1]][0].status)]
                commit_singly(other, {run: of for run, of in runs.items() if run not in pack})
                assert other.results_digest() == one.results_digest()
                assert [repr(state) for state in other.states()] == [repr(state) for state in one.states()]
            with Store.open(other.path) as reader:
                assert faults(other.path) == (size, [])
                assert reader.runs() == one.runs()
                assert repr([*map(reader.run, runs)]) == repr([*map(one.run, runs)])
                assert reader.results_digest() == one.results_digest()
                for run in runs:
                    for read in (Store.curves, Store.evaluations, Store.params):
                        found, expected = read(reader, run), read(one, run)
                        assert list(found) == list(expected)
                        assert all(same_bits(found[name], expected[name]) for name in expected)
                listed = [(each.run, each.seed, each.config) for each in reader.listed()]
                assert listed == [(each.run, each.seed, each.config) for each in one.runs()]
                series = {run: of["accuracy"].tolist() for run, of in reader.series(["accuracy"])}
                assert series == {run: [0.5] for run in runs}


def test_runs_of_a_pack_are_changed_like_others(tmp_path: Path) -> None:
    runs, configs = left(100), config_columns(100)

    def change(store: Store) -> None:
        """Have runs begin anew, go on, be joined by others, and be put into another order."""
        store.reset([7, 20])
        store.commit(states={7: RunState(status=Status.RUNNING, steps=3)}, curves={7: columns(0, 3)})
        store.prolong(99, {"seed": 106, "more": 1}, Checkpoint({}, {"step": 8}))
        store.add(config_columns(80))
        moved = [(text, seed) for text, seed in config_columns(180)][::-1]
        store.rearrange(moved[30:], {149 - run: run for run in range(60)})
        store.commit(params={5: {"w": np.zeros(1)}})

    with Store.create(tmp_path, "one", config_yaml="", runs=list(configs)) as one:
        commit_singly(one, runs)
        change(one)
        expected, kept = one.results_digest(), one.kept()
    with Store.create(tmp_path, "other", config_yaml="", runs=configs) as other:
        other.commit(packs=[packed({run: runs[run] for run in range(0, 100, 2)})])
        other.commit(packs=[packed({run: runs[run] for run in range(1, 100, 2)})])
        change(other)
        assert (other.results_digest(), other.kept()) == (expected, kept)
        assert other.states() == Store.open(one.path).states()
    assert faults(other.path)[0] == 150


@pytest.mark.parametrize(
    ("kind", "there"),
    [
        ("curves", {"curves": {1: columns(0, 2)}}),
        ("curves", {"evaluations": {1: columns(0, 2)}}),
        ("params", {"params": {1: {"w": np.ones(2)}}}),
        ("checkpoints", {"checkpoints": {1: Checkpoint({})}}),
        ("made its steps", {"packs": [packed({run: left(5)[1] for run in (1, 2)})]}),
        ("made its steps", {"states": {1: RunState(status=Status.DIVERGED)}}),
        ("made its steps", {"states": {1: RunState(status=Status.RUNNING, steps=1)}}),
    ],
)
def test_a_pack_is_all_that_its_runs_leave(kind: str, there: dict[str, Any], tmp_path: Path) -> None:
    with new_store(tmp_path, runs=3) as store:
        store.commit(**there)
        digest = store.results_digest()
        with pytest.raises(StoreError, match=f"run 1 has {kind} already"):
            store.commit(packs=[packed(left(2))])
        assert store.results_digest() == digest
    with Store.open(store.path, write=True) as store:  # which has not read a state
        with pytest.raises(StoreError, match=f"run 1 has {kind} already"):
            store.commit(packs=[packed(left(2))])
        assert store.results_digest() == digest


def test_no_run_is_in_two_packs_of_a_commit(tmp_path: Path) -> None:
    with new_store(tmp_path, runs=3) as store:
        packs = [packed({run: left(5)[1] for run in runs}) for runs in ((0, 1), (1, 2))]
        with pytest.raises(StoreError, match="run 1 has made its steps already"):
            store.commit(packs=packs)
        assert [state.steps for state in store.states()] == [0, 0, 0]
        with pytest.raises(StoreError, match="there is no run 3"):
            store.commit(packs=[packed({run: left(5)[1] for run in (2, 3)})])


def test_writers_are_told_of_what_a_reader_keeps(tmp_path: Path) -> None:
    """A reader that has read a run of a block sees what is written to another one of it."""
    with (
        Store.create(tmp_path, "a", config_yaml="", runs=config_columns(100)) as store,
        Store.open(store.path) as reader,
    ):
        assert reader.run(3).status is Status.RUNNING
        store.commit(packs=[packed(left(5))])
        assert reader.run(3).status is Status.COMPLETED
        assert reader.params(3)["w"][1, 2] == 15
        store.commit(states={3: RunState(status=Status.FAILED)}, params={3: {"w": np.ones(1)}})
        assert reader.run(3).status is Status.FAILED
        assert reader.params(3)["w"].tolist() == [1]


def test_states_are_those_of_the_last_write(store: Store) -> None:
    assert [state.status for state in store.states()] == ["running"] * 3
    store.states()[0] = RunState(status=Status.PRUNED)
    for run, status in enumerate(["completed", "failed", "diverged"]):
        store.commit(states={run: RunState(status=Status(status))})
        assert store.states()[run].status == status
    store.reset([1])
    store.add([({}, 7)])
    assert [state.status for state in store.states()] == ["completed", "waiting", "diverged", "waiting"]


def test_what_is_read_can_be_written_to(store: Store) -> None:
    store.commit(curves={0: columns(0, 3)}, params={0: {"w": np.zeros(2)}})
    store.curves(0)["loss"][0] = 7
    store.params(0)["w"][0] = 7
    assert store.curves(0)["loss"][0] == 1
    assert store.params(0)["w"][0] == 0


def test_segments_are_joined(store: Store) -> None:
    for first in range(0, 50, 7):
        store.commit(curves={0: columns(first, min(first + 7, 50)), 1: columns(first, first)})
    assert all(same_bits(store.curves(0)[name], values) for name, values in columns(0, 50).items())
    assert store.curves(1) == {}


def test_records(store: Store) -> None:
    summary = {"final_loss": np.float32(0.5), "best": float("nan"), "worst": float("inf"), "none": None}
    state = RunState(
        status=Status.DIVERGED, reason="loss is nan at step 37 \udcff", steps=37, summary=summary
    )
    store.commit(states={1: state})
    assert [record.run for record in store.runs()] == [record.seed for record in store.runs()] == [0, 1, 2]
    record = store.run(1)
    assert record == store.runs()[1]
    assert record.config == {"optimizer": {"name": "Adam", "lr": 1e-3}}
    assert (record.status, record.steps) == (Status.DIVERGED, 37)
    assert record.reason == "loss is nan at step 37 \\udcff"
    assert record.summary == {"final_loss": 0.5, "best": None, "worst": None, "none": None}
    assert store.run(0).status is Status.RUNNING


def test_a_checkpoint_is_replaced_and_dropped(store: Store) -> None:
    assert store.checkpoint(0) is None
    for step in (1, 2):
        store.commit(checkpoints={0: Checkpoint({"p": np.full(3, step)}, {"step": step, "rng": [2**70]})})
    checkpoint = store.checkpoint(0)
    assert checkpoint is not None
    assert checkpoint.meta == {"step": 2, "rng": [2**70]}
    assert checkpoint.arrays["p"].tolist() == [2, 2, 2]
    store.commit(checkpoints={0: None})
    assert store.checkpoint(0) is None


def test_numpy_integers_are_integers(store: Store) -> None:
    one = np.int64(1)
    store.commit(
        curves={one: columns(0, 3)},  # type: ignore[dict-item]
        states={one: RunState(status=Status.COMPLETED, steps=one)},  # type: ignore[arg-type, dict-item]
        checkpoints={one: Checkpoint({"p": np.zeros(1)})},  # type: ignore[dict-item]
    )
    store.commit(curves={1: columns(3, 5)})
    assert store.curves(one)["step"].tolist() == [0, 1, 2, 3, 4]  # type: ignore[arg-type]
    assert store.run(1).steps == 1
    assert store.checkpoint(one) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("commit", "message"),
    [
        ({"curves": {0: columns(5, 9)}}, "goes on at step 5, but is stored up to step 9"),
        ({"curves": {0: columns(9, 12)}}, "goes on at step 9"),
        ({"curves": {0: {"step": [10], "loss": [1.0]}}}, "columns step, loss"),
        ({"curves": {1: {"loss": [1.0]}}}, "'step'"),
        ({"curves": {1: {"step": [0.5], "loss": [1.0]}}}, "increasing integers"),
        ({"curves": {1: {"step": [1, 1], "loss": [1.0, 2.0]}}}, "increasing integers"),
        ({"curves": {1: {"step": [1, 2], "loss": [1.0]}}}, "'loss' has the shape [1]"),
        ({"curves": {1: {"step": [1, 2], "loss": np.ones((2, 1))}}}, "'loss' has the shape [2, 1]"),
        ({"curves": {3: columns(0, 1)}}, "no run 3: the runs are 0 … 2"),
        ({"states": {-1: RunState(status=Status.RUNNING)}}, "no run -1"),
        ({"params": {0: {"w": np.array([object()])}}}, "object"),
        ({"params": {0: {"w": np.array(["text"])}}}, "<U4"),
        ({"params": {0: {"w": np.zeros(2, np.longdouble)}}}, "longdouble|float128"),
        ({"checkpoints": {0: Checkpoint({}, {"x": float("nan")})}}, "JSON"),
        ({"checkpoints": {0: Checkpoint({}, {"x": object()})}}, "JSON"),
    ],
)
def test_a_bad_commit_changes_nothing(store: Store, commit: dict[str, Any], message: str) -> None:
    store.commit(curves={0: columns(0, 10)}, checkpoints={0: Checkpoint({}, {"good": 1})})
    before = store.results_digest(), store.checkpoint(0), store.events()
    good = {"evaluations": {0: {"step": [0], "loss": [1.0]}}, "states": {0: RunState(status=Status.FAILED)}}
    with pytest.raises(StoreError) as caught:
        store.commit(**{"curves": {2: columns(0, 3)}, **good, **commit})
    assert any(part in str(caught.value) for part in message.split("|"))
    assert str(caught.value).startswith(str(store.path))
    assert before == (store.results_digest(), store.checkpoint(0), store.events())


def history(parent: Path, cuts: list[int], *, resume: bool) -> str:
    """Record 100 steps of two runs, committed at the cuts, and return the digest."""
    store = new_store(parent, runs=2)
    for first, last in zip([0, *cuts], [*cuts, 100], strict=True):
        final = last == 100
        state = RunState(status=Status.COMPLETED if final else Status.INTERRUPTED, steps=last)
        store.log("timing", seconds=float(last))
        store.commit(
            curves={0: columns(first, last), 1: columns(first, last)},
            evaluations={0: {"step": range(first, last, 10), "loss": np.zeros(len(range(first, last, 10)))}},
            states={0: state, 1: state},
            params={0: {"w": np.ones(3)}} if final else {},
            checkpoints={0: None if final else Checkpoint({"w": np.full(3, last)}, {"step": last})},
        )
        if resume and not final:
            store.close()
            store = Store.open(store.path, write=True)
    with store:
        return store.results_digest()


def test_the_digest_does_not_tell_how_a_run_was_executed(tmp_path: Path) -> None:
    digests = {
        history(tmp_path / str(index), cuts, resume=resume)
        for index, (cuts, resume) in enumerate(
            [([], False), ([10, 20, 50, 90], False), ([10, 20, 50, 90], True), ([30], True), ([50, 50], True)]
        )
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"curves": {0: {"step": [100], **{name: [0.0] for name in ("loss", "lr", "grad_norm")}}}},
        {"curves": {1: {"step": [0], "loss": [0.0]}}},
        {"evaluations": {0: {"step": [0], "loss": [0.0]}}},
        {"states": {0: RunState(status=Status.RUNNING, steps=1)}},
        {"states": {0: RunState(status=Status.RUNNING, summary={"loss": 0.5})}},
        {"params": {0: {"w": np.zeros(1)}}},
        {"params": {0: {"v": np.zeros(1)}}},
    ],
)
def test_the_digest_tells_every_result(store: Store, change: dict[str, Any]) -> None:
    store.commit(curves={0: columns(0, 10)})
    before = store.results_digest()
    store.commit(checkpoints={0: Checkpoint({})})
    assert store.results_digest() == before
    store.commit(**change)
    assert store.results_digest() != before


def test_events_and_environments(store: Store) -> None:
    store.log("timing", run=2, seconds=1.5)
    store.commit(states={0: RunState(status=Status.COMPLETED), 1: RunState(status=Status.RUNNING)})
    store.log("last words")
    store.close()
    with Store.open(store.path, write=True) as again:
        events = [(event.kind, event.run, event.attempt) for event in again.events()]
        assert events == [
            ("created", None, 0),
            ("timing", 2, 0),
            ("completed", 0, 0),
            ("last words", None, 0),
            ("resumed", None, 1),
        ]
        assert again.events()[1].details == {"seconds": 1.5}
        assert {"host", "pid", "argv"} == set(again.events()[0].details)
        first, second = again.environments()
        assert first["numpy"] == second["numpy"] == np.__version__


def test_reading_does_not_write(finished: Path) -> None:
    before = (finished / "results.sqlite").read_bytes()
    with Store.open(finished) as reader:
        reader.results_digest()
        with pytest.raises(StoreError, match="opened for reading only"):
            reader.commit(curves={0: columns(100, 101)})
    assert (finished / "results.sqlite").read_bytes() == before
    assert sorted(path.name for path in finished.iterdir()) == ["config.yaml", "results.sqlite"]


def test_a_run_that_has_ended_is_one_segment(store: Store) -> None:
    for first in range(0, 30, 10):
        store.commit(curves={0: columns(first, first + 10), 1: columns(first, first + 10)})
    store.commit(states={0: RunState(status=Status.EARLY_STOPPED, steps=30)})
    with sqlite3.connect(store.path / "results.sqlite") as db:
        counts = db.execute("SELECT run, count(*) FROM curves GROUP BY run ORDER BY run").fetchall()
    db.close()
    assert counts == [(0, 4), (1, 12)]


def test_many_runs_in_one_commit(tmp_path: Path) -> None:
    with new_store(tmp_path, runs=500) as store:
        store.commit(
            curves={run: columns(0, run % 3) for run in range(500)},
            states={run: RunState(status=Status.COMPLETED, steps=run) for run in range(500)},
        )
        assert [record.steps for record in store.runs()] == list(range(500))
        assert store.curves(499)["loss"].tolist() == [1.0]


def test_runs_are_added_as_if_they_had_been_there(tmp_path: Path) -> None:
    digests = []
    for first, more in ((5, 0), (2, 3)):
        with new_store(tmp_path, runs=first, status=Status.WAITING) as store:
            store.log("asked", settings=more)
            store.add([({"optimizer": {"name": "Adam", "lr": 1e-3}}, first + i) for i in range(more)])
            assert store.size == 5
            store.commit(curves={4: columns(0, 3)}, states={4: RunState(status=Status.COMPLETED, steps=3)})
            digests.append(store.results_digest())
        with Store.open(store.path) as reader:
            assert [record.seed for record in reader.runs()] == list(range(5))
            assert [event.kind for event in reader.events()].count("asked") == 1
            with pytest.raises(StoreError, match="opened for reading only"):
                reader.add([])
    assert digests[0] == digests[1]


def test_a_run_that_is_not_there_cannot_be_prolonged(store: Store) -> None:
    with pytest.raises(StoreError, match=f"^{re.escape(str(store.path))}: there is no run 7"):
        store.prolong(7, {}, None)


def test_runs_may_be_added_while_they_are_counted(store: Store) -> None:
    class Adding(sqlite3.Connection):
        def execute(self, *args: Any) -> sqlite3.Cursor:
            store.add([({}, 0)])
            return super().execute(*args)

    with closing(sqlite3.connect(store.path / "results.sqlite", factory=Adding)) as db:
        assert count_runs(db) == store.size == 4


def test_a_run_that_is_reset_is_as_if_it_had_never_begun(tmp_path: Path) -> None:
    with new_store(tmp_path, runs=2, status=Status.WAITING) as store:
        nothing = store.results_digest()
        store.commit(
            curves={1: columns(0, 3)},
            evaluations={1: columns(0, 2)},
            states={1: RunState(status=Status.FAILED, reason="no luck", steps=3, summary={"a": 1.0})},
            params={1: {"x": np.array([1.0])}},
            checkpoints={1: Checkpoint({"x": np.array([1.0])})},
        )
        store.reset([1])
        assert store.results_digest() == nothing
        assert store.checkpoint(1) is None
        assert [event.kind for event in store.events() if event.run == 1] == ["failed", "reset"]
        with pytest.raises(StoreError, match="there is no run 2"):
            store.reset([1, 2])


def test_parameters_are_replaced_and_dropped(store: Store) -> None:
    nothing = store.results_digest()
    for value in (1.0, 2.0):
        store.commit(params={0: {"x": np.array([value])}})
        assert store.params(0)["x"].tolist() == [value]
    store.commit(params={0: {}})
    assert store.params(0) == {}
    assert store.results_digest() == nothing


def test_seeds_are_64_bit(tmp_path: Path) -> None:
    with Store.create(tmp_path, "x", config_yaml="", runs=[({}, 2**63 - 1)]) as store:
        assert store.run(0).seed == 2**63 - 1
    with pytest.raises(StoreError, match="too large"):
        Store.create(tmp_path, "x", config_yaml="", runs=[({}, 2**63)])


def test_the_environment_is_json() -> None:
    found = environment()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found) == {"optrun", "python", "numpy", "numba", "platform", "cpu", "simd", "blas", "git"}
    assert found["blas"]


def test_the_processor_is_named_as_linux_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "processor\t: 0\nvendor_id\t: Made\nmodel name\t: Made 7: fast\nprocessor\t: 1\n"
    monkeypatch.setattr(fingerprint, "open", lambda *_, **__: StringIO(told), raising=False)
    assert fingerprint.cpu_model() == "Made 7: fast"


def test_the_environment_of_a_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert environment()["git"] is None


def git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "x")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "x")
    path = tmp_path / "repository"
    git("init", "-q", str(path))
    monkeypatch.chdir(path)
    (path / "file").write_text("a")
    git("add", "file")
    git("commit", "-q", "-m", "x")
    return path


def test_the_revision_is_what_git_says_it_is(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment()["git"] == {"sha": git("rev-parse", "HEAD")}
    git("pack-refs", "--all")
    (repository / "below").mkdir()
    monkeypatch.chdir(repository / "below")
    assert environment()["git"] == {"sha": git("rev-parse", "HEAD")}
    git("worktree", "add", "-q", "-b", "other", "../../worktree")
    monkeypatch.chdir(repository.parent / "worktree")
    assert environment()["git"] == {"sha": git("rev-parse", "HEAD")}
    git("commit", "-q", "--allow-empty", "-m", "y")
    assert environment()["git"] == {"sha": git("rev-parse", "HEAD")}
    git("checkout", "-q", "--detach")
    assert environment()["git"] == {"sha": git("rev-parse", "HEAD")}


def test_no_program_of_a_repository_is_run(repository: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for key in ("filter.x.clean", "core.fsmonitor", "core.sshCommand"):
        git("config", key, f"touch {canary}; cat")
    (repository / ".gitattributes").write_text("* filter=x\n")
    (repository / "file").write_text("b")
    assert environment()["git"] is not None
    assert not canary.exists()


@pytest.mark.parametrize(
    "head", [None, "", "abc", "ref: ../../secret", "ref: refs/heads/../../../secret", "ref: refs/heads/none"]
)
def test_a_repository_may_be_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str | None
) -> None:
    (tmp_path / "secret").write_text("0" * 40)
    (tmp_path / ".git").mkdir()
    if head is not None:
        (tmp_path / ".git" / "HEAD").write_text(head)
    monkeypatch.chdir(tmp_path)
    assert environment()["git"] == {"sha": None}


def test_what_may_change_bits_is_told_of_two_machines() -> None:
    here = environment()
    assert machine_changes(here, here) == {}
    other = here | {
        "numpy": "1.0",
        "simd": ["of another machine"],
        "git": None,
        "platform": here["platform"].replace(" ", " 0.0.1-", 1),
        "blas": [here["blas"][0] | {"architecture": "of another machine"}, {"internal_api": "mkl"}],
    }
    assert set(machine_changes(here, other)) == {"numpy", "simd", "blas"}
    assert machine_changes(here, other)["numpy"] == (here["numpy"], "1.0")
    # A library of another package, and what an older optrun did not note.
    more = [*here["blas"], {"internal_api": "mkl"}]
    assert machine_changes(here, {"numpy": here["numpy"], "blas": more}) == {}


def test_an_event_takes_the_place_of_none(store: Store) -> None:
    """Not where those of a run are gone that the plan has no more."""
    store.reset([1])
    store.commit(events={"data": {}})
    store.rearrange([({}, 0)], {0: 0}, {"plan": {}})
    assert [event.kind for event in store.events()] == ["created", "data", "plan"]


def test_settings_come_back_as_they_were(tmp_path: Path) -> None:
    odd: list[Any] = [1, 1.0, True, None, "1", {"name": "Adam", "lr": 1}, [0.5], -0.0, 0.0, np.pi]
    settings = [
        {"b": float(i), "a": odd[i % len(odd)]} if i % 7 else {"a": odd[i % len(odd)], "only": i}
        for i in range(5000)
    ]
    with Store.create(
        tmp_path, "s", config_yaml="", runs=[({}, 0)], settings=SettingColumns.of(settings)
    ) as store:
        found = store.settings(0, 5000)
        assert repr([*found]) == repr(settings)
        assert found == SettingColumns.of(settings)
        assert found != SettingColumns.of([*settings[:-1], {"b": -1.0, "a": 0.0}])
        assert (found.paths, found[4992:4994].paths) == (["a", "only", "b"], ["b", "a"])
        assert repr(found.distinct("a")) == repr([odd[0], *odd[1:]])
        assert found.distinct("only") == list(range(0, 5000, 7))
        assert found.values("only")[:8] == [0, *[MISSING] * 6, 7]
        with pytest.raises(StoreError, match="settings are lost"):
            store.settings(0, 5001)
        store.rearrange([({}, 1)], {}, {}, SettingColumns.of(settings[:70]))
        assert repr([*store.settings(0, 70)]) == repr(settings[:70])
    for number, (meta, arrays) in enumerate(
        [
            ({"paths": [["a", "nothing"], ["b"]]}, {}),
            ({"known": [["a", 7]]}, {}),
            ({"known": "a"}, {}),
            ({}, {"paths": np.array([2])}),
            ({}, {"values0": np.array([1 << 40])}),
        ]
    ):
        path = Path(shutil.copytree(store.path, tmp_path / f"copy{number}"))
        with closing(sqlite3.connect(path / "results.sqlite")) as db, db:
            ((kind, first, last, text, blob),) = verified.select(db, "blocks", "kind = 'settings'")
            blob = blobs.encode_npz(blobs.decode_npz(blob, kind) | arrays)
            verified.insert(db, "blocks", [(kind, first, last, json.dumps(json.loads(text) | meta), blob)])
        with Store.open(path) as damaged, pytest.raises(StoreError, match="settings of the runs 0 … 69"):
            damaged.settings(0, 70)
