"""Configs that differ in floats: what is taken over from the first of them is what each would be on its own."""

import pytest

from optrun.config import ConfigErrors
from optrun.config.sweep.resolve import swept
from optrun.config.sweep.variants import Variants
from optrun.config.yaml.reader import read
from optrun.registry import optimizers
from optrun.sweeps.methods import Grid
from optrun.sweeps.plan.expand import completed
from optrun.sweeps.plan.spaces import Setting, spaces_of

BASE = "problem: {name: quadratic, dim: 3}\nsteps: 7\n"


def settings_of(text: str) -> tuple[Variants, list[Setting], object]:
    sweep = swept(read(text, "sweep.yaml"))
    return Variants(sweep), [each for space in spaces_of(sweep) for each in Grid(sweep).sample(space)], sweep


def check(text: str) -> None:
    variants, settings, sweep = settings_of(text)
    assert len(settings) > 2
    together = completed(sweep, settings).configs
    for setting, of_all in zip(settings, together, strict=True):
        config, document = variants.complete(setting)
        alone = sweep.resolved(setting).config
        assert config == of_all == alone
        assert document == alone.to_dict() == config.to_dict()
        assert list(document) == list(alone.to_dict())


@pytest.mark.parametrize("name", sorted(optimizers))
def test_every_optimizer(name: str) -> None:
    options = optimizers.find(name).options()
    floats = [option for option, what in options.items() if what.is_float and isinstance(what.default, float)]
    defaults = {option: options[option].default for option in floats[:3]}
    axes = "".join(
        f"    optimizer.{each}: [{value!r}, {0.99 * value or 0.001!r}]\n" for each, value in defaults.items()
    )
    check(
        f"{BASE}optimizer: {{name: {name}}}\nsweep:\n  parameters:\n{axes}    problem.dim: [2, 3]\n    steps: [4, 5]\n"
    )


@pytest.mark.parametrize(
    "axes",
    [
        "optimizer.lr: [0.1, 0.2]\n    scheduler.gamma: [0.5, 0.25]\n    scheduler.step_size: [2.0, 3.0]",
        "optimizer.lr: [1, 0.5, 2.0]\n    problem.condition: [10.0, 100.0]",
        "optimizer.betas: [[0.9, 0.99], [0.8, 0.9]]\n    optimizer.lr: [0.1, 0.2]",
        "optimizer.beta1: [0.5, 0.6]\n    optimizer.lr: [0.1, 0.2]",
        "optimizer.betas.0: [0.5, 0.6]\n    optimizer.lr: [0.1, 0.2]",
        "optimizer: [Adam, {name: AdamW, eps: 0.5}]\n    optimizer.lr: [0.1, 0.2]",
        "schedules.beta1: [{name: StepLR, step_size: 2}, null]\n    optimizer.lr: [0.1, 0.2]",
        "stop.target: [0.1, 0.2]\n    optimizer.lr: [0.1, 0.2]",
        "record.metrics: [[beta1], []]\n    optimizer.eps: [1.0e-8, 1.0e-6]",
    ],
)
def test_what_varies_beside_floats(axes: str) -> None:
    check(
        f"{BASE}optimizer: {{name: Adam, betas: [0.9, 0.999]}}\nscheduler: {{name: StepLR, step_size: 3}}\n"
        f"sweep:\n  parameters:\n    {axes}\n    dtype: [float32, float64]\n"
    )


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ("optimizer.beta1: [0.5, 0.7]\n    optimizer.betas.0: [0.8, 0.85]", "optimizer.betas.0"),
        ("optimizer.beta1: [0.8, 0.7]\n    optimizer.betas.0: [0.8, 0.85]", "optimizer.betas.0"),
        ("optimizer.betas: [[0.9, 0.99]]\n    optimizer.beta2: [0.8, 0.85]", "optimizer.beta2"),
        (
            "optimizer: [{name: Adam, lr: 0.1}, {name: SGD, lr: 0.2}]\n    optimizer.lr: [1, 2]",
            "optimizer.lr",
        ),
    ],
)
def test_a_value_that_two_parameters_set_is_refused(axes: str, said: str) -> None:
    sweep = swept(read(f"{BASE}optimizer: Adam\nsweep:\n  parameters:\n    {axes}\n", "sweep.yaml"))
    with pytest.raises(ConfigErrors, match=f"is set again by {said}: a value has one parameter") as raised:
        completed(sweep, list(Grid(sweep).sample(*spaces_of(sweep))))
    assert raised.value.issues[0].line in (6, 7)


def test_a_value_that_is_refused_is_told_with_its_place() -> None:
    text = f"{BASE}optimizer: Adam\nsweep:\n  parameters:\n    optimizer.lr: [0.1, 0.2, -0.5, 0.3]\n"
    sweep = swept(read(text, "sweep.yaml"))
    with pytest.raises(ConfigErrors) as raised:
        completed(sweep, list(Grid(sweep).sample(*spaces_of(sweep))))
    assert [(issue.line, issue.column) for issue in raised.value.issues] == [(6, 30)]
    assert "-0.5" in str(raised.value)


def test_groups_are_checked_with_what_varies_around_them() -> None:
    groups = "param_groups: [{params: x, lr: 0.5, beta1: 0.3}]"
    check(
        f"{BASE}optimizer: {{name: Adam, {groups}}}\nsweep: {{parameters: {{optimizer.beta2: [0.5, 0.6, 0.7]}}}}\n"
    )
