"""A sweep block says what it means, and every mistake in it has its place before anything runs."""

from pathlib import Path

import pytest

from optrun.config import ConfigErrors, from_mapping, load, parse
from optrun.config.data_paths import swept_paths
from optrun.config.sweep.model import Metric
from optrun.config.sweep.resolve import load_sweep, sweep_from_mapping, swept
from optrun.config.yaml.reader import read
from optrun.config.yaml.writer import to_yaml
from optrun.sweeps.plan.expand import expand

BASE = {"problem": "rosenbrock", "optimizer": "Adam", "steps": 10}
TEXT = """\
problem: rosenbrock
optimizer: {name: Adam}
steps: 10
sweep:
"""

# Each issue's place is marked with ▸ in the text, in the order of the issues.
MISTAKES = {
    "  zip: [▸[1, 2]]": [
        "zip.0: must be a mapping such as {optimizer.lr: [1e-3, 1e-2], steps: [200, 100]} (got [1, 2])"
    ],
    "  include: ▸3": ["sweep.include: must be a list (got 3), such as [{optimizer.lr: 1e-3, steps: 100}]"],
    "  parameters: {zip: ▸[1, 2]}": ["parameters.zip: zip stands beside parameters, not among them"],
    "  parameters: {zip: ▸{optimizer.lr: [1, 2], steps: [1, 2]}}": [
        "parameters.zip: zip stands beside parameters, not among them"
    ],
    "  parameters: {optimizer.lr: ▸[]}": ["parameters.optimizer.lr: is empty: a parameter needs values"],
    "  parameters: {optimizer.lr: [1, 2, ▸1]}": ["parameters.optimizer.lr.2: 1 is listed twice"],
    "  parameters: {optimizer.lr: ▸3}": [
        "parameters.optimizer.lr: must be a list of values, or such as {logspace: [1e-4, 1, 5]} (got 3)"
    ],
    "  parameters: {optimizer.lr: {▸linspce: [0, 1, 3]}}": [
        "parameters.optimizer.lr.linspce: unknown key. Did you mean 'linspace'?"
    ],
    "  parameters:\n    optimizer: {▸lr: [1, 2]}\n    optimizer.eps: ▸range(0,5)"
    "\n    optimizer.beta1: ▸{min: 0.1, max: 0.9}"
    "\n    optimizer.beta2: ▸{values: [0.5, 0.9]}\n    optimizer.weight_decay: ▸np.geomspace(1e-4, 1, 5)": [
        "parameters.optimizer.lr: is no way to vary a value: parameters are paths, so write optimizer.lr: [...]",
        "parameters.optimizer.eps: is written {range: [0,5]}",
        "parameters.optimizer.beta1: is written {uniform: [0.1, 0.9]} or {loguniform: [0.1, 0.9]}, or spaced "
        "{linspace: [0.1, 0.9, 5]}",
        "parameters.optimizer.beta2: a list stands by itself: [0.5, 0.9]",
        "parameters.optimizer.weight_decay: is written {logspace: [1e-4, 1, 5]}",
    ],
    "  parameters: {optimizer.lr: {linspace: ▸[0, 1]}}": [
        "parameters.optimizer.lr.linspace: must be [first, last, count] (got 2 values)"
    ],
    "  parameters: {optimizer.lr: {linspace: [0, ▸one, 3]}}": [
        "parameters.optimizer.lr.linspace.1: must be a number (got 'one')"
    ],
    "  parameters: {steps: {range: [0, ▸.inf]}}": ["parameters.steps.range.1: must be an integer (got .inf)"],
    "  parameters: {steps: {range: [0, ▸100000000000000000000]}}": [
        "parameters.steps.range.1: must be < 2⁶³ (got a whole number of 67 bits)"
    ],
    "  parameters: {optimizer.lr: {linspace: [0, 1, ▸2.5]}}": [
        "parameters.optimizer.lr.linspace.2: must be a number of values, 1 or more (got 2.5)"
    ],
    "  parameters: {optimizer.lr: {linspace: [0, 1, ▸1e9]}}": [
        "parameters.optimizer.lr.linspace.2: more than 1,000,000 values"
    ],
    "  parameters: {optimizer.lr: {logspace: [▸0, 1, 3]}}": [
        "parameters.optimizer.lr.logspace.0: must be > 0 (got 0.0): the ends are values, and 0 has no logarithm"
    ],
    "  parameters: {steps: {range: ▸[5, 5]}}": ["parameters.steps.range: has no values: stop is left out"],
    "  parameters: {steps: {range: [1, 9, ▸0]}}": ["parameters.steps.range.2: a step of 0 leads nowhere"],
    "  method: random\n  trials: 3\n  parameters: {optimizer.lr: {loguniform: [▸0, 1]}}": [
        "parameters.optimizer.lr.loguniform.0: must be > 0 (got 0.0): the ends are values, and 0 has no logarithm"
    ],
    "  method: random\n  trials: 3\n  parameters: {optimizer.lr: {uniform: [1, ▸0.5]}}": [
        "parameters.optimizer.lr.uniform.1: must be > 1.0, where it begins (got 0.5)"
    ],
    "  method: random\n  trials: 3\n  parameters: {steps: {int: [1, ▸2.5]}}": [
        "parameters.steps.int.1: must be an integer (got 2.5)"
    ],
    "  method: random\n  trials: 3\n  parameters: {optimizer.lr: {normal: [1, ▸0]}}": [
        "parameters.optimizer.lr.normal.1: must be > 0 (got 0.0)"
    ],
    "  method: random\n  trials: 3\n  parameters: {optimizer.lr: {normal: [1, 1, 2, ▸2]}}": [
        "parameters.optimizer.lr.normal.3: must be > 2.0, the least value (got 2.0)"
    ],
    "  method: random\n  trials: 3\n  parameters: {optimizer.lr: {normal: [1, 1, ▸8, 9]}}": [
        "parameters.optimizer.lr.normal.2: hardly any value lies between 8.0 and 9.0"
    ],
    "  parameters: {optimizer.lr: {loguniform: ▸[1, 2]}}": [
        "parameters.optimizer.lr.loguniform: is drawn at random: add 'method: random' and 'trials', "
        "or space its values: linspace, logspace, range"
    ],
    "  method: ▸random\n  parameters: {optimizer.lr: [1, 2]}": [
        "method: how many settings are drawn? Give trials"
    ],
    "  trials: ▸3\n  parameters: {optimizer.lr: [1, 2]}": [
        "trials: grid draws nothing: add 'method: random', or leave trials out"
    ],
    "  zip: [{optimizer.lr: [1, 2], optimizer.eps: ▸[1]}]": [
        "zip.0.optimizer.eps: has 1 value, and optimizer.lr, which it is paired with, 2"
    ],
    "  parameters: {optimizer.lr: [1]}\n  zip: [{optimizer.lr: ▸[1, 2]}]": [
        "zip.0.optimizer.lr: is swept already: choose one"
    ],
    "  parameters: {▸optimizer.lrr: [1, 2]}": ["optimizer.lrr: unknown key. Did you mean 'lr'?"],
    "  parameters: {▸lr: [1, 2]}\n  ▸repeets: 2": [
        "lr: unknown key. Did you mean 'optimizer.lr'?",
        "sweep.repeets: unknown key. Did you mean 'repeats'?",
    ],
    "  parameters: {optimizer.lr: [1]}\n  ▸seeds: 2": ["sweep.seeds: unknown key. Did you mean 'repeats'?"],
    "  parameters: {▸optimiser: [Adam]}": ["optimiser: unknown key. Did you mean 'optimizer'?"],
    "  parameters: {optimizer.lr: [1, ▸-1, ▸x]}": [
        "optimizer.lr: must be ≥ 0 (got -1)",
        "optimizer.lr: must be a number (got 'x')",
    ],
    "  parameters: {▸steps.more: [1]}": ["steps.more: steps is 10, which has no 'more'"],
    "  parameters: {▸optimizer.param_groups.0.lr: [1]}": [
        "optimizer.param_groups.0.lr: optimizer.param_groups is not set"
    ],
    "  parameters: {seed: ▸[1, 2]}": [
        "parameters.seed: seeds are not compared but repeated: give repeats, such as 'repeats: 5', "
        "or seed=0,1 on the command line"
    ],
    "  parameters: {name: ▸[a, b]}": ["parameters.name: is one for all runs of a sweep"],
    "  parameters: {optimizer.lr: [1, 2]}\n  exclude: [{optimizer.lr: 1}, ▸{optimizer.lr: 3}]": [
        "exclude.1: leaves nothing out: no setting has these values"
    ],
    "  parameters: {optimizer.lr: [1, 2]}\n  exclude: [{optimizer.l: ▸1}]": [
        "exclude.0.optimizer.l: is not swept. Did you mean 'optimizer.lr'?"
    ],
    "  parameters: {optimizer.lr: [1]}\n  exclude: ▸[{optimizer.lr: 1}]": [
        "exclude: leaves nothing: there is no run"
    ],
    "  parameters: {optimizer.lr: [1]}\n  include: [{▸optimizer.bata1: 1}]": [
        "optimizer.bata1: unknown key. Did you mean 'beta1'?"
    ],
    "  parameters: {optimizer.lr: [1, 2]}\n  confirm: {by: ▸optimizer.name, ▸tops: 2, top: ▸0, seeds: ▸1}": [
        "confirm.by: is not swept. Did you mean 'optimizer.lr'?",
        "confirm.tops: unknown key. Did you mean 'top'?",
        "confirm.top: must be ≥ 1 (got 0)",
        "confirm.seeds: must be ≥ 2 (got 1)",
    ],
    "  parameters: {optimizer.lr: [1, 2]}\n  confirm: {by: ▸seed}": [
        "confirm.by: is not swept. Swept: optimizer.lr"
    ],
    "  parameters: {optimizer.lr: [1, 2]}\n  confirm: ▸5": [
        "confirm: must be a mapping (got 5); it is written {seeds: 5}"
    ],
    "  spaces: ▸[]": ["spaces: is empty: give each space its parameters, or leave spaces out"],
    "  spaces: [{parameters: {optimizer.lr: [1]}}, ▸{}]": ["spaces.1: is a space without parameters"],
    "  spaces: [▸{parameters: {}}]": ["spaces.0: is a space without parameters"],
    "  spaces: [{▸paramaters: {optimizer.lr: [1]}}]": [
        "spaces.0.paramaters: unknown key. Did you mean 'parameters'?"
    ],
    "  spaces: [{parameters: {optimizer.lr: ▸[]}}]": [
        "spaces.0.parameters.optimizer.lr: is empty: a parameter needs values"
    ],
    "  spaces: [{parameters: {optimizer.lr: [1, ▸-1]}}]": ["optimizer.lr: must be ≥ 0 (got -1)"],
    "  spaces: [{parameters: {▸optimizer.lrr: [1]}}]": ["optimizer.lrr: unknown key. Did you mean 'lr'?"],
    "  spaces: [{parameters: {▸optimizer.param_groups.0.lr: [1]}}]": [
        "optimizer.param_groups.0.lr: optimizer.param_groups is not set"
    ],
    "  spaces: [{zip: [{optimizer.lr: [1, 2], optimizer.eps: ▸[1]}]}]": [
        "spaces.0.zip.0.optimizer.eps: has 1 value, and optimizer.lr, which it is paired with, 2"
    ],
    "  parameters: {optimizer.lr: [1]}\n  spaces: [{parameters: {optimizer.lr: ▸[2]}}]": [
        "spaces.0.parameters.optimizer.lr: is swept already: choose one"
    ],
    "  spaces: [{parameters: {optimizer.lr: {loguniform: ▸[1, 2]}}}]": [
        "spaces.0.parameters.optimizer.lr.loguniform: is drawn at random: add 'method: random' and 'trials', "
        "or space its values: linspace, logspace, range"
    ],
    "  spaces: [{parameters: {optimizer.lr: [1, 2]}, exclude: [▸{optimizer.lr: 3}]}]": [
        "spaces.0.exclude.0: leaves nothing out: no setting has these values"
    ],
    "  spaces: [{parameters: {optimizer.lr: [1, 2]}, exclude: [{steps: ▸3}]}, {parameters: {steps: [3]}}]": [
        "spaces.0.exclude.0.steps: is not swept."
    ],
    "  spaces: [{parameters: {name: ▸[a, b]}}]": ["spaces.0.parameters.name: is one for all runs of a sweep"],
    "  method: random\n  trials: 2\n  spaces: [{parameters: {steps: [1, 2]}, trials: ▸3}]": [
        "spaces.0.trials: there are trials beside the spaces, which are divided among them: choose one"
    ],
    "  method: random\n  spaces: [{parameters: {steps: [1]}, trials: 3}, ▸{parameters: {steps: [2]}}]": [
        "spaces.1: how many of its settings are drawn? Give trials, as in other spaces"
    ],
    "  method: sobol\n  trials: ▸1\n  spaces: [{parameters: {steps: [1]}}, {parameters: {steps: [2]}}]": [
        "trials: 1 is too few for 2 spaces"
    ],
    "  method: optuna\n  spaces: [{parameters: {steps: [1]}, trials: ▸3}]": [
        "spaces.0.trials: optuna chooses among the spaces itself: give trials beside them"
    ],
    "  method: optuna\n  trials: 3\n  parameters: {steps: [1, 2]}\n  exclude: ▸[{steps: 1}]": [
        "exclude: optuna chooses the settings itself: leave exclude out"
    ],
    "  parameters: {steps: [1, 2]}\n  cross: ▸[steps]": ["cross: grid combines all values: leave cross out"],
    "  method: optuna\n  trials: 3\n  parameters: {steps: [1, 2]}\n  cross: ▸[steps]": [
        "cross: optuna chooses the settings itself: leave cross out"
    ],
    "  method: random\n  trials: 3\n  parameters: {steps: [1, 2], dtype: [float32]}\n  cross: [▸step]": [
        "cross.0: is not swept. Did you mean 'steps'?"
    ],
    "  method: random\n  trials: 3\n  parameters: {steps: {int: [1, 2]}, dtype: [float32]}\n  cross: [▸steps]": [
        "cross.0: is drawn from a distribution: list its values, or leave it out of cross"
    ],
    "  method: random\n  trials: 3\n  parameters: {steps: [1, 2]}\n  cross: ▸[steps]": [
        "cross: leaves nothing to draw"
    ],
    "  spaces: [{parameters: {steps: [1]}, trials: ▸3}]": [
        "spaces.0.trials: grid draws nothing: add 'method: random', or leave trials out"
    ],
    "  method: ▸sobol\n  parameters: {steps: [1, 2]}": ["method: how many settings are drawn? Give trials"],
    "  method: ▸sobol\n  trials: 3": ["method: there is nothing to draw: give parameters"],
    "  method: ▸sobl": ["method: unknown sweep method 'sobl'. Did you mean 'sobol'?"],
    "  method: ▸halving\n  parameters: {steps: [1, 2]}": [
        "method: needs options: give halving, such as {min_steps: …, factor: 3}"
    ],
    "  method: halving\n  halving: {min_steps: ▸0}\n  parameters: {optimizer.lr: [1, 2]}": [
        "halving.min_steps: must be ≥ 1 (got 0)"
    ],
    "  method: halving\n  halving: {min_steps: 1, factor: ▸1}\n  parameters: {optimizer.lr: [1, 2]}": [
        "halving.factor: must be ≥ 2 (got 1)"
    ],
    "  method: halving\n  halving: {min_steps: 1, ▸factr: 2}\n  parameters: {optimizer.lr: [1, 2]}": [
        "halving.factr: unknown key. Did you mean 'factor'?"
    ],
    "  method: halving\n  halving: {min_steps: 1}\n  parameters: {optimizer.lr: {uniform: ▸[1, 2]}}": [
        "parameters.optimizer.lr.uniform: is drawn at random: add 'trials', "
        "or space its values: linspace, logspace, range"
    ],
    "  halving: ▸{min_steps: 1}\n  parameters: {optimizer.lr: [1, 2]}": [
        "halving: these are options of another method: add 'method: halving'"
    ],
    "  method: random\n  trials: 3\n  optuna: ▸{batch: 4}\n  parameters: {optimizer.lr: [1, 2]}": [
        "optuna: these are options of another method: add 'method: optuna'"
    ],
    "  method: random\n  trials: 3\n  parameters: {steps: {int: [1, ▸1e16]}}": [
        "parameters.steps.int.1: must be an integer (got 1e+16)"
    ],
    "  parameters: {optimizer.lr: [1]}\n  metric: {goal: ▸max}": [
        "metric.goal: must be 'minimize' or 'maximize' (got 'max'). Did you mean 'maximize'?"
    ],
    "  parameters: {optimizer.lr: [1]}\n  ▸goal: max": [
        "sweep.goal: unknown key. Did you mean 'metric.goal'?"
    ],
    "  ▸optimizer.lr: [1, 2]": [
        "sweep.optimizer.lr: unknown key. What varies stands under parameters: {optimizer.lr: […]}"
    ],
    "  ▸optimizer: {lr: [1, 2]}": [
        "sweep.optimizer: unknown key. What varies stands under parameters: {optimizer.lr: […]}"
    ],
    "  spaces: [{▸optimizer.lr: {logspace: [1e-4, 1, 5]}}]": [
        "spaces.0.optimizer.lr: unknown key. What varies stands under parameters: {optimizer.lr: […]}"
    ],
    "  parameters: {problem.dim: ▸2..5}": ["parameters.problem.dim: is written {range: [2, 6]}"],
    "  parameters: {optimizer.lr: ▸1e-4..1e-1}": [
        "parameters.optimizer.lr: is written {logspace: [1e-4, 1e-1, 5]}"
    ],
    "  parameters: {optimizer.lr: ▸0.1..0.5}": [
        "parameters.optimizer.lr: is written {linspace: [0.1, 0.5, 5]}"
    ],
    "  repeats: ▸0..3": [
        "repeats: must be an integer or a list (got '0..3'): how many seeds, such as 5, or which, such as [0, 1, 2]"
    ],
    "  parameters: {optimizer.lr: [1]}\n  seed: ▸[0, 1]": [
        "sweep.seed: must be an integer (got [0, 1]); to have several, give a sweep repeats: 4, "
        "or seed=0,1,2 to its command"
    ],
    "  optimizers: ▸SGD": [
        "sweep.optimizers: must be 'all' or a list (got 'SGD'): all that have a search space, or a list of names, "
        "such as [SGD]"
    ],
    "  repeats: 2\n  metric: ▸5": [
        "sweep.metric: must be a mapping such as {name: final_loss}, or the name alone (got 5)"
    ],
    "  repeats: ▸0": ["repeats: must be ≥ 1 (got 0)"],
    "  repeats: [1, ▸1]": ["repeats.1: 1 is listed twice"],
    "  parameters: {optimizer.lr: [1]}\n  metric: {goal: ▸up}": [
        "metric.goal: must be 'minimize' or 'maximize' (got 'up')"
    ],
}
BLOCK = (
    "cross",
    "parameters.",
    "zip.",
    "exclude.",
    "confirm",
    "repeats.",
    "metric.",
    "method:",
    "trials:",
    "repeats:",
    "exclude:",
    "spaces",
    "halving",
    "optuna:",
)


def test_all_mistakes_of_a_sweep_come_at_once():
    text = """problem: rosenbrock
optimizer: {name: SGD, lrr: 3}
lr: [1, 2]
sweep: {parameters: {optimizer.lr: 0.1, steps: [0, 10]}}
"""
    with pytest.raises(ConfigErrors) as caught:
        swept(read(text, "f.yaml"))
    assert [(issue.line, issue.path) for issue in caught.value.issues] == [
        (2, "optimizer.lrr"),
        (3, "lr"),
        (4, "sweep.parameters.optimizer.lr"),
        (4, "steps"),
    ]


@pytest.mark.parametrize(("marked", "expected"), MISTAKES.items())
def test_a_mistake_has_its_place_and_says_what_was_meant(marked, expected):
    marked = TEXT + marked
    places = [
        f"{line}:{column - earlier}"
        for line, text in enumerate(marked.split("\n"), 1)
        for earlier, column in enumerate(i for i, char in enumerate(text, 1) if char == "▸")
    ]
    with pytest.raises(ConfigErrors) as caught:
        expand(swept(read(marked.replace("▸", ""), "f.yaml")))
    assert str(caught.value).splitlines() == [
        f"f.yaml:{place}: {'sweep.' * text.startswith(BLOCK)}{text}"
        for place, text in zip(places, expected, strict=True)
    ]


@pytest.mark.parametrize(
    ("parameters", "more", "count"),
    [
        (
            {"optimizer.lr": {"linspace": [0, 1, 40_000]}, "optimizer.eps": {"linspace": [0, 1, 25_000]}},
            {},
            10**9,
        ),
        ({"optimizer.lr": {"linspace": [0, 1, 1_000_000]}}, {"repeats": 1000}, 10**9),
        ({"optimizer.lr": {"uniform": [0, 1]}}, {"method": "random", "trials": 10**9}, 10**9),
    ],
)
def test_too_many_runs_are_refused_before_there_are_any(parameters, more, count):
    with pytest.raises(ConfigErrors, match=f"{count:,} runs are more than 1,000,000"):
        expand(sweep_from_mapping(BASE | {"sweep": {"parameters": parameters, **more}}))


@pytest.mark.parametrize(
    ("metric", "goal"),
    [
        ({"name": "test_accuracy"}, "maximize"),
        ({"name": "test_accuracy", "goal": None}, "maximize"),
        ({"name": "test_accuracy", "goal": "minimize"}, "minimize"),
        ({"name": "test_loss"}, "minimize"),
        ({}, "minimize"),
        ("test_accuracy", "maximize"),
    ],
)
def test_the_better_end_of_a_metric_follows_from_its_name(metric, goal):
    sweep = sweep_from_mapping(BASE | {"sweep": {"repeats": 2, "metric": metric}}).sweep
    assert sweep.metric.goal == goal


def test_a_metric_may_be_its_name_alone_and_is_overridden_alike():
    named = BASE | {"sweep": {"repeats": 2, "metric": "val_loss"}}
    found = sweep_from_mapping(named, ["sweep.metric.goal=maximize"]).sweep.metric
    assert found == Metric(name="val_loss", goal="maximize")
    assert sweep_from_mapping(named, ["sweep.metric=test_loss"]).sweep.metric == Metric(name="test_loss")


def test_an_option_of_one_of_several_optimizers_is_sent_to_spaces():
    with pytest.raises(ConfigErrors) as raised:
        expand(
            swept(
                read(
                    TEXT + "  parameters: {optimizer.name: [Adam, SGD], optimizer.momentum: [0, 0.9]}",
                    "a.yaml",
                )
            )
        )
    text = str(raised.value)
    assert "unknown key. Known here: name, lr, beta1" in text
    assert "(optimizer: Adam); what varies of one optimizer alone goes into a space of its own" in text


def test_the_last_of_several_seeds_is_one_too():
    data = BASE | {"seed": 2**63 - 2, "sweep": {"repeats": 2}}
    assert expand(sweep_from_mapping(data)).configs[1].seed == 2**63 - 1
    with pytest.raises(ConfigErrors, match="sweep.repeats: the last seed would be 9223372036854775808"):
        expand(sweep_from_mapping(data | {"seed": 2**63 - 1}))


def test_an_unknown_key_of_the_block_is_answered():
    with pytest.raises(
        ConfigErrors, match=r"f.yaml:5:3: sweep.repeets: unknown key. Did you mean 'repeats'\?"
    ):
        swept(read(TEXT + "  repeets: 2", "f.yaml"))


def test_a_run_of_a_file_with_a_sweep_says_that_it_is_one(tmp_path):
    (tmp_path / "s.yaml").write_text(TEXT + "  repeats: 3\n")
    with pytest.raises(
        ConfigErrors, match=r"^s.yaml:4:1: sweep: these are many runs: `optrun sweep s.yaml` runs them"
    ):
        load("s.yaml")
    assert "sweep" not in load("s.yaml", ["sweep=null"]).to_dict()
    with pytest.raises(ConfigErrors, match="optrun sweep FILE"):
        parse(TEXT + "  repeats: 3\n")


def test_without_anything_that_varies_there_is_no_sweep():
    for more in ({}, {"sweep": {}}, {"sweep": {"parameters": {}}}):
        with pytest.raises(
            ConfigErrors, match="nothing varies: add parameters to a sweep block, or values such as"
        ):
            sweep_from_mapping(BASE | more)


@pytest.mark.parametrize(
    "sweep", [3, "x", [1], {"parameters": 3}, {"parameters": [1]}, {"zip": 3}, {"zip": [3]}]
)
def test_a_block_of_another_form_is_refused_whatever_overrides_add(sweep):
    for overrides in ([], ["optimizer.lr=1,2"]):
        with pytest.raises(ConfigErrors, match="must be a (mapping|list)"):
            sweep_from_mapping(BASE | {"sweep": sweep}, overrides)


def settings(overrides, sweep=None):
    plan = expand(sweep_from_mapping(BASE | ({"sweep": sweep} if sweep else {}), overrides))
    return [tuple(setting.values()) for setting in plan.settings], plan


def test_an_empty_block_is_told_at_its_line():
    with pytest.raises(ConfigErrors) as error:
        swept(read(TEXT, "f.yaml"))
    assert str(error.value).startswith("f.yaml:4:1: sweep: nothing varies")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "optimizer.lr=1e-3,",
            "optimizer.lr: a comma with nothing after it: one value is written 'optimizer.lr=1e-3'",
        ),
        ("sweep.parameters.optimizer.lr=1,2", "a swept parameter is named by its own path: optimizer.lr=1,2"),
        (
            "sweep.parameters.optimizer.lr=[1, 2]",
            "a swept parameter is named by its own path: optimizer.lr=1, 2",
        ),
        ("sweep.parameters.steps=1,2", "a swept parameter is named by its own path: steps=1,2"),
        (f"optimizer.lr=1,{10**400}", "lr: the integer 10000000000000000000… (401 characters) is too large"),
        ("optimizer.lr=range(5)", "optimizer.lr: is written 'optimizer.lr={range: [0, 5]}'"),
        ("optimizer.lr=np.geomspace(1e-3, 1, 4)", "is written 'optimizer.lr={logspace: [1e-3, 1, 4]}'"),
        ("problem.dim=2..5", "problem.dim: is written 'problem.dim={range: [2, 6]}'"),
        ("seed=0..3", "seed: several seeds are listed, seed=0,1,2, or counted: seed=0 sweep.repeats=4"),
        (
            "optimizer.lr=0,01",
            "optimizer.lr: 0,01 lists several values: a number has a decimal point and no other mark, 0.01",
        ),
        (
            "steps=10,000",
            "steps: 10,000 lists several values: a number has a decimal point and no other mark, 10000 or 10.000",
        ),
        (
            "seed=range(0, 30)",
            "seed: several seeds are listed, seed=0,1,2, or counted: seed=0 sweep.repeats=30",
        ),
        ("seed={range: [3, 9]}", "seed=0,1,2, or counted: seed=3 sweep.repeats=6"),
    ],
)
def test_an_override_that_is_nearly_one_says_what_to_type(override, said):
    with pytest.raises(ConfigErrors) as error:
        sweep_from_mapping(BASE, [override])
    (issue,) = error.value.issues
    assert str(issue).endswith(said)


def test_a_parameter_without_dots_may_be_set_within_the_block():
    found = sweep_from_mapping(BASE, ["sweep.parameters.steps=[1, 2]"])
    assert found.sweep.parameters["steps"].arguments == (1, 2)


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("optimizer.lr=1e-3,1e-2", [0.001, 0.01]),
        ("optimizer.lr={logspace: [1e-3, 1e-1, 3]}", [0.001, 0.01, 0.1]),
        ("optimizer.lr=1,2", [1, 2]),
        ("optimizer.lr=0,1", [0, 1]),
        ("optimizer=Adam,SGD", ["Adam", "SGD"]),
        ("optimizer.betas=[0.9,0.99],[0.9,0.999]", [[0.9, 0.99], [0.9, 0.999]]),
        ("optimizer.amsgrad=true,false", [True, False]),
        ("optimizer={name: SGD, lr: 1},Adam", [{"name": "SGD", "lr": 1}, "Adam"]),
        ("scheduler=null,ConstantLR", [None, "ConstantLR"]),
    ],
)
def test_an_override_with_several_values_sweeps_over_them(override, values):
    found, plan = settings([override])
    assert found == [(value,) for value in values]
    assert len(plan.configs) == len(values)


def test_overrides_add_axes_replace_them_and_fix_them():
    sweep = {"parameters": {"optimizer.lr": [1.0, 2.0], "optimizer.eps": [0.1, 0.2]}}
    assert settings([], sweep)[0] == [(1.0, 0.1), (1.0, 0.2), (2.0, 0.1), (2.0, 0.2)]
    assert settings(["optimizer.lr=3,4"], sweep)[0] == [(3, 0.1), (3, 0.2), (4, 0.1), (4, 0.2)]
    found, plan = settings(["optimizer.lr=3"], sweep)
    assert found == [(3, 0.1), (3, 0.2)]
    assert {config.optimizer.options["lr"] for config in plan.configs} == {3.0}
    assert settings(["steps=5"], sweep)[1].configs[0].steps == 5


SPACES = {
    "parameters": {"problem.dim": [2, 3]},
    "spaces": [
        {"parameters": {"optimizer": ["SGD"], "optimizer.lr": [1.0, 2.0]}},
        {"parameters": {"optimizer": ["Adam"]}},
    ],
}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], [("SGD", 1.0), ("SGD", 2.0), ("Adam", 0.001)]),
        (["optimizer.lr=3"], [("SGD", 3.0), ("Adam", 3.0)]),
        (["optimizer.lr=3,4"], [("SGD", 3.0), ("SGD", 4.0), ("Adam", 3.0), ("Adam", 4.0)]),
        (["optimizer.weight_decay=3"], [("SGD", 1.0), ("SGD", 2.0), ("Adam", 0.001)]),
    ],
)
def test_overrides_reach_into_spaces(overrides, expected):
    plan = settings([*overrides, "problem.dim=5"], SPACES)[1]
    assert [(each.optimizer.name, each.optimizer.options["lr"]) for each in plan.configs] == expected
    assert {each.problem.options["dim"] for each in plan.configs} == {5}
    decays = {each.optimizer.options["weight_decay"] for each in plan.configs}
    assert decays == ({3.0} if "decay" in str(overrides) else {0.0})


def test_what_is_paired_in_a_space_cannot_be_fixed_alone():
    zipped = {"optimizer.lr": [1.0, 2.0], "optimizer.eps": [0.1, 0.2]}
    with pytest.raises(
        ConfigErrors, match="paired with optimizer.eps in sweep.spaces.0.zip: change it there"
    ):
        settings(["optimizer.lr=3"], {"spaces": [{"zip": zipped}]})


def test_paths_of_data_are_relative_to_the_file_that_holds_them(tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "s.yaml").write_text("""\
problem: {name: linear_regression}
optimizer: SGD
steps: 2
sweep:
  parameters: {problem.data: [a.csv, diabetes]}
  include: [{problem: {name: mlp, data: ../b.csv}}]
  exclude: [{problem.data: diabetes}]
""")
    first = load_sweep("study/s.yaml")
    plan = expand(first)
    data = [str(tmp_path / "study" / "a.csv"), str(tmp_path / "b.csv")]
    assert [config.problem.options["data"] for config in plan.configs] == data
    assert [str(setting.get("problem.data")) for setting in plan.settings] == ["a.csv", "None"]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "config.yaml").write_text(to_yaml(first.to_dict()))
    assert expand(load_sweep("elsewhere/config.yaml")).digest == plan.digest
    fixed = expand(load_sweep("study/s.yaml", ["problem.data=a.csv,c.csv", "sweep.exclude=[]"]))
    assert [config.problem.options["data"] for config in fixed.configs[:2]] == [
        str(tmp_path / "a.csv"),
        str(tmp_path / "c.csv"),
    ]


def test_seeds_of_an_override_are_repeats():
    found, plan = settings(["optimizer.lr=1,2", "seed=5,7"])
    assert found == [(1,), (2,)]
    assert [config.seed for config in plan.configs] == [5, 7, 5, 7]
    assert [config.seed for config in settings(["seed=3", "sweep.repeats=2"])[1].configs] == [3, 4]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("optimizer.lr=1,2", "optimizer.lr=3"),
        ("optimizer.lr=3", "optimizer.lr=1,2"),
        ("optimizer.lr=1,2", "optimizer.lr=1,2"),
        ("seed=1,2", "seed=3"),
        ("sweep.repeats=5", "seed=1,2"),
        ("sweep.repeats=[4,5]", "seed=3"),
        ("sweep={parameters: {optimizer.lr: [1, 2]}}", "optimizer.lr=3"),
    ],
)
def test_an_override_of_a_sweep_replaces_no_other_one(first, second):
    with pytest.raises(ConfigErrors) as error:
        settings([first, second], {"parameters": {"optimizer.eps": [0.1, 0.2]}})
    path = second.partition("=")[0]
    said = f"override {first!r} sets it too: give one of them"
    assert str(error.value) == f"override {second!r}: {path}: {said}"


@pytest.mark.parametrize(("overrides", "seeds"), [([], [0, 1, 2]), (["seed=5"], [5]), (["seed=5,6"], [5, 6])])
def test_a_seed_on_the_command_line_is_in_place_of_those_that_are_listed(overrides, seeds):
    _, plan = settings(overrides, {"parameters": {"optimizer.lr": [1.0]}, "repeats": [0, 1, 2]})
    assert [config.seed for config in plan.configs] == seeds


@pytest.mark.parametrize(
    ("axis", "place"),
    [({"linspace": [0, 10**400, 3]}, "linspace.1"), ({"uniform": [10**400, 1]}, "uniform.0")],
)
def test_an_integer_that_is_no_float_is_not_finite(axis, place):
    sweep = {"method": "random", "trials": 2, "parameters": {"optimizer.lr": axis}}
    with pytest.raises(ConfigErrors) as caught:
        sweep_from_mapping(BASE | {"sweep": sweep})
    said = f"sweep.parameters.optimizer.lr.{place}: must be finite (got {str(10**400)[:50]}…)"
    assert str(caught.value) == f"<config>: {said}"


def test_a_paired_parameter_cannot_be_fixed_alone():
    with pytest.raises(ConfigErrors, match="is paired with optimizer.eps in sweep.zip: change it there"):
        settings(["optimizer.lr=3"], {"zip": {"optimizer.lr": [1.0, 2.0], "optimizer.eps": [0.1, 0.2]}})


def test_a_mistake_in_an_override_names_it():
    with pytest.raises(ConfigErrors, match="^override 'optimizer.lr=1,-1': optimizer.lr: must be ≥ 0"):
        settings(["optimizer.lr=1,-1"])


def test_a_resolved_sweep_reads_back_as_the_same_sweep(tmp_path):
    sweep = {"parameters": {"optimizer.lr": {"logspace": [1e-3, 1, 4]}}, "repeats": [3, 1]}
    first = sweep_from_mapping(BASE | {"name": "n", "sweep": sweep}, ["optimizer.eps=0.1,0.2"])
    (tmp_path / "config.yaml").write_text(to_yaml(first.to_dict()))
    assert expand(load_sweep("config.yaml")).digest == expand(first).digest


def test_every_run_is_the_config_that_one_can_run_alone():
    sweep = {"parameters": {"optimizer.lr": [0.1, 0.2], "problem.dim": [2, 3]}, "repeats": 2}
    plan = expand(sweep_from_mapping(BASE | {"name": "n", "sweep": sweep}))
    alone = [
        from_mapping(BASE | {"name": "n", "seed": seed}, [f"optimizer.lr={lr}", f"problem.dim={dim}"])
        for lr in (0.1, 0.2)
        for dim in (2, 3)
        for seed in (0, 1)
    ]
    assert list(plan.configs) == alone
    assert plan.documents == [config.to_dict() for config in alone]


def test_commas_within_a_function_are_its_own() -> None:
    data = BASE | {"scheduler": {"name": "LambdaLR", "lr_lambda": "1"}}
    one = sweep_from_mapping(data, ["scheduler.lr_lambda=min(1, 1 / (t + 1))", "seed=0,1"])
    assert [each.scheduler.options["lr_lambda"] for each in expand(one).configs] == [
        "min(1, 1 / (t + 1))"
    ] * 2
    assert (
        from_mapping(data, ["scheduler.lr_lambda=max(0, 1 - t)"]).scheduler.options["lr_lambda"]
        == "max(0, 1 - t)"
    )


@pytest.mark.parametrize("by", ["optimizer", "optimizer.name", "scheduler.gamma", "steps"])
def test_what_a_confirmation_compares_is_swept_or_may_be(by):
    spaces = [{"parameters": {"optimizer.name": ["Adam", "SGD"]}}]
    schedules = [None, {"name": "ExponentialLR", "gamma": 0.9}]
    sweep = {"spaces": spaces, "parameters": {"scheduler": schedules}, "include": [{"steps": 20}]}
    assert sweep_from_mapping(BASE | {"sweep": {**sweep, "confirm": {"by": by}}}).sweep.confirm.by == by


def test_only_what_names_data_of_a_problem_is_a_path():
    document = read(
        "x: [./a.csv, iris]\ny: [{data: ./a.csv, activation: ./b}]\n", str(Path("sweep.yaml").absolute())
    )
    names, problems = document.root.value["x"], document.root.value["y"]
    assert swept_paths("problem.data", names) == [str(Path("a.csv").absolute()), "iris"]
    assert swept_paths("problem.activation", names) == swept_paths("name", names) == ["./a.csv", "iris"]
    assert swept_paths("optimizer.data", names) == ["./a.csv", "iris"]
    assert swept_paths("problem", problems) == [{"data": str(Path("a.csv").absolute()), "activation": "./b"}]
