"""Maps: each pixel has the figure of its own run, what was made is not made again, and what is no map is refused."""

import numpy as np
import pytest

import optrun
from optrun.config import ConfigErrors
from optrun.config.map import load_map
from optrun.errors import ConfigError
from optrun.store import Status
from optrun.sweeps import maps
from optrun.sweeps.maps import MapPlan, draw_map

BASE = """
problem: {name: rosenbrock, start: [-1.2, 1.0]}
optimizer: {name: SGD, lr: 1e-3, momentum: 0.5}
steps: 30
stop: {target: 1.0}
"""
STARTS = "map: {x: {problem.start.0: {linspace: [-3, 3, 5]}}, y: {problem.start.1: {linspace: [-2, 3, 3]}}}"
CASES = {
    "starts": (BASE + STARTS, "final_loss"),
    "rate and momentum": (
        BASE + "map: {x: {optimizer.lr: {logspace: [1e-4, 1e-1, 4]}}, y: {optimizer.momentum: [0.0, 0.9]}}",
        "diverged_at",
    ),
    "rate and seed": (
        "problem: {name: beale, noise: 0.1}\noptimizer: SGD\nsteps: 20\n"
        "scheduler: {name: CosineAnnealingLR, T_max: 20}\n"
        "map: {x: {optimizer.lr: {logspace: [1e-4, 1e-1, 3]}}, y: {seed: {range: [0, 3]}}}",
        "final_loss",
    ),
    "groups of a network": (
        "problem: {name: mlp, data: iris, hidden: [3]}\nsteps: 5\n"
        "optimizer: {name: SGD, lr: 0.1, param_groups: [{params: ['*bias'], lr: 0.2}]}\n"
        "map: {x: {optimizer.lr: [0.1, 0.2]}, y: {optimizer.param_groups.0.lr: [0.01, 0.3]}}",
        "train_loss",
    ),
    "target": (BASE + STARTS, "steps_to_target"),
    "target after the last step": (
        BASE.replace("30", "1").replace("target: 1.0", "target: 20.0") + STARTS,
        "steps_to_target",
    ),
}


def plan_of(tmp_path, text, *overrides):
    path = tmp_path / "drawn.yaml"
    path.write_text(text, encoding="utf-8")
    return MapPlan(load_map(path, overrides))


@pytest.mark.parametrize(("text", "color"), CASES.values(), ids=CASES)
def test_a_pixel_is_its_run(text, color, tmp_path, monkeypatch):
    monkeypatch.setattr(maps, "lanes_of_packs", lambda pack: 4)
    plan = plan_of(tmp_path, text, f"map.color={color}")
    found = draw_map(plan, tmp_path / "drawn.npz")
    for (row, column), value in np.ndenumerate(found.value):
        at = [
            f"{plan.config.path('x')}={plan.x[column]!r}",
            f"{plan.config.path('y')}={plan.y[row]!r}",
            "map=null",
        ]
        run = optrun.run(tmp_path / "drawn.yaml", overrides=at, save=False)
        status = Status(run.status)
        assert found.where(status)[row, column]
        expected = None if status is Status.DIVERGED else run.summary.get(color)
        if color != "final_loss" and color != "train_loss":
            wanted = {"steps_to_target": Status.TARGET_REACHED, "diverged_at": Status.DIVERGED}[color]
            expected = run.steps if status is wanted else None
        np.testing.assert_equal(value, np.nan if expected is None else expected)


def test_what_was_made_is_not_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(maps, "lanes_of_packs", lambda pack: 4)
    plan, path = plan_of(tmp_path, BASE + STARTS), tmp_path / "drawn.npz"
    signals = []
    part = draw_map(plan, path, interrupted=lambda: bool(signals), observe=lambda *made: signals.append(made))
    assert signals == [(4, 15)]
    assert part.made == 4
    made = []
    whole = draw_map(plan, path, observe=lambda *each: made.append(each))
    assert made == [(8, 15), (12, 15), (15, 15)]
    np.testing.assert_array_equal(whole.value, draw_map(plan, tmp_path / "other.npz").value)
    draw_map(plan, path, observe=lambda *each: pytest.fail("nothing is left"))
    with pytest.raises(ConfigError, match="holds another map"):
        draw_map(plan_of(tmp_path, BASE + STARTS, "steps=31"), path)


X, Y = "map: {x: {problem.start.0: ", ", y: {optimizer.lr: [0.1, 0.2]}}"
REFUSED = {
    "no map": (BASE, "no map is here"),
    "drawn": (f"{X}{{uniform: [0, 1]}}}}{Y}", "map.x.problem.start.0.*uniform is drawn"),
    "words": (f"{X}[a, b]}}{Y}", "map.x.problem.start.0.*numbers alone"),
    "no lanes": ("map: {x: {problem.dim: [2, 3]}" + Y, "map.x.problem.dim.*no number in which the lanes"),
    "out of bounds": ("map: {x: {optimizer.momentum: [0.1, -1.0]}" + Y, "optimizer.momentum.*-1"),
    "twice the same": (
        "map: {x: {optimizer.lr: [0.3, 0.4]}" + Y,
        "map.x.optimizer.lr.*x and y set the same number",
    ),
    "no figure": (f"{X}[0.0, 1.0]}}{Y[:-1]}, color: accuracy}}", "map.color.*no figure 'accuracy'"),
    "no mapping": ("map: {x: 3" + Y, "map.x.*one path with its values"),
    "one axis": ("map: {x: {optimizer.lr: [0.1, 0.2]}}", "map.y: missing"),
    "unknown": (f"{X}[0.0, 1.0]}}{Y[:-1]}, colour: final_loss}}", "map.colour.*color"),
}


@pytest.mark.parametrize(("block", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_map_is_refused_at_its_place(block, said, tmp_path):
    text = block if block is BASE else BASE + block
    with pytest.raises(ConfigErrors, match=rf"(?s)drawn.yaml(:\d+)+: .*{said}"):
        plan_of(tmp_path, text)


def test_a_map_is_no_run_and_no_sweep(tmp_path):
    plan_of(tmp_path, BASE + STARTS)
    for load in (optrun.run, optrun.sweep):
        with pytest.raises(ConfigErrors, match="optrun map"):
            load(tmp_path / "drawn.yaml", overrides=["optimizer.lr=0.1,0.2"] if load is optrun.sweep else [])


class Opened:
    """What leaves a file where it is unpickled."""

    def __reduce__(self):
        return open, ("opened", "w")


def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path):
    plan, path = plan_of(tmp_path, BASE + STARTS), tmp_path / "drawn.npz"
    whole = draw_map(plan, path)
    with np.load(path) as held:
        arrays = dict(held)
    for name in ("identity", "value"):
        np.savez(path, **{**arrays, name: np.array([Opened()], object)})
        with pytest.raises(ConfigError, match=r"drawn\.npz: is no map, or damaged: name another"):
            draw_map(plan, path)
    assert not (tmp_path / "opened").exists()
    path.unlink()
    np.testing.assert_array_equal(draw_map(plan, path).value, whole.value)


@pytest.mark.parametrize("damage", ["text", "empty", "half", "flipped", "encrypted", "compressed"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, damage):
    plan, path = plan_of(tmp_path, BASE + STARTS), tmp_path / "drawn.npz"
    draw_map(plan, path)
    whole = path.read_bytes()
    flipped = whole.replace(plan.identity.encode("utf-32-le"), bytes(256))
    begin = whole.index(b"PK\1\2")  # of an entry of the directory, with flags and a kind of compression
    damaged = {
        "text": b"hello",
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "flipped": flipped,
        "encrypted": whole[: begin + 8] + b"\1" + whole[begin + 9 :],
        "compressed": whole[: begin + 10] + b"\x63" + whole[begin + 11 :],
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(ConfigError, match=r"drawn\.npz: is no map, or damaged: name another"):
        draw_map(plan, path)
    assert path.read_bytes() == damaged


def test_packs_of_data_end_soon_and_those_of_functions_are_wide(tmp_path):
    network = CASES["groups of a network"][0].replace("0.1, 0.2]", "0.1, 0.2, 0.3]")
    assert plan_of(tmp_path, network, "steps=100000").width == 16
    assert plan_of(tmp_path, network, "steps=8000").width == 131
    assert plan_of(tmp_path, BASE + STARTS, "steps=8000").width >= 4096
