"""Leaps: many steps at once give the bits of single ones, whatever ends, is recorded or evaluated on the way."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest

import optrun
from optrun.config import from_mapping
from optrun.kernels import auto_engine
from optrun.kernels.numba import engine
from optrun.optim import Optimizer, group_update
from optrun.optim.rule import flags_of
from optrun.registry import optimizers
from optrun.selftest import examples
from optrun.sweeps.plan import width
from optrun.training import lane_tracker, trainer
from optrun.training.leaps import OF_RULE, Leaps, leaps_of
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer
from tests.kernels.engines import NEEDS_NUMBA, interpreted
from tests.optim.samples import in_turn
from tests.pairs import few_in_short

pytestmark = NEEDS_NUMBA

STEPS = 40


def adds_up(rule):
    """Whether an element's step depends on others."""
    flags = {name: option.default for name, option in rule.options().items() if not option.is_float}
    return bool(rule.program(flags_of(rule.__name__, flags)).reduced)


RULES = [
    name
    for name in optimizers
    if not (rule := optimizers.find(name)).per_tensor
    and not rule.needs_closure
    and not rule.needs_curvature
    and not rule.average
    and rule.step is Optimizer.step
    and not adds_up(rule)
]
FUNCTIONS = ("rosenbrock", "beale", "helical_valley", "ackley")


@pytest.fixture
def without_compiler(monkeypatch):
    monkeypatch.setattr(engine, "bound", interpreted)


def configs(optimizer="Adam", lanes=3, **more):
    options = {"lr": 0.02, **examples.optimizer(optimizer)}
    base = {
        "problem": {"name": "rosenbrock"},
        "scheduler": {"name": "CosineAnnealingLR", "T_max": STEPS - 7},
        "steps": STEPS,
        "engine": "numba",
    }
    return [
        from_mapping({**base, **more, "optimizer": {**options, "lr": options["lr"] * (1 + lane % 5)}})
        for lane in range(lanes)
    ]


QUADRATIC = {"name": "quadratic", "dim": 3, "start": [1.0, 2.0, 3.0]}
TEXT = {"name": "expression", "f": "a * x**2 + y**4", "start": {"x": 1.0, "y": 2.0}, "parameters": {"a": 1.5}}


def set_in(problem, name, value):
    name, _, index = name.partition(".")
    if not index:
        return {**problem, name: value}
    values = copy(problem[name])
    values[index if isinstance(values, dict) else int(index)] = value
    return {**problem, name: values}


def run(chosen):
    store = MemoryStore(chosen)
    store.resumable = True
    Trainer(Pack(chosen), store).run()
    return [everything(store, lane) for lane in range(len(chosen))]


def everything(store, lane):
    at_end = store.checkpoint(lane)
    arrays = at_end.arrays if at_end else {}
    kept = [store.curves(lane), store.evaluations(lane), store.params(lane), arrays]
    kept += [store.snapshot(lane, step) for step in store.snapshot_steps(lane)]
    state = replace(store.state(lane), seconds=None)
    return repr(state), [{name: np.asarray(of).tobytes() for name, of in each.items()} for each in kept]


def made(chosen, monkeypatch):
    """Return what is made with leaps, without, and the leaps."""
    leaps, make = [], Leaps.make

    def counted(self, *given):
        leaps.append(landing := make(self, *given))
        return landing

    with monkeypatch.context() as patch:
        patch.setattr(Leaps, "make", counted)
        one = run(chosen)
    with monkeypatch.context() as patch:
        patch.setattr(lane_tracker, "leaps_of", lambda pack: None)
        other = run(chosen)
    return one, other, leaps


def steps_of(leaps):
    return sum(each.steps for each in leaps)


CASES = in_turn([(rule,) for rule in RULES], FUNCTIONS, ("float32", "float64"), (3, 1))


@pytest.mark.parametrize(("rule", "function", "dtype", "lanes"), few_in_short(CASES, 4))
def test_a_leap_has_the_bits_of_its_steps(rule, function, dtype, lanes, monkeypatch, without_compiler):
    chosen = configs(rule, lanes, problem={"name": function}, dtype=dtype, checkpoint={"every": 30})
    one, other, leaps = made(chosen, monkeypatch)
    assert STEPS // 2 < steps_of(leaps) < STEPS
    assert one == other


@pytest.mark.full
@pytest.mark.parametrize(
    ("rule", "function", "dtype", "lanes"),
    [
        ("Adam", "rosenbrock", "float64", 1),
        ("Rprop", "helical_valley", "float64", 3),
        ("SGD", "ackley", "float32", 3),
    ],
)
def test_a_compiled_leap_has_the_bits_of_its_steps(rule, function, dtype, lanes, monkeypatch):
    chosen = configs(rule, 23 * lanes, problem={"name": function}, dtype=dtype, steps=300)
    one, other, leaps = made(chosen, monkeypatch)
    assert steps_of(leaps) > 150
    assert one == other


@pytest.mark.parametrize(
    ("rule", "threads", "more"),
    [
        ("SGD", 1, {"stop": {"divergence": 1e4}, "record": {"every": 3}}),
        ("Adam", 3, {"stop": {"target": 5.0}, "evaluate": {"every": 9}}),
        (
            "SGD",
            3,
            {
                "stop": {"divergence": {"factor": 100.0}},
                "record": {"params": [5, 20], "metrics": ["momentum"]},
            },
        ),
    ],
)
def test_lanes_end_at_their_steps(rule, threads, more, monkeypatch, without_compiler):
    init = engine.NumbaEngine.__init__
    monkeypatch.setattr(engine.NumbaEngine, "__init__", lambda self: init(self, threads, shared_steps=100))
    lanes = 67  # two blocks, the second of which is not full
    chosen = configs(rule, lanes, **more)
    if rule == "SGD":  # some of its coefficients are zero in some lanes
        chosen = configs(rule, lanes, problem={"name": "quadratic", "dim": 2}, **more)
        momentum = [{"lr": 5e-4 * (1 + lane), "momentum": 0.9 * (lane % 2)} for lane in range(lanes)]
        chosen = [
            from_mapping({**each.to_dict(), "optimizer": {"name": rule, **options}})
            for each, options in zip(chosen, momentum, strict=True)
        ]
    one, other, leaps = made(chosen, monkeypatch)
    assert len({end for leap in leaps for _, end in leap.ended}) > 2
    assert one == other


@pytest.mark.parametrize(
    ("problem", "name"),
    [(QUADRATIC, "start.0"), (QUADRATIC, "condition"), (TEXT, "start.y"), (TEXT, "parameters.a")],
)
def test_the_numbers_of_lanes_differ(problem, name, monkeypatch, without_compiler):
    given = [set_in(problem, name, 2.0 + lane) for lane in range(2)]
    chosen = [configs(problem=each)[0] for each in given]
    one, other, leaps = made(chosen, monkeypatch)
    assert len({repr(each) for each in one}) == 2
    assert steps_of(leaps) > STEPS // 2
    assert one == other


WARMUP = [{"name": "LinearLR", "total_iters": 9}, {"name": "CosineAnnealingLR", "T_max": 31}]
DIFFERING = {
    "optimizer.beta1": ("Adam", None, (0.5, 0.9, 0.0)),
    "optimizer.beta2": ("NAdam", None, (0.5, 0.99, 0.9)),
    "optimizer.eps": ("NAdam", "CosineAnnealingLR", (1e-8, 1e-3, 0.1)),
    "optimizer.weight_decay": ("AdamW", "CosineAnnealingLR", (0.1, 0.0, 0.2)),
    "optimizer.momentum": (
        "SGD",
        {"name": "OneCycleLR", "max_lr": 1e-4, "total_steps": STEPS},
        (0.5, 0.9, 0.0),
    ),
    "scheduler.gamma": ("Adam", {"name": "ExponentialLR"}, (0.9, 0.99, 1.0)),
    "scheduler.eta_min": ("RAdam", {"name": "CosineAnnealingLR", "T_max": 20}, (1e-3, 0.0, 1e-4)),
    "optimizer.lr": (
        "Adam",
        {"name": "SequentialLR", "schedulers": WARMUP, "milestones": [9]},
        (0.1, 0.2, 0.3),
    ),
}


CARRIED = {"optimizer.momentum_decay": ("NAdam", None, (0.1, 0.01, 0.0))}
"""In what is carried from step to step, so that it stays a table."""


def differing(path, dtype, lanes, steps, rates=7):
    """Return configs of lanes that differ in their rate, of which there are so many, and in another number."""
    rule, schedule, values = {**DIFFERING, **CARRIED}[path]
    schedule = {"name": schedule, "T_max": steps} if isinstance(schedule, str) else schedule
    part, name = path.split(".")
    given = {"problem": "rosenbrock", "steps": steps, "engine": "numba", "dtype": dtype}
    given |= {"evaluate": {"every": 17}, **({"scheduler": schedule} if schedule else {})}
    for lane in range(lanes):
        chosen = {**given, "optimizer": {"name": rule, "lr": 1e-3 * (1 + lane % rates)}}
        yield from_mapping({**chosen, part: {**chosen[part], name: values[lane % 3]}})


@pytest.mark.parametrize("rates", [7, 1])
@pytest.mark.parametrize(("path", "dtype"), in_turn(zip({**DIFFERING, **CARRIED}), ("float32", "float64")))
def test_what_differs_from_lane_to_lane_is_computed_in_the_loop(
    path, dtype, rates, monkeypatch, without_compiler
):
    monkeypatch.setattr(group_update, "chunk_length", lambda lanes: 2)
    monkeypatch.setattr(trainer, "REPORT_SECONDS", np.inf)
    one, other, leaps = made([*differing(path, dtype, 6, STEPS, rates)], monkeypatch)
    assert one == other
    assert steps_of(leaps) == STEPS - 4  # the first one, the last one, and those of two evaluations
    assert (len(leaps) <= 5) == (path in DIFFERING)  # many steps each, although tables have two rows


@pytest.mark.parametrize(("lanes", "lr"), [(2, 0.02), (3, 1e-300)])
def test_rates_whose_table_is_made_already_are_looked_up(lanes, lr, monkeypatch, without_compiler):
    optimizer = {"name": "SGD", "lr": lr}
    given = [{**optimizer, "lr": lr * (1 + lane)} for lane in range(lanes)]
    chosen = [
        from_mapping({**each.to_dict(), "optimizer": of})
        for each, of in zip(configs(lanes=lanes), given, strict=True)
    ]
    one, other, _ = made(chosen, monkeypatch)
    assert one == other


@pytest.mark.full
@pytest.mark.parametrize("path", ["optimizer.weight_decay", "scheduler.gamma"])
def test_what_a_compiled_loop_computes_has_the_bits_of_tables(path, monkeypatch):
    one, other, leaps = made([*differing(path, "float32", 150, 300)], monkeypatch)
    assert one == other
    assert steps_of(leaps) > 200


@pytest.mark.parametrize("length", [20, 1000])
def test_a_coefficient_that_is_zero_at_a_step_is_looked_at_there(length):
    pack = Pack(configs("SGD", scheduler={"name": "CosineAnnealingLR", "T_max": length}))
    pack.look_far(STEPS)
    made = pack.optimizer.stretch(STEPS)
    assert made.steps == STEPS
    assert any(each.op == "nonzero" for each in made.rule.instructions) == (length < STEPS)


def test_it_leaps_where_there_was_and_will_be_work_enough(monkeypatch, without_compiler):
    chosen = configs(engine="auto")
    work = (len(Pack(chosen).problem.elements.listing.instructions) + 2 * OF_RULE) * (3 + auto_engine.CALL)
    monkeypatch.setattr(auto_engine, "_work", auto_engine.Counter())
    monkeypatch.setattr(auto_engine, "THRESHOLD", (STEPS + 10) * work)
    before, _, leaps = made(chosen, monkeypatch)
    assert not leaps
    then, other, leaps = made(chosen, monkeypatch)
    assert steps_of(leaps) == STEPS - 2  # the first and the last one are made by themselves
    assert before == then == other


@pytest.mark.parametrize("share", [3.5, 2.5])
def test_the_first_pack_of_a_sweep_leaps_where_all_of_them_are_work_enough(
    share, monkeypatch, without_compiler
):
    config = configs(engine="auto", lanes=1)[0].to_dict()
    work = (len(Pack(configs()).problem.elements.listing.instructions) + 2 * OF_RULE) * (1 + auto_engine.CALL)
    monkeypatch.setattr(auto_engine, "_work", auto_engine.Counter())
    monkeypatch.setattr(auto_engine, "THRESHOLD", share * STEPS * work)
    monkeypatch.setattr(width, "most_lanes", lambda steps: 1)
    leapt, make = [], Leaps.make

    def noted(self, *given):
        leapt.append(float(self._pack.optimizer.param_groups[0]["initial_lr"]))
        return make(self, *given)

    monkeypatch.setattr(Leaps, "make", noted)
    rates = [0.01, 0.02, 0.03]
    optrun.sweep({**config, "sweep": {"parameters": {"optimizer.lr": rates}}}, save=False)
    assert leapt == (rates if share < 3 else [])


@pytest.mark.parametrize(
    "more",
    [
        {"engine": "numpy"},
        {"problem": {"name": "rosenbrock", "noise": 0.1}},
        {"problem": {"name": "quadratic", "rotation": True}},
        {"problem": {"name": "rosenbrock", "dim": 17}},
        {"average": {"name": "EMA"}},
        {"optimizer": "ASGD"},
        {"optimizer": "Adafactor"},
        {"optimizer": "LBFGS", "lanes": 1},
        {"scheduler": {"name": "ReduceLROnPlateau"}},
        {"record": {"metrics": ["grad_norm"]}},
        {"stop": {"patience": 5}},
    ],
    ids=str,
)
def test_what_every_step_has_to_observe_makes_no_leaps(more):
    assert leaps_of(Pack(configs(**more))) is None
    assert leaps_of(Pack(configs())) is not None
