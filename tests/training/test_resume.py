"""A run that was interrupted or killed and resumed ends with the bytes of one that was not."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.config import from_mapping
from optrun.errors import ConfigError, RunFailedError, StateError
from optrun.optim import SGD
from optrun.registry import optimizers
from optrun.store import Checkpoint, Status, Store
from optrun.training.checkpoints import Meta
from optrun.training.interrupt import interruptible
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer
from tests.cli.looking import read_until_progress
from tests.kernels.engines import NEEDS_NUMBA
from tests.oracles.rules import takes_vectors
from tests.pairs import few_in_short

KILLS = int(os.environ.get("OPTRUN_TESTS_KILLS", "2"))

STEPS = 60
STOPS = [0, 1, 13, 14, 35, STEPS - 1]


def config(optimizer="Adam", **more):
    has_groups = optimizers.find(optimizer).batched
    bias = takes_vectors(optimizer)
    groups = [{"params": "*bias" if bias else "layer2*", "lr": 0.02}] if has_groups else []
    return from_mapping(
        {
            "name": "resumed",
            "problem": {"name": "mlp", "data": "iris", "hidden": [4], "batch_size": 32, "bias": bias},
            "optimizer": {"name": optimizer, "lr": 0.01, "param_groups": groups},
            "scheduler": {"name": "CosineAnnealingLR", "T_max": STEPS},
            "steps": STEPS,
            "record": {"every": 2, "metrics": ["grad_norm", "update_norm"]},
            "evaluate": {"every": 7},
            "stop": {"patience": 1000, "divergence": None},
            **more,
        }
    )


def create(chosen, directory):
    return Store.create(
        Path(), "x", directory=directory, config_yaml=chosen.to_yaml(), runs=[(chosen.to_dict(), chosen.seed)]
    )


def digest(directory):
    with Store.open(directory) as store:
        return store.results_digest()


@pytest.mark.parametrize(
    ("engine", "optimizer", "checkpoint", "stops"),
    [
        ("numpy", "Adam", "1h", STOPS),
        pytest.param("numba", "Adam", 5, STOPS, marks=NEEDS_NUMBA),
        # That the state of every optimizer goes on to the same bits is a contract of its own.
        *few_in_short(
            zip(
                itertools.repeat("numpy"),
                optimizers,
                itertools.cycle(("1h", 5)),
                itertools.cycle([[13], [35], [14]]),
            ),
            8,
        ),
    ],
    indirect=["engine"],
)
def test_interrupted_at_any_step_and_resumed_is_uninterrupted(engine, optimizer, checkpoint, stops, tmp_path):
    chosen = config(optimizer, checkpoint={"every": checkpoint})
    whole = optrun.run(chosen, directory=tmp_path / "whole")
    assert whole.status is Status.COMPLETED
    for stop in stops:
        directory = tmp_path / f"stop-{stop}"
        calls = iter(range(STEPS))
        with create(chosen, directory) as store:
            Trainer(Pack([chosen]), store, interrupted=lambda: next(calls) == stop).run()  # noqa: B023
        assert (optrun.load_run(directory).status, optrun.load_run(directory).steps) == (
            Status.INTERRUPTED,
            stop,
        )
        resumed = optrun.resume(directory)
        assert digest(directory) == digest(tmp_path / "whole")
        assert (directory / "metrics.csv").read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()
        assert resumed.curves["step"].tolist() == list(range(0, STEPS, 2))


def test_killed_before_the_first_checkpoint_starts_anew(engine, tmp_path):
    chosen = config()
    create(chosen, tmp_path / "killed").close()
    optrun.resume(tmp_path / "killed")
    optrun.run(chosen, directory=tmp_path / "whole")
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")


def test_patience_counts_across_an_interruption(engine, tmp_path):
    chosen = from_mapping(
        {
            "problem": "rosenbrock",
            "optimizer": {"name": "SGD", "lr": 0.0},
            "steps": 100,
            "stop": {"patience": 20},
        }
    )
    whole = optrun.run(chosen, directory=tmp_path / "whole")
    assert (whole.status, whole.steps) == (Status.EARLY_STOPPED, 20)
    calls = iter(range(100))
    with create(chosen, tmp_path / "stopped") as store:
        Trainer(Pack([chosen]), store, interrupted=lambda: next(calls) == 15).run()
    assert optrun.resume(tmp_path / "stopped").steps == 20
    assert digest(tmp_path / "stopped") == digest(tmp_path / "whole")


def test_a_run_that_has_ended_is_returned_as_it_is(tmp_path):
    optrun.run(config(), directory=tmp_path / "run")
    before = digest(tmp_path / "run")
    (tmp_path / "run" / "metrics.csv").unlink()  # as after a kill before it was written
    assert optrun.resume(tmp_path / "run").status is Status.COMPLETED
    assert digest(tmp_path / "run") == before
    assert (tmp_path / "run" / "metrics.csv").exists()


@pytest.mark.full
@pytest.mark.parametrize("optimizer", ["Adam", "ASGD", "LBFGS"])
def test_interrupted_again_before_the_first_step_loses_nothing(optimizer, tmp_path):
    chosen = config(optimizer)
    optrun.run(chosen, directory=tmp_path / "whole")
    calls = iter(range(STEPS))
    with create(chosen, tmp_path / "run") as store:
        Trainer(Pack([chosen]), store, interrupted=lambda: next(calls) == 20).run()
    for _ in range(3):
        with Store.open(tmp_path / "run", write=True) as store:
            trainer = Trainer(Pack([chosen]), store, interrupted=lambda: True)
            trainer.resume([store.checkpoint()])
            trainer.run()
    optrun.resume(tmp_path / "run")
    assert digest(tmp_path / "run") == digest(tmp_path / "whole")


def spoiled(checkpoint, **changes):
    arrays, meta = dict(checkpoint.arrays), {**checkpoint.meta}
    for name, value in changes.items():
        if name == "drop":
            arrays.pop(value)
        elif name == "array":
            arrays.update(value)
        else:
            meta[name] = value
    return Checkpoint(arrays, meta)


@pytest.mark.parametrize(
    "changes",
    [
        {"step": 10**6},
        {"step": -1},
        {"step": "3"},
        {"seconds": None},
        {"pack": {}},
        {"pack": {"optimizer": "SGD", "steps": {}, "scheduler": None}},
        {"stopping": {"best": [], "best_at": []}},
        {"more": 1},
        {"drop": "params/layer1.bias"},
        {"drop": "state/exp_avg/layer1.bias"},
        {"array": {"params/zz": np.zeros(1)}},
        {"array": {"params/layer1.bias": np.zeros((1, 1))}},
        {"array": {"state/exp_avg/layer1.bias": np.zeros((1, 1))}},
        {"array": {"state/zz/layer1.bias": np.zeros((1, 4))}},
        {"array": {"zz": np.zeros(1)}},
    ],
    ids=str,
)
def test_a_damaged_checkpoint_is_refused(changes, tmp_path):
    chosen = config()
    calls = iter(range(STEPS))
    with create(chosen, tmp_path / "run") as store:
        Trainer(Pack([chosen]), store, interrupted=lambda: next(calls) == 20).run()
        with pytest.raises(StateError):
            Trainer(Pack([chosen]), store).resume([spoiled(store.checkpoint(), **changes)])


def test_the_seconds_of_an_older_checkpoint_are_not_taken_for_its_own():
    pack = {"problem": "quadratic", "optimizer": "SGD", "steps": {}, "schedulers": []}
    older = {"step": 1, "seconds": 0.5, "pack": pack, "stopping": {"best": [], "best_at": []}}
    assert not Meta.model_validate(older).alone


def test_a_failed_run_keeps_its_rows_and_names_the_step(tmp_path, monkeypatch):
    from optrun.problems import Beale

    steps = iter(range(100))

    def failing(self, params, grads, batch):
        if next(steps) == 30:
            raise RuntimeError("a fault")
        return loss_and_grad(self, params, grads, batch)

    loss_and_grad = Beale.loss_and_grad
    monkeypatch.setattr(Beale, "loss_and_grad", failing)
    with pytest.raises(
        RunFailedError, match=r"RuntimeError: a fault \(.*test_resume\.py:\d+, after step 29\)"
    ):
        optrun.run({"problem": "beale", "optimizer": "SGD", "steps": 50}, directory=tmp_path / "run")
    run = optrun.load_run(tmp_path / "run")
    assert (run.status, run.curves["step"].tolist()) == (Status.FAILED, list(range(30)))
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 31


@pytest.mark.full
def test_killed_at_random_instants_and_resumed_is_uninterrupted(tmp_path):
    """SIGKILL at any moment, from the start of Python to the end of the run."""
    chosen = config(steps=6000, checkpoint={"every": 97})
    file = tmp_path / "killed.yaml"
    file.write_text(chosen.to_yaml())

    def command(*arguments):
        return [sys.executable, "-m", "optrun", *map(str, arguments)]

    began = time.monotonic()
    subprocess.run(command("run", file, "-q", "-o", tmp_path / "whole"), check=True, capture_output=True)
    seconds = time.monotonic() - began
    draws = random.Random(0)
    for trial in range(KILLS):
        directory = tmp_path / f"trial-{trial}"
        for attempt in range(3):
            verb = ["resume", directory] if directory.exists() else ["run", file, "-o", directory]
            process = subprocess.Popen(
                command(*verb, "-q"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            try:
                process.communicate(timeout=draws.uniform(0, seconds) if attempt < 2 else None)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
            else:
                break
        assert digest(directory) == digest(tmp_path / "whole"), trial


@pytest.mark.full
@pytest.mark.parametrize(("number", "code"), [("INT", 130), ("TERM", 143), ("HUP", 129), ("USR1", 138)])
def test_a_signal_checkpoints_and_names_the_resume_command(number, code, tmp_path):
    chosen = config(steps=10**7)
    (tmp_path / "long.yaml").write_text(chosen.to_yaml())
    process = subprocess.Popen(
        [sys.executable, "-m", "optrun", "run", "long.yaml", "-o", "runs/long"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    read_until_progress(process)
    process.send_signal(signal.Signals[f"SIG{number}"])
    out, errors = process.communicate()
    assert process.returncode == code
    assert "optrun resume runs/long" in errors
    run = optrun.load_run(tmp_path / "runs" / "long")
    assert run.status is Status.INTERRUPTED
    assert "interrupted after" in out
    np.testing.assert_array_equal(run.curves["step"], np.arange(0, run.steps, 2))


def test_a_terminal_that_is_gone_may_say_so_twice():
    before = signal.getsignal(signal.SIGHUP)
    with interruptible() as interruption:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert interruption.signal == signal.SIGHUP
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGHUP) is before


@pytest.mark.parametrize(("steps", "refused"), [(1001, False), (1002, True), (200_000, True)])
def test_a_schedule_that_falls_below_zero_is_refused_before_the_run_if_it_comes_to_that(steps, refused):
    config = {
        "problem": "beale",
        "optimizer": {"name": "SGD", "lr": 1e-6},
        "scheduler": {"name": "LambdaLR", "lr_lambda": "1 - t / 1000"},
        "steps": steps,
    }
    if not refused:
        assert optrun.run(config, save=False).status is Status.COMPLETED
        return
    with pytest.raises(
        ConfigError, match=r"lr must be ≥ 0 and finite \(got -9.99.*e-10 at step 1001\)"
    ) as error:
        optrun.run(config, save=False)
    assert error.value.field == "scheduler"


def test_a_run_that_raises_once_it_is_resumed_says_after_which_step(tmp_path, monkeypatch):
    config = {"problem": "rosenbrock", "optimizer": {"name": "SGD", "lr": 1e-3}, "steps": 7}
    done = optrun.run(config, directory=tmp_path / "run")

    def step(*_):
        raise ValueError("no")

    monkeypatch.setattr(SGD, "step", step)
    with pytest.raises(RunFailedError, match="after step 7"):
        optrun.resume(done.path, steps=9)
    assert optrun.load_run(done.path).steps == 7
