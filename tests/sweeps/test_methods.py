"""A sweep method is one class in one file: its options, errors, schema, listing, stages and resume follow from it."""

import json
from pathlib import Path

import pytest

import optrun
from optrun.cli import completion
from optrun.config import ConfigErrors
from optrun.config.model.json_schema import json_schema
from optrun.config.sweep.resolve import load_sweep, sweep_from_mapping
from optrun.errors import MissingExtraError, PluginError
from optrun.plugins import load_plugin
from optrun.registry import methods
from optrun.sweeps.methods import Method, Proposal, Sampler
from optrun.sweeps.methods.method import decides_on_the_way
from optrun.sweeps.plan.expand import expand
from tests.cli.looking import call
from tests.registries import restore_after
from tests.sweeps.support import digest_of

__all__ = ["call"]

PLUGIN = '''
"""Methods of a plugin."""
from typing import Annotated

import numpy as np
from annotated_types import Ge

from optrun.errors import ConfigError
from optrun.registry import Fraction
from optrun.sweeps.methods import Method, Proposal, Sampler


class VanDerCorput(Sampler):
    """The radical inverses of 1, 2, 3, …: a sequence that fills one dimension evenly."""

    def __init__(
        self, swept, /, *, base: Annotated[int, Ge(2), "of the digits"] = 2, shift: Fraction = 0.0
    ) -> None:
        super().__init__(swept)
        if base == 7:
            raise ConfigError("7 is no base for today", field="base")
        self.base, self.shift = base, shift

    def sample(self, space):
        return space.at([np.array([self.inverse(n + 1) for n in range(space.trials)])] * len(space.dimensions))

    def notes(self):
        yield f"base {self.base} it is"

    def inverse(self, n):
        found, scale = 0.0, 1.0
        while n:
            n, digit = divmod(n, self.base)
            scale /= self.base
            found += digit * scale
        return (found + self.shift) % 1


class Descend(Method):
    """Tries what is near the best setting so far."""

    grows = True

    def propose(self, history):
        if len(history) >= self.total():
            return None
        (dimension,) = self.spaces[0].dimensions
        best = min((each for each in history if each.score is not None), key=lambda each: each.score, default=None)
        path = dimension.paths[0]
        lr = best.setting[path].plain() if best else 0.0
        return Proposal(dimension.valued(np.array([lr + 1e-4, lr + 2e-4])))


class BestHalf(Method):
    """Every value, of which those of rank in the lower half go on to the end."""

    trials = False
    prunes = True

    def propose(self, history):
        if not history:
            return Proposal([each for space in self.spaces for each in space.dimensions[0].choices], until=5)
        ranked = sorted(history, key=lambda each: each.score)
        return Proposal(promoted=ranked[: len(ranked) // 2])


class Patient(Method):
    """Every value, of which the last two go on to a step that depends on a score, and the last to the end."""

    trials = False
    prunes = True

    def propose(self, history):
        if not history:
            return Proposal([each for space in self.spaces for each in space.dimensions[0].choices], until=5)
        if sum(each.is_latest for each in history) == 2:
            return Proposal(promoted=history[-1:])
        return Proposal(promoted=history[-2:], until=int(1e5 * history[-2].score) % 5 + 10)
'''
BASE = {"problem": "rosenbrock", "optimizer": "SGD", "steps": 20}
DRAWN = {"trials": 5, "parameters": {"optimizer.lr": {"uniform": [0, 1]}}}


def config(**sweep):
    return BASE | {"sweep": sweep}


@pytest.fixture(autouse=True)
def plugin(monkeypatch):
    restore_after(monkeypatch, methods)
    Path("ours.py").write_text(PLUGIN)
    load_plugin("ours.py")


def rates(data):
    return [setting["optimizer.lr"] for setting in expand(sweep_from_mapping(data)).settings]


def test_a_sampler_of_a_plugin_has_options_under_its_name():
    assert rates(config(method="van_der_corput", **DRAWN)) == [0.5, 0.25, 0.75, 0.125, 0.625]
    assert rates(config(method="VanDerCorput", van_der_corput={"shift": 0.25}, **DRAWN)) == [
        0.75,
        0.5,
        0.0,
        0.375,
        0.875,
    ]


OURS = "  method: van_der_corput\n  van_der_corput: "
MISTAKES = {
    "  method: van_der_corpus": (
        "5:11: sweep.method: unknown sweep method 'van_der_corpus'. Did you mean 'van_der_corput'?"
    ),
    "  van_der_corput: {base: 3}": (
        "5:19: sweep.van_der_corput: these are options of another method: add 'method: van_der_corput'"
    ),
    f"{OURS}{{bas: 3}}": "6:20: sweep.van_der_corput.bas: unknown key. Did you mean 'base'?",
    f"{OURS}{{base: 1}}": "6:26: sweep.van_der_corput.base: must be ≥ 2 (got 1)",
    f"{OURS}{{base: 7}}": "6:26: sweep.van_der_corput.base: 7 is no base for today",
    f"{OURS}3": "6:19: sweep.van_der_corput: must be a mapping such as {base: 2, shift: 0.0} (got 3)",
    "  method: van_der_corput\n  van_der_corpt: {}": (
        "6:3: sweep.van_der_corpt: unknown key. Did you mean 'van_der_corput'?"
    ),
    "  method: best_half": "6:11: sweep.trials: best_half draws nothing: add 'method: random', or leave trials out",
    "  exclude: [{optimizer.lr: 1}]\n  method: descend": (
        "5:12: sweep.exclude: descend chooses the settings itself: leave exclude out"
    ),
}


@pytest.mark.parametrize(("lines", "said"), MISTAKES.items())
def test_mistakes_with_it_have_their_place(lines, said):
    parts = (
        "problem: rosenbrock\noptimizer: SGD\nsteps: 9\nsweep:",
        lines,
        "  trials: 3" * (lines[2] != "v"),
    )
    Path("f.yaml").write_text("\n".join((*parts, "  parameters: {optimizer.lr: [1, 2]}\n")))
    with pytest.raises(ConfigErrors) as caught:
        expand(load_sweep("f.yaml"))
    assert f"f.yaml:{said}" in str(caught.value).splitlines()


@pytest.mark.full
def test_it_is_listed_shown_completed_noted_and_in_the_schema(call):
    Path("f.yaml").write_text(json.dumps(config(method="van_der_corput", **DRAWN)))
    assert "van_der_corput" in json.loads(call("list", "methods", "--json").out)["methods"]
    shown = call("show", "VanDerCorput", "--plugin", "ours.py").out
    assert "sweep:\n  method: van_der_corput\n  van_der_corput:\n    base: 2\n    shift: 0.0\n" in shown
    assert "van_der_corput" in completion.names("van")
    assert "van_der_corput" in completion._values("sweep.method")
    block = json_schema()["definitions"]
    assert "van_der_corput" in block["SweepBlock"]["properties"]["method"]["enum"]
    assert block["sweep.van_der_corput"]["properties"]["base"]["minimum"] == 2
    assert "of the digits" in block["sweep.van_der_corput"]["properties"]["base"]["description"]
    done = call("sweep", "f.yaml", "--plugin", "ours.py")
    assert done.code == 0
    assert "note: base 2 it is" in done.err


def test_a_sweep_grows_by_what_a_plugin_proposes_and_goes_on_after_an_interruption():
    data = config(method="descend", trials=6, parameters={"optimizer.lr": {"uniform": [0, 1]}})
    whole = optrun.sweep(data, directory="whole")
    found = [setting["optimizer.lr"] for setting in whole.settings]
    losses = [state.figure("final_loss") for state in whole.states]
    assert found[:2] == [1e-4, 2e-4]
    for done in (2, 4):
        known = [loss if loss is not None else float("inf") for loss in losses[:done]]
        best = found[known.index(min(known))]
        assert found[done : done + 2] == [best + 1e-4, best + 2e-4]
    assert optrun.sweep(data, directory="parts", limit=3).left == 3
    assert optrun.sweep(data, directory="parts").left == 0
    assert digest_of("parts") == digest_of("whole")
    # More trials are more of the same.
    more = optrun.sweep(data, overrides=["sweep.trials=8"], directory="parts").settings
    assert (len(more), more[:6]) == (8, whole.settings)


def test_a_plugin_ends_runs_early():
    data = config(method="best_half", parameters={"optimizer.lr": [1e-5, 1e-4, 2e-4, 1e-3]})
    sweep = optrun.sweep(data, directory="whole")
    assert [str(state.status) for state in sweep.states] == ["pruned", "pruned", "completed", "completed"]
    assert sweep.states[0].reason == "stopped at the rung of step 5: 4th of 4"
    optrun.sweep(data, directory="parts", limit=5)
    optrun.sweep(data, directory="parts")
    assert digest_of("parts") == digest_of("whole")


def test_the_step_of_a_decision_stands_whatever_the_scores_are_later():
    data = config(method="patient", parameters={"optimizer.lr": [1e-5, 1e-4, 2e-4, 1e-3]})
    whole = optrun.sweep(data, directory="whole")
    for limit in (4, 1, 1):  # the first rung, then a run at a time
        part = optrun.sweep(data, directory="parts", limit=limit)
    assert part.left
    optrun.sweep(data, directory="parts")
    assert digest_of("parts") == digest_of("whole")
    assert [state.steps for state in whole.states] == [5, 5, 10, 20]


FAULTY = {
    "raise ValueError('no')": "ValueError: no",
    "return [1]": "propose returns a Proposal or None, not list",
    "return Proposal(['x'], until=3)": "a method that has runs wait, or go on, says prunes = True",
    "raise MissingExtraError('pip install it')": "pip install it",
}


@pytest.mark.parametrize("body", FAULTY)
def test_what_a_plugin_raises_has_the_place_of_its_code(body):
    Path("faulty.py").write_text(
        "from optrun.errors import MissingExtraError\nfrom optrun.sweeps.methods import Method, Proposal\n"
        f"class Faulty(Method):\n    trials = None\n    def propose(self, history):\n        {body}\n"
    )
    load_plugin("faulty.py")
    error = MissingExtraError if "Extra" in body else PluginError
    with pytest.raises(error, match=r"faulty\.py:\d" if error is PluginError else "pip") as caught:
        expand(sweep_from_mapping(config(method="faulty", parameters={"optimizer.lr": [1]})))
    assert FAULTY[body] in str(caught.value)


@pytest.mark.full
def test_a_class_that_lacks_propose_is_named():
    type("Half", (Method,), {})
    with pytest.raises(PluginError, match="method Half lacks propose"):
        expand(sweep_from_mapping(config(method="half", **DRAWN)))


def test_a_class_that_cannot_be_a_method_is_refused_where_it_is_defined():
    with pytest.raises(TypeError, match="Both: a method either grows or prunes"):
        type("Both", (Method,), {"grows": True, "prunes": True, "propose": lambda self, history: Proposal()})

    def init(self, swept, /, *, at: int = 3) -> None:
        Method.__init__(self, swept)

    with pytest.raises(
        TypeError, match="its options would stand under repeats, which is a key of every sweep"
    ):
        type("Repeats", (Sampler,), {"__init__": init, "sample": lambda self, space: ()})


def test_a_method_that_is_not_known_may_decide_on_the_way():
    decided = {name for name in methods if decides_on_the_way(name)}
    assert decided == {name for name in methods if methods.find(name).grows or methods.find(name).prunes}
    assert {"grid", "random"}.isdisjoint(decided)
    assert len({(methods.find(name).grows, methods.find(name).prunes) for name in decided}) == 2
    assert decides_on_the_way("of a plugin that is gone")
    assert not decides_on_the_way(None)
