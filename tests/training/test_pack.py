"""A lane of a pack is its solo run, to the bit: every problem and every optimizer."""

from dataclasses import asdict

import numpy as np
import pytest

from optrun.config import from_mapping
from optrun.errors import ConfigError
from optrun.registry import optimizers, problems
from optrun.selftest import examples
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer
from tests.kernels.engines import ON_EVERY_ENGINE
from tests.optim.samples import DTYPES, in_turn
from tests.oracles.rules import takes_vectors
from tests.pairs import pairs
from tests.problems.cases import CASES

SMALL = {
    "mlp": {"data": "iris", "hidden": [5], "batch_size": 16},
    "linear_regression": {"data": "diabetes", "batch_size": 32},
    "huber_regression": {"data": "diabetes", "batch_size": 32},
    "poisson_regression": {"data": "diabetes", "batch_size": 32},
    "logistic_regression": {"data": "breast_cancer", "batch_size": 32},
    "softmax_regression": {"data": "wine", "batch_size": 32},
    "quadratic": {"dim": 5, "noise": 0.1},
    "expression": {**examples.problem("expression"), "noise": 0.1},
}
WIDTHS = (2, 3, 8, 31, 257)


def configs(problem, optimizer, lanes, dtype="float64", steps=6, **more):
    """Configs that differ in seed, rate and, where the optimizer has it, decay."""
    decays = "weight_decay" in optimizers.find(optimizer).options()
    bias = {"bias": False} if not takes_vectors(optimizer) and "data" in SMALL.get(problem, {}) else {}
    return [
        from_mapping(
            {
                "problem": {"name": problem, **SMALL.get(problem, {"noise": 0.1}), **bias},
                "optimizer": {
                    "name": optimizer,
                    "lr": 1e-3 * (1 + lane % 5),
                    **({"weight_decay": 0.01 * (lane % 3)} if decays else {}),
                },
                "scheduler": {"name": "ExponentialLR", "gamma": 0.9 - 0.01 * (lane % 4)},
                "steps": steps,
                "seed": lane % 7,
                "dtype": dtype,
                "record": {"metrics": ["grad_norm", "update_norm", "param_norm"]},
                "evaluate": {"every": 2},
                **more,
            }
        )
        for lane in range(lanes)
    ]


def results(chosen):
    """Return everything that is stored of each run of a pack, as bytes."""
    memory = MemoryStore(chosen)
    Trainer(Pack(chosen), memory).run()
    return [
        {
            "state": asdict(memory.run(run)) | {"run": 0, "seconds": None},
            **{
                f"{kind}/{name}": np.ascontiguousarray(values).tobytes()
                for kind, of in (
                    ("curves", memory.curves(run)),
                    ("evaluations", memory.evaluations(run)),
                    ("params", memory.params(run)),
                )
                for name, values in of.items()
            },
        }
        for run in range(len(chosen))
    ]


@pytest.mark.full
@pytest.mark.parametrize(
    ("optimizer", "problem", "dtype"), in_turn(pairs(optimizers, problems, rounds=1), DTYPES)
)
def test_a_lane_is_its_solo_run(problem, optimizer, dtype):
    lanes = 9
    try:
        Pack(configs(problem, optimizer, lanes, dtype))
    except ConfigError as refused:  # L-BFGS has one lane, Muon takes matrices alone
        pytest.skip(str(refused))
    together = results(configs(problem, optimizer, lanes, dtype))
    for lane in (0, 4, 8):
        assert results(configs(problem, optimizer, lanes, dtype)[lane : lane + 1])[0] == together[lane]


PROBLEMS = sorted({name for name, _ in CASES})
ON_ENGINES = [("numpy", name) for name in PROBLEMS] + [("numba", name) for name in ("rosenbrock", "mlp")]


@pytest.mark.full
@pytest.mark.parametrize(
    ("engine", "problem", "dtype"),
    in_turn([case for case in ON_ENGINES if case[0] in ON_EVERY_ENGINE], DTYPES),
    indirect=["engine"],
)
def test_the_width_of_a_pack_and_the_place_in_it_change_no_bit(engine, problem, dtype):
    two = configs(problem, "Adam", 2, dtype)
    alone = [results([each])[0] for each in two]
    for width in WIDTHS:
        together = results([two[place % 3 % 2] for place in range(width)])
        for place, found in enumerate(together):
            assert found == alone[place % 3 % 2], (width, place)


@pytest.mark.parametrize("problem", ["rosenbrock", "mlp"])
def test_a_lane_that_diverges_leaves_the_others_alone(engine, problem):
    calm = configs(problem, "SGD", 3, steps=40)
    wild = from_mapping(calm[0].to_dict(), ["optimizer.lr=1e30"])
    together = results([calm[0], wild, calm[2]])
    assert together[1]["state"]["status"] == "diverged"
    assert together[1]["state"]["reason"].startswith("loss is ")
    assert together[1] == results([wild])[0]
    assert [together[0], together[2]] == [results([calm[0]])[0], results([calm[2]])[0]]


def test_lanes_end_each_at_its_own_step(engine):
    chosen = configs("rosenbrock", "Adam", 5, steps=60, stop={"target": 20.0})
    together = results(chosen)
    assert {each["state"]["status"] for each in together} >= {"target_reached"}
    assert len({each["state"]["steps"] for each in together}) > 2
    assert together == [results([each])[0] for each in chosen]


@pytest.mark.parametrize(
    "override",
    [
        "optimizer.maximize=true",
        "optimizer=Adam",
        "problem=beale",
        "steps=4",
        "dtype=float64",
        "stop={target: 1}",
        "scheduler={name: ConstantLR}",
        "optimizer.param_groups=[{params: x, lr: 1}]",
        "record.every=2",
    ],
)
def test_what_is_no_float_must_be_the_same_in_a_pack(override):
    first = from_mapping({"problem": "rosenbrock", "optimizer": "SGD", "steps": 3})
    with pytest.raises(ConfigError):
        Pack([first, from_mapping(first.to_dict(), [override])])


@pytest.mark.full
@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("checkpoint", [1, 4])
def test_a_lane_that_ends_where_it_is_evaluated_is_evaluated_once(every, checkpoint, monkeypatch):
    chosen = configs(
        "rosenbrock",
        "Adam",
        5,
        steps=60,
        stop={"target": 20.0},
        evaluate={"every": every},
        checkpoint={"every": checkpoint},
    )
    monkeypatch.setattr(MemoryStore, "resumable", True)
    together = results(chosen)
    assert together == [results([each])[0] for each in chosen]
    memory = MemoryStore(chosen)
    Trainer(Pack(chosen), memory).run()
    for lane in range(5):
        steps = memory.evaluations(lane)["step"]
        assert (np.diff(steps) > 0).all()
        assert steps[-1] == memory.run(lane).steps


def test_a_groups_parameters_lie_side_by_side():
    pack = Pack(
        [
            from_mapping(
                {
                    "problem": SMALL["mlp"] | {"name": "mlp"},
                    "optimizer": {
                        "name": "SGD",
                        "lr": 0.1,
                        "param_groups": [{"params": "*bias", "lr": 0.2}],
                    },
                    "steps": 2,
                }
            )
        ]
    )
    groups = [group["params"] for group in pack.optimizer.param_groups]
    assert groups == [
        [name for name in pack.problem.shapes if not name.endswith("bias")],
        [name for name in pack.problem.shapes if name.endswith("bias")],
    ]
    assert list(pack.params) == [*groups[0], *groups[1]]
    assert [group["lr"] for group in pack.optimizer.param_groups] == [0.1, 0.2]


def test_the_second_of_two_groups_of_a_parameter_is_told():
    groups = [{"params": "x"}, {"params": "*"}]
    config = from_mapping(
        {"problem": "rosenbrock", "optimizer": {"name": "SGD", "param_groups": groups}, "steps": 1}
    )
    with pytest.raises(ConfigError, match="SGD: 'x' is in two groups") as caught:
        Pack([config])
    assert caught.value.field == "optimizer.param_groups.1.params"


@pytest.mark.parametrize(
    ("name", "other", "place"), [("SGD", "LBFGS", "param_groups.0.name"), ("ASGD", "SGD", "name")]
)
def test_which_rule_has_to_be_alone_is_told_by_its_place(name, other, place):
    groups = [{"params": "x", "name": other, "gradient": ["Sign"]}]
    optimizer = {"name": name, "param_groups": groups, "lr": 0.1}
    config = from_mapping({"problem": "rosenbrock", "optimizer": optimizer, "steps": 1})
    with pytest.raises(ConfigError, match="goes with no other rule") as caught:
        Pack([config])
    assert caught.value.field == f"optimizer.{place}"
