"""Sweeps give the same bits however they are executed, lose nothing, and do nothing twice."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

import optrun
from optrun.analysis.summaries import summary_of
from optrun.api import sweeps
from optrun.config import from_mapping
from optrun.config.sweep.resolve import load_sweep, sweep_from_mapping
from optrun.errors import ConfigError, StoreError
from optrun.plugins import load_plugin
from optrun.registry import optimizers
from optrun.store import Store
from optrun.sweeps.plan import packs, width
from optrun.sweeps.plan.expand import expand
from optrun.sweeps.plan.packs import divided, pack_key
from optrun.sweeps.plan.width import l2_bytes
from optrun.sweeps.workers import dispatch, task
from optrun.sweeps.workers.task import Work
from tests.sweeps.support import digest_of, prepared

STUDY = {
    "name": "study",
    "problem": {"name": "softmax_regression", "data": "iris", "batch_size": 32},
    "optimizer": {"name": "Adam"},
    "steps": 12,
    "evaluate": {"every": 5},
    "sweep": {
        "parameters": {
            "optimizer.name": ["Adam", "SGD", "LBFGS"],
            "optimizer.lr": [0.01, 0.1, 1e6],
            "scheduler": [None, {"name": "ExponentialLR", "gamma": 0.9}],
        },
        "repeats": 2,
    },
}
# Fails where lr is 2, takes its process with it where lr is 3.
PLUGIN = """
import os
import numpy as np
from optrun.optim import SGD

class Moody(SGD):
    def step(self, closure=None):
        lrs = np.ravel(self.param_groups[0]["lr"])
        if 2.0 in lrs:
            raise RuntimeError("no rate of 2")
        if 3.0 in lrs:
            os._exit(7)
        return super().step(closure)
"""


def moody(rates, tmp_path):
    (tmp_path / "moody.py").write_text(PLUGIN)
    load_plugin(str(tmp_path / "moody.py"))
    base = {"problem": "quadratic", "optimizer": "Moody", "steps": 5}
    return base | {"sweep": {"parameters": {"optimizer.lr": rates}}}


@pytest.fixture
def forget():
    yield
    optimizers._classes.pop("moody", None)
    optimizers._names.pop("moody", None)


@pytest.mark.full
def test_results_are_the_same_whatever_the_jobs_and_the_widths(tmp_path):
    plan, groups = prepared(STUDY)
    digests = {
        name: digest_of(sweeps.sweep_plan(plan, groups, directory=tmp_path / name, **how))
        for name, how in {
            "one": {},
            "two": {"jobs": 2},
            "alone": {"lanes": 1},
            "three": {"lanes": 3},
            "two_by_five": {"jobs": 2, "lanes": 5},
        }.items()
    }
    assert len(set(digests.values())) == 1


@pytest.mark.full
def test_every_run_is_the_run_alone(tmp_path):
    sweep = optrun.sweep(STUDY)
    assert len(sweep.runs) == 36
    for run, config in zip(sweep.runs, sweep.configs, strict=True):
        alone = optrun.run(config, save=False)
        assert (run.status, run.reason, run.steps) == (alone.status, alone.reason, alone.steps)
        assert (run.config, run.summary) == (alone.config, alone.summary)
        for mine, other in (
            (run.curves, alone.curves),
            (run.evaluations, alone.evaluations),
            (run.params, alone.params),
        ):
            assert list(mine) == list(other)
            assert all(np.ascontiguousarray(mine[name]).tobytes() == other[name].tobytes() for name in mine)


@pytest.mark.full
def test_what_is_not_saved_is_the_same(tmp_path):
    saved, kept = optrun.sweep(STUDY), optrun.sweep(STUDY, save=False)
    assert kept.path is None
    assert kept.table() == saved.table()
    assert [run.summary for run in kept.runs] == [run.summary for run in saved.runs]
    assert kept.runs[-1].config == saved.runs[-1].config
    assert [run.steps for run in saved.runs[3:5]] == [run.steps for run in kept.runs[3:5]]


def test_packs_differ_in_floats_and_seeds_alone():
    plan, groups = prepared(STUDY)
    assert [len(group.runs) for group in groups] == [6] * 6
    assert {group.width for group in groups if plan.configs[group.runs[0]].optimizer.name == "LBFGS"} == {1}
    for pack in divided(groups, range(36), jobs=2):
        assert len({pack_key(plan.documents[run]) for run in pack}) == 1
    widths = [len(pack) for pack in divided(groups, range(36), jobs=1, limit=4)]
    assert set(widths) == {1, 3}
    assert sorted(run for pack in divided(groups, range(36), jobs=1, limit=4) for run in pack) == list(
        range(36)
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"seed": 1}, {"seed": 2}, True),
        ({"optimizer": {"name": "Adam", "lr": 0.1}}, {"optimizer": {"name": "Adam", "eps": 0.1}}, True),
        ({"optimizer": "Adam"}, {"optimizer": {"name": "Adam", "amsgrad": True}}, False),
        ({"optimizer": "Adam"}, {"optimizer": "SGD"}, False),
        ({"problem": {"name": "quadratic", "noise": 0.1}}, {"problem": "quadratic"}, True),
        ({"problem": {"name": "quadratic", "dim": 3}}, {"problem": "quadratic"}, False),
        ({"stop": {"target": 1.0}}, {"stop": {"target": 2.0}}, False),
        (
            {"scheduler": {"name": "StepLR", "step_size": 2}},
            {"scheduler": {"name": "StepLR", "step_size": 3}},
            False,
        ),
        (
            {"scheduler": {"name": "StepLR", "step_size": 2, "gamma": 0.5}},
            {"scheduler": {"name": "StepLR", "step_size": 2}},
            True,
        ),
    ],
)
def test_the_key_of_a_pack(one, other, same):
    base = {"problem": "quadratic", "optimizer": "SGD", "steps": 3}
    keys = [pack_key(from_mapping(base | each).to_dict()) for each in (one, other)]
    assert (keys[0] == keys[1]) is same


def test_the_width_follows_the_cache_and_the_rows(monkeypatch):
    small = {"problem": "quadratic", "optimizer": "Adam", "steps": 5, "sweep": {"repeats": 3}}
    networks = [
        small | {"problem": {"name": "mlp", "data": "digits", "hidden": hidden}}
        for hidden in ([32], [64, 64], [4096])
    ]
    monkeypatch.setattr(width, "l2_bytes", lambda: 1 << 20)
    tiny = small | {"problem": "rosenbrock"}
    widths = [
        prepared(tiny | {"steps": steps, "record": {"every": steps}})[1][0].width
        for steps in (5, 10_000, 90_000)
    ]
    assert widths == [16_384, (1 << 27) // 10_000, 4096]
    # Parameters and gradients of 4 bytes: 19,280; 71,760, of which a few exceed the cache; 2,457,680.
    assert [prepared(network)[1][0].width for network in networks] == [54, 16, 6]
    assert prepared(small | {"steps": 1_000_000})[1][0].width == (1 << 27) // 24_000_000
    assert l2_bytes() > 0


@pytest.mark.parametrize(
    ("settings", "repeats", "width", "jobs", "widths"),
    [
        (64, 4, 27, 2, [20] * 8 + [24] * 4),
        (5, 3, 7, 1, [6, 6, 3]),
        (1, 100, 8192, 2, [50, 50]),
        (10_000, 1, 8192, 2, [5000] * 2),
        (10_000, 1, 4096, 2, [2500] * 4),
        (3, 1, 8192, 4, [1, 1, 1]),
        (2, 40, 16, 1, [16] * 5),
    ],
)
def test_packs_are_even_and_of_whole_settings_where_there_are_many(settings, repeats, width, jobs, widths):
    runs = range(settings * repeats)
    group = packs.Group(runs, width, repeats, work=1)
    parts = [list(part) for part in divided([group], runs, jobs)]
    assert sorted(parts) == [list(runs[part[0] : part[-1] + 1]) for part in sorted(parts)]
    assert sorted(run for part in parts for run in part) == list(runs)
    assert sorted(map(len, parts)) == sorted(widths)
    assert max(map(len, parts)) <= width
    assert divided([group], [], jobs) == []


@pytest.mark.parametrize(
    ("work", "is_on_device", "jobs"), [(1, False, 1), (10**12, False, 3), (10**12, True, 1)]
)
def test_there_is_one_process_for_each_core_but_for_little_work_or_on_a_device(
    work, is_on_device, jobs, monkeypatch
):
    monkeypatch.setattr(packs, "cores", lambda: 3)
    group = packs.Group(range(8), 4, 1, work // 2, is_on_device=is_on_device)
    assert packs.jobs_for([group, group]) == jobs


@pytest.mark.full
def test_a_summary_that_a_kill_left_behind_is_brought_up_to_date(monkeypatch):
    whole = optrun.sweep(STUDY, directory="whole").path / "summary.csv"
    found = optrun.sweep(STUDY, directory="d", limit=2).path / "summary.csv"
    stale = found.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(sweeps, "summarise", killed)
        with pytest.raises(KeyboardInterrupt):
            optrun.sweep(STUDY, directory="d")
    assert found.read_text() == stale != whole.read_text()
    optrun.sweep(STUDY, directory="d")
    assert found.read_text() == whole.read_text()
    written = found.stat()
    optrun.sweep(STUDY, directory="d")
    assert (found.stat().st_ino, found.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)


def killed(*_):
    raise KeyboardInterrupt


@pytest.mark.full
def test_the_same_sweep_again_executes_nothing_and_another_one_has_its_own_place():
    seen = []
    first = optrun.sweep(STUDY)
    again = optrun.sweep(STUDY, observe=seen.append)
    assert again.path == first.path
    assert not seen
    other = optrun.sweep(STUDY, overrides=["steps=11"])
    assert other.path != first.path
    with pytest.raises(StoreError, match="holds other runs than this sweep: name another directory"):
        optrun.sweep(STUDY, overrides=["steps=11"], directory=first.path)


@pytest.mark.full
def test_a_limit_leaves_the_rest_to_the_same_sweep():
    whole = digest_of(optrun.sweep(STUDY, directory="whole"))
    progress = []
    optrun.sweep(STUDY, limit=4)
    part = optrun.sweep(STUDY, limit=6, observe=progress.append)
    assert (progress[0].of_runs, progress[-1].runs) == (10, 10)
    assert sum(state.status.final for state in part.states) == 10
    assert {str(state.status) for state in part.states if not state.status.final} == {"waiting"}
    progress = []
    rest = optrun.sweep(STUDY, observe=progress.append)
    assert (progress[0].runs, progress[-1].runs, progress[-1].executed) == (10, 36, 26)
    assert digest_of(rest) == whole


@pytest.mark.full
def test_a_budget_of_time_leaves_the_rest_to_the_same_sweep():
    whole = digest_of(optrun.sweep(STUDY, directory="whole"))
    part = optrun.sweep(STUDY, budget=0.0)
    assert part.signal is None
    assert {str(state.status) for state in part.states} == {"waiting"}
    assert summary_of(part.path).status == "waiting"
    assert digest_of(optrun.sweep(STUDY, budget="1h")) == whole


@pytest.mark.full
def test_an_interruption_keeps_the_packs_that_are_finished():
    whole = digest_of(optrun.sweep(STUDY, directory="whole"))
    plan, groups = prepared(STUDY)

    seen = []

    def interrupt(progress):
        # Once: a second Ctrl-C ends the sweep where it is.
        if progress.packs == 4 and not seen:
            seen.append(progress)
            signal.raise_signal(signal.SIGINT)

    part = sweeps.sweep_plan(plan, groups, lanes=3, observe=interrupt)
    assert part.signal == signal.SIGINT
    assert sum(state.status.final for state in part.states) == 12
    assert {str(state.status) for state in part.states if not state.status.final} == {"waiting"}
    assert digest_of(optrun.sweep(STUDY)) == whole


@pytest.mark.full
def test_an_interruption_ends_the_workers():
    plan, groups = prepared(STUDY)
    seen = []

    def interrupt(progress):
        if progress.packs == 1 and not seen:
            seen.append(progress)
            signal.raise_signal(signal.SIGTERM)

    part = sweeps.sweep_plan(plan, groups, jobs=2, lanes=1, observe=interrupt)
    assert part.signal == signal.SIGTERM
    assert 1 <= sum(state.status.final for state in part.states) < 36


@pytest.mark.full
def test_a_killed_sweep_goes_on(monkeypatch):
    whole = digest_of(optrun.sweep(STUDY, directory="whole"))
    plan, groups = prepared(STUDY)

    def killed(progress):
        if progress.packs == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweeps.sweep_plan(plan, groups, lanes=3, observe=killed)
    progress = []
    assert digest_of(optrun.sweep(STUDY, observe=progress.append)) == whole
    assert progress[0].runs == 9


@pytest.mark.full
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.usefixtures("forget")
def test_a_run_that_raises_has_failed_and_the_others_are_complete(jobs, tmp_path):
    data = moody([0.001, 2.0, 0.003, 0.004, 0.005], tmp_path)
    sweep = optrun.sweep(data, jobs=jobs, plugins=[str(tmp_path / "moody.py")])
    assert [str(state.status) for state in sweep.states] == ["completed", "failed", *["completed"] * 3]
    assert "no rate of 2" in sweep.states[1].reason
    with pytest.raises(optrun.errors.RunFailedError) as alone:
        optrun.run(sweep.configs[1], save=False)
    assert str(alone.value) == sweep.states[1].reason
    best = optrun.run(sweep.configs[4], save=False)
    assert sweep.runs[4].curves["loss"].tobytes() == best.curves["loss"].tobytes()
    assert sweep.table()[-1]["failed"] == 1


@pytest.mark.full
@pytest.mark.usefixtures("forget")
def test_a_run_that_kills_its_process_has_failed_and_the_others_are_complete(tmp_path, monkeypatch):
    monkeypatch.setattr(dispatch, "DEATHS", 1)
    data = moody([0.001, 0.002, 3.0, 0.004], tmp_path)
    sweep = optrun.sweep(data, jobs=2, plugins=[str(tmp_path / "moody.py")])
    assert [str(state.status) for state in sweep.states] == ["completed", "completed", "failed", "completed"]
    assert sweep.states[2].reason == "its process died, 1 times"


def test_memory_that_runs_out_splits_the_pack(monkeypatch):
    configs = [
        from_mapping({"problem": "quadratic", "optimizer": "SGD", "steps": 3, "seed": i}) for i in range(5)
    ]
    built, real = [], task.Pack

    def pack(chosen):
        built.append(len(chosen))
        if len(chosen) > 2:
            raise MemoryError
        return real(chosen)

    monkeypatch.setattr(task, "Pack", pack)
    results = Work(configs).execute(lambda: False)
    assert [str(result.state.status) for result in results] == ["completed"] * 5
    assert built == [5, 2, 3, 1, 2]


def test_diverged_runs_are_counted_and_never_win():
    data = {
        "problem": "quadratic",
        "optimizer": "SGD",
        "steps": 200,
        "sweep": {"parameters": {"optimizer.lr": [1e3, 1e-3, 1e-2]}, "repeats": 3},
    }
    table = optrun.sweep(data, save=False).table()
    assert [row["setting"]["optimizer.lr"] for row in table] == [1e-2, 1e-3, 1e3]
    assert [row["diverged"] for row in table] == [0, 0, 3]
    assert table[-1]["median"] is None


def test_the_table_has_the_median_and_the_quartiles():
    data = STUDY | {"sweep": {"parameters": {"optimizer.lr": [0.01, 0.1]}, "repeats": 5}}
    data["sweep"]["metric"] = {"name": "test_accuracy", "goal": "maximize"}
    sweep = optrun.sweep(data, save=False)
    rows = sweep.table()
    assert rows[0]["median"] >= rows[1]["median"]
    for row in rows:
        figures = [sweep.runs[row["first"] + i].summary["test_accuracy"] for i in range(5)]
        assert [row["lower"], row["median"], row["upper"]] == np.percentile(figures, [25, 50, 75]).tolist()


def test_what_cannot_be_built_or_ranked_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(
        ConfigError, match="sweep.metric.name: softmax_regression has no figure 'test_acuracy'.*Did you"
    ):
        optrun.sweep(STUDY | {"sweep": STUDY["sweep"] | {"metric": {"name": "test_acuracy"}}})
    with pytest.raises(ConfigError, match="^<config>: optimizer.param_groups.0.params: "):
        optrun.sweep(STUDY | {"optimizer": {"param_groups": [{"params": "nothing", "lr": 0.1}]}})
    with pytest.raises(ConfigError, match="not saved has no directory"):
        optrun.sweep(STUDY, save=False, directory="here")
    assert not (tmp_path / "runs").exists()


def test_a_sweep_says_how_far_it_is():
    assert repr(optrun.sweep(STUDY, limit=3)).endswith("3 of 36 runs>")


@pytest.mark.full
def test_the_plan_of_a_sweep_is_stored_once():
    path = optrun.sweep(STUDY, limit=3).path
    optrun.sweep(STUDY)
    with Store.open(path) as store:
        plans = [event.details for event in store.events() if event.kind == "plan"]
    assert len(plans) == 1
    assert plans[0]["repeats"] == 2
    assert json.dumps(plans[0]["settings"][0]) == json.dumps(
        {"optimizer.name": "Adam", "optimizer.lr": 0.01, "scheduler": None}
    )
    assert expand(load_sweep(path / "config.yaml")).digest == expand(sweep_from_mapping(STUDY)).digest


@pytest.mark.full
@pytest.mark.parametrize("save", [True, False])
def test_a_script_that_workers_cannot_import_is_told_so(save, tmp_path):
    data = {"problem": "quadratic", "optimizer": "SGD", "steps": 2, "sweep": {"repeats": 4}}
    (tmp_path / "script.py").write_text(f"import optrun\noptrun.sweep({data}, jobs=2, save={save})\n")
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True)
    assert done.returncode == 1
    # What multiprocessing says of the workers' semaphores may come after it.
    said = "optrun.errors.RunFailedError: no worker process could start: "
    assert [line for line in done.stderr.splitlines() if line.startswith(said)]
