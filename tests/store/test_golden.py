"""Stores that older versions wrote are read with their values, and gone on with, for ever.

Each directory in `golden` is named after the format version it has: an interrupted `run`, and a
`sweep` that was killed behind its first rung. They are never written anew.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.store import Status, Store
from optrun.store.check import faults

pytestmark = pytest.mark.filterwarnings("ignore:the last bits of results may differ")

GOLDEN = sorted(path.name for path in (Path(__file__).parent / "golden").iterdir())


@pytest.fixture(params=GOLDEN)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the stores of a format version, which may be written."""
    return Path(shutil.copytree(Path(__file__).parent / "golden" / request.param, tmp_path / "golden"))


def check_run(store: Store) -> None:
    """Check what is stored of the first 22 steps of the run."""
    curves, evaluations = store.curves(), store.evaluations()
    assert list(curves) == ["step", "loss", "lr", "grad_norm"]
    assert curves["step"][:11].tolist() == list(range(0, 22, 2))
    assert [curves[name][10] for name in curves] == [20, 4.6159515380859375, 0.01, 27.031940689216647]
    assert evaluations["step"][:3].tolist() == [0, 10, 20]
    assert evaluations["loss"][:3].tolist() == [24.20000648498535, 6.008182525634766, 4.6159515380859375]


def test_a_golden_run(golden: Path) -> None:
    path = golden / "run"
    before = (path / "results.sqlite").read_bytes()
    assert faults(path) == (1, [])
    with Store.open(path) as store:
        check_run(store)
        run, checkpoint = store.run(0), store.checkpoint()
        assert (run.status, run.steps, run.seed, run.summary) == (Status.INTERRUPTED, 22, 3, {})
        assert run.config["optimizer"]["lr"] == 0.01
        assert checkpoint is not None
        assert checkpoint.meta["step"] == 22
        params = np.array([[-1.0383224, 1.1606654]], np.float32)
        assert np.array_equal(checkpoint.arrays["params/x"], params)
        assert store.params() == {}
        assert [event.kind for event in store.events()] == ["created", "inferred", "interrupted", "left"]
        assert store.events()[0].details == {"host": "host", "pid": 1, "argv": ["optrun"]}
        assert [found["numpy"] for found in store.environments()] == ["2.4.6"]
    assert (path / "results.sqlite").read_bytes() == before
    resumed = optrun.resume(path)
    assert (resumed.status, resumed.steps) == (Status.COMPLETED, 40)
    assert resumed.curves["step"].tolist() == list(range(0, 40, 2))
    assert resumed.summary["final_loss"] == pytest.approx(4.25292444, rel=1e-5)
    with Store.open(path) as store:
        check_run(store)
    assert faults(path) == (1, [])


def test_a_golden_sweep(golden: Path) -> None:
    path = golden / "sweep"
    assert faults(path) == (6, [])
    sweep = optrun.load_sweep(path)
    assert [str(state.status) for state in sweep.states] == [
        *["running", "running"],
        *["pruned", "pruned"],
        *["diverged", "diverged"],
    ]
    figures = [0.38709723949432373, 0.38843926787376404, 2.13727068901062, 2.139479637145996]
    assert [state.summary["final_loss"] for state in sweep.states[:4]] == figures
    assert sweep.states[2].reason == "stopped at the rung of step 4: 2nd of 3"
    with Store.open(path) as store:
        assert store.curves(0)["loss"].tolist() == [
            *[3.238990068435669, 1.762717843055725],
            *[1.041535496711731, 0.6214421987533569],
        ]
        assert [store.checkpoint(run) is not None for run in range(6)] == [True, True, *[False] * 4]
        assert store.params(5)["x"].tolist() == [-23.495027542114258, -172.1552276611328, -99.79889678955078]
        assert [event.details for event in store.events("rung")] == [{"promoted": [0]}]
    done = optrun.sweep(path / "config.yaml", directory=path)
    assert [(str(state.status), state.steps) for state in done.states] == [
        *[("completed", 12), ("completed", 12)],
        *[("pruned", 4), ("pruned", 4)],
        *[("diverged", 1), ("diverged", 1)],
    ]
    assert [state.summary["final_loss"] for state in done.states[2:4]] == figures[2:]
    assert done.states[0].summary["final_loss"] == pytest.approx(0.01783980, rel=1e-4)
    assert faults(path) == (6, [])
