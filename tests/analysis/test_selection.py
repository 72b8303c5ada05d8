"""The best setting of every problem and every optimizer."""

import pytest

from optrun.analysis.leaderboard import SweepPlan
from optrun.analysis.problem_labels import problem_labels
from optrun.analysis.selection import Cell, selections, value_at, varying_part
from optrun.errors import ConfigError
from optrun.store import RunRecord, Status

LOSSES = {
    ("SGD", 0.1): [3.0, 2.0],
    ("SGD", 1.0): [1.0, None],
    ("Adam", 0.1): [5.0, 4.0],
    ("Adam", 1.0): [4.0, 4.5],
}


def swept(losses, *, maximize=False, problem="quadratic", more=()):
    settings = [{"optimizer.name": name, "optimizer.lr": lr, **dict(more)} for name, lr in losses]
    runs = [
        RunRecord(
            run=number,
            seed=seed,
            config={"problem": {"name": problem}, "optimizer": {"name": name, "lr": lr}, "scheduler": None},
            status=Status.DIVERGED if loss is None else Status.COMPLETED,
            summary={} if loss is None else {"final_loss": loss},
        )
        for number, (name, lr, seed, loss) in enumerate(
            (name, lr, seed, loss) for (name, lr), of in losses.items() for seed, loss in enumerate(of)
        )
    ]
    return SweepPlan(settings, 2, "final_loss", maximize), runs


def test_the_best_setting_has_the_best_median_and_what_diverged_counts_as_the_worst():
    found = {each.cell.value: each for each in selections(*swept(LOSSES))}
    assert {value: each.standing.setting["optimizer.lr"] for value, each in found.items()} == {
        "SGD": 0.1,
        "Adam": 1.0,
    }
    assert len(found["SGD"].tried) == 2
    assert found["SGD"].index == 0
    best = {
        each.cell.value: each.standing.setting["optimizer.lr"]
        for each in selections(*swept(LOSSES, maximize=True))
    }
    assert best == {"SGD": 0.1, "Adam": 0.1}


def test_the_best_few_are_in_order():
    found = [each.index for each in selections(*swept(LOSSES), top=2) if each.cell.value == "Adam"]
    assert found == [3, 2]


def test_a_setting_without_a_result_is_not_selected():
    plan, runs = swept({("SGD", 0.1): [3.0, 2.0], ("Adam", 0.1): [1.0, 1.0]})
    runs[2:] = [RunRecord(run=run.run, seed=0, config=run.config, status=Status.FAILED) for run in runs[2:]]
    assert [each.cell.value for each in selections(plan, runs)] == ["SGD"]


@pytest.mark.parametrize(
    ("best", "edge"), [(0.001, ("optimizer.lr",)), (0.01, ()), (0.1, ()), (1.0, ("optimizer.lr",))]
)
def test_the_edge_of_a_space_is_its_lowest_or_highest_value(best, edge):
    rates = (0.001, 0.01, 0.1, 1.0)
    losses = {("SGD", rate): [float(rate != best)] * 2 for rate in rates}
    assert selections(*swept(losses), by="optimizer.name")[0].edge == edge


def test_no_momentum_is_no_edge():
    plan, runs = swept({("SGD", 0.0): [0.0, 0.0], ("SGD", 0.1): [1.0, 1.0], ("SGD", 0.2): [1.0, 1.0]})
    assert selections(plan, runs, by="optimizer.name")[0].edge == ()


def test_what_is_compared_has_to_be_said_where_it_is_not_clear():
    plan, runs = swept({("SGD", 0.1): [3.0, 2.0], ("SGD", 1.0): [1.0, 1.0]}, more={"steps": 5}.items())
    with pytest.raises(ConfigError, match=r"--by: optimizer\.name, optimizer\.lr, steps"):
        selections(plan, runs)
    with pytest.raises(ConfigError, match=r"optimizer\.beta1: no run of the sweep has it"):
        selections(plan, runs, by="optimizer.beta1")
    assert {each.cell for each in selections(plan, runs, by="optimizer.lr")} == {
        Cell("quadratic", "0.1"),
        Cell("quadratic", "1"),
    }


def test_problems_of_one_name_are_told_apart_but_not_by_how_batches_are_drawn():
    blocks = [
        {"name": "mlp", "data": "iris", "batch_size": 8},
        {"name": "mlp", "data": "iris", "batch_size": 16, "sampling": "replacement"},
        {"name": "mlp", "data": "wine"},
        {"name": "rosenbrock"},
    ]
    first, second, third, fourth = problem_labels([{"problem": block} for block in blocks])
    assert first == second == "mlp data=iris"
    assert third == "mlp data=wine"
    assert fourth == "rosenbrock"
    # An option at its default is not in the config.
    halves = [{"name": "mlp", "data": "iris", **more} for more in ({}, {"split": "stratified"})]
    assert problem_labels([{"problem": each} for each in halves]) == ["mlp default", "mlp split=stratified"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("optimizer", "Adam"),
        ("optimizer.lr", "0.1"),
        ("scheduler", None),
        ("a", "[2, 3]"),
        ("a.1", "3"),
        ("a.5", None),
    ],
)
def test_a_value_of_a_config_is_text(path, value):
    assert value_at({"optimizer": {"name": "Adam", "lr": 0.1}, "scheduler": None, "a": [2, 3]}, path) == value


def test_a_composed_optimizer_is_told_by_what_it_is_composed_of():
    lookahead = {"name": "Lookahead", "k": 5, "alpha": 0.25}  # k is the default
    muon = {
        "name": "Muon",
        "param_groups": [{"params": ["*.bias"], "name": "AdamW"}, {"params": ["w"]}],
        "gradient": [{"name": "ClipNorm", "max_norm": 1.0}],
        "wrap": [lookahead, {"name": "SAM"}],
    }
    assert value_at({"optimizer": muon}, "optimizer") == "Muon + ClipNorm + Lookahead + SAM + AdamW on *.bias"
    assert value_at({"optimizer": muon}, "optimizer.name") == "Muon"
    assert value_at({"optimizer": muon}, "optimizer.wrap") == "[Lookahead alpha=0.25, SAM]"


@pytest.mark.parametrize(
    ("optimizers", "part"),
    [
        ([{"name": "SGD"}, {"name": "SGD", "wrap": [{"name": "SAM"}]}], "optimizer"),
        ([{"name": "SGD"}, {"name": "Adam"}, {"name": "Adam", "wrap": [{"name": "SAM"}]}], "optimizer"),
        ([{"name": "SGD"}, {"name": "Adam", "wrap": [{"name": "SAM"}]}], "optimizer.name"),
        ([{"name": "SGD", "lr": 1}, {"name": "SGD", "lr": 2}], ""),
    ],
)
def test_what_is_compared_by_default_tells_compositions_apart(optimizers, part):
    assert varying_part([{"optimizer": each} for each in optimizers]) == part


def test_a_default_that_the_config_leaves_out_is_compared_by_its_value():
    settings = [{"problem.sampling": each, "optimizer.lr": 0.1} for each in ("shuffle", "replacement")]
    written = [{}, {"sampling": "replacement"}]
    runs = [
        RunRecord(
            run=run,
            seed=0,
            config={"problem": {"name": "mlp", **more}, "optimizer": {"name": "Adam", "lr": 0.1}},
            status=Status.COMPLETED,
            summary={"final_loss": 1.0},
        )
        for run, more in enumerate(written)
    ]
    plan = SweepPlan(settings, 1, "final_loss", False)
    for by, expected in (
        ("problem.sampling", ["shuffle", "replacement"]),
        ("optimizer.name, problem.sampling", ["Adam, shuffle", "Adam, replacement"]),
    ):
        assert [each.cell.value for each in selections(plan, runs, by)] == expected
