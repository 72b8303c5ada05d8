"""The shipped configs and classes, and what reading them costs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import optrun
from optrun import registry
from optrun.config import ConfigErrors, from_mapping, load, parse, unmet
from optrun.config.map import is_map, load_map
from optrun.config.sweep.resolve import is_sweep
from optrun.sweeps.maps import MapPlan

SHIPPED = sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml"))
SWEEPS = [path for path in SHIPPED if is_sweep(path)]
MAPS = [path for path in SHIPPED if is_map(path)]
CONFIGS = [path for path in SHIPPED if path not in (*SWEEPS, *MAPS)]
SECTIONS = {
    "problem": registry.problems,
    "optimizer": registry.optimizers,
    "scheduler": registry.schedulers,
    "average": registry.averages,
}
CLASSES = [(section, name) for section, classes in SECTIONS.items() for name in classes]
SMALL: dict[str, Any] = {"problem": "rosenbrock", "optimizer": "SGD", "steps": 1}
FEWER = {"crowded_valley": ["sweep.trials=26", "sweep.confirm.seeds=2", "steps=60"]}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_is_valid_and_reads_back(path: Path) -> None:
    config = load(path)
    assert parse(config.to_yaml()) == config


@pytest.mark.parametrize("path", MAPS, ids=lambda path: path.stem)
def test_a_shipped_map_says_its_idea_and_is_valid(path: Path) -> None:
    assert path.read_text().startswith("# ")
    plan = MapPlan(load_map(path))
    assert len(plan.x) * len(plan.y) >= 64 * 64


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_says_its_idea_and_runs_to_what_it_expects(path: Path) -> None:
    assert path.read_text().startswith("# ")
    config = load(path)
    run = optrun.run(config, save=False)
    assert run.status in ("completed", "target_reached")
    assert not unmet(config.expect, run.summary)
    assert run.summary["final_loss"] < run.curves["loss"][0] / 2


@pytest.mark.full
@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_shipped_sweep_says_its_idea_and_ranks_its_settings(path: Path) -> None:
    assert path.read_text().startswith("# ")
    sweep = optrun.sweep(path, save=False, overrides=FEWER.get(path.stem, ()))
    assert all(state.status in ("completed", "diverged", "pruned") for state in sweep.states)
    table = sweep.table()
    for problem in {row["problem"] for row in table}:
        own = [row for row in table if row["problem"] == problem]
        best, worst = own[0], [row for row in own if row["median"] is not None][-1]
        assert best["diverged"] == 0
        assert (best["median"] > worst["median"]) == (sweep.metric.goal == "maximize")


@pytest.mark.parametrize(("section", "name"), CLASSES)
def test_every_registered_class_can_be_said(section: str, name: str) -> None:
    options = SECTIONS[section].find(name).options()
    required = [option.name for option in options.values() if option.required]
    if required:
        with pytest.raises(ConfigErrors) as caught:
            from_mapping({**SMALL, section: name})
        assert [issue.path for issue in caught.value.issues] == [f"{section}.{option}" for option in required]
        assert {issue.message for issue in caught.value.issues} == {"missing"}
        return
    config = from_mapping({**SMALL, section: name.lower()})
    component = getattr(config, section)
    assert component.name == name
    assert list(component.options) == [
        option.name for option in options.values() if not option.marks(registry.Added)
    ]
    assert json.loads(json.dumps(config.to_dict(), allow_nan=False)) == config.to_dict()
    assert parse(config.to_yaml()) == config


@pytest.mark.parametrize(("section", "name"), CLASSES)
def test_every_float_refuses_what_is_no_finite_number(section: str, name: str) -> None:
    options = SECTIONS[section].find(name).options()
    for option in (option for option in options.values() if option.is_float):
        for bad in (True, "1", float("nan"), float("inf"), [1.0], None):
            with pytest.raises(ConfigErrors) as caught:
                from_mapping({**SMALL, section: {"name": name, option.name: bad}})
            assert any(issue.path == f"{section}.{option.name}" for issue in caught.value.issues)


def test_importing_it_imports_no_optimizers_schedulers_or_problems() -> None:
    code = (
        "import sys, optrun.config\n"
        "heavy = ('numpy', 'optrun.optim', 'optrun.schedulers', 'optrun.problems', 'optrun.kernels')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
