"""Optimizers of torch and optax within optrun: they are what they are outside of it, in any pack, and after a pause."""

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays, Parameters
from optrun.config import from_mapping
from optrun.config.yaml.errors import ConfigErrors
from optrun.errors import ConfigError, MissingExtraError, PluginError, RunFailedError
from optrun.foreign.rule import ForeignUpdate, made_rule
from optrun.foreign.signatures import signature_of
from optrun.plugins import load_plugin
from optrun.registry import optimizers
from optrun.training.config_notes import seed_is_idle
from optrun.training.pack import Pack

full = pytest.mark.full  # torch takes seconds to import
PLUGIN = "optrun.foreign"
PECULIAR = "torch:tests.foreign.peculiar.Peculiar"
CONFIG = {
    "problem": {"name": "mlp", "data": "iris", "hidden": [3], "batch_size": 32},
    "optimizer": {"torch": "Adafactor", "lr": 0.05, "d": 2.0},
    "scheduler": {"name": "CosineAnnealingLR", "T_max": 12},
    "steps": 12,
    "dtype": "float64",
}


@pytest.fixture(autouse=True, scope="module")
def _plugin():
    load_plugin(PLUGIN)


@pytest.fixture(autouse=True)
def _with_torch(request):
    if request.node.get_closest_marker("full"):
        pytest.importorskip("torch")


@pytest.fixture
def float64():
    """Have torch count in float64, as it does within optrun for float64 parameters."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def trained(optimizer, configs=({},), **more):
    """Return the parameters of a pack after its steps, `[B, P]`."""
    made = [from_mapping({**CONFIG, "optimizer": {**optimizer, **each}, **more}) for each in configs]
    pack = Pack(made)
    for _ in pack.iterate(0):
        pass
    return pack.params.data.copy()


def params(lanes=1, dtype="float64"):
    made = Parameters({"w": (2, 3), "b": (3,)}, lanes=lanes, arrays=Arrays(dtype=dtype))
    made.data[:] = np.linspace(-1, 1, made.data.size).reshape(lanes, -1)
    return made


def step(optimizer, t):
    optimizer.params.grad[:] = np.sin(optimizer.params.data + t)
    optimizer.step()


@pytest.mark.usefixtures("float64")
def halved(lr: float = 0.1, note: str = "a") -> None:
    """Has a signature, which is all that a rule needs of it."""


class Halved(ForeignUpdate):
    """Steps of no library: the gradient times lr, and a state that counts."""

    count = 0.0

    def _step(self, numbers):
        grads, values = (self._host(of, outputs_first=False) for of in (self._params.grads, self._params))
        rates = np.array([each["lr"] for each in numbers])
        self._put({name: of - (rates * grads[name].T).T for name, of in values.items()}, outputs_first=False)
        self.count += 1.0

    def _saved(self):
        return {"count": np.full((self._params.lanes, 1), self.count)}

    def _loaded(self, saved):
        return float(saved["count"][0, 0]) if saved else 0.0

    def _restore(self, loaded):
        self.count = loaded


def test_a_rule_of_another_library_runs_without_a_trace(monkeypatch, tmp_path):
    """What runs a rule must ask nothing of it that a traced one alone has; this one needs no library."""
    made = made_rule("torch", "Halved", halved, signature_of(halved, 0), Halved)
    monkeypatch.setattr(optimizers, "families", {"torch": lambda path: made})
    config = {**CONFIG, "optimizer": {"torch": "Halved", "lr": 0.5}, "evaluate": {"every": 5}}
    theirs = optrun.run(config, directory=tmp_path / "a")
    ours = optrun.run({**config, "optimizer": {"name": "SGD", "lr": 0.5}}, save=False)
    np.testing.assert_allclose(theirs.curves["loss"], ours.curves["loss"], rtol=1e-12)
    found = optrun.sweep({**config, "sweep": {"parameters": {"optimizer.lr": [0.1, 0.5]}}}, save=False)
    assert found.runs[1].summary["final_loss"] == theirs.summary["final_loss"]
    assert optrun.lr_find(config, seeds=1, steps=3).best is not None


class ByLoss(Halved):
    """Steps of no library: the gradient times lr and the loss."""

    def _step(self, numbers):
        super()._step([{"lr": each["lr"] * of} for each, of in zip(numbers, self._loss, strict=True)])


def test_a_rule_that_reads_the_loss_is_given_that_of_its_lane():
    made = made_rule("torch", "ByLoss", halved, signature_of(halved, 0), ByLoss, reads_loss=True)
    for sign in (1, -1):
        optimizer = made(params(2), lr=np.array([0.1, 0.2]), maximize=sign < 0)
        before = optimizer.params.data.copy()
        optimizer.params.grad[:] = 1.0
        with pytest.raises(ConfigError, match="the step depends on the loss of the batch"):
            optimizer.step()
        optimizer.step(loss=np.array([2.0, 3.0]))
        # With maximize it is that of what is minimized, as the gradient is that a library is given.
        moved = sign * np.repeat([[0.2], [0.6]], 9, axis=1)
        np.testing.assert_allclose(before - optimizer.params.data, moved)


@full
def test_optax_and_torch_are_given_the_loss():
    pytest.importorskip("optax")
    lanes = [{"lr": 1.0}, {"lr": 0.1}]
    ours = trained({"name": "MoMo"}, lanes)
    np.testing.assert_allclose(trained({"optax": "contrib.momo"}, lanes), ours, rtol=1e-10)
    np.testing.assert_allclose(
        trained({"torch": "tests.foreign.peculiar.Polyak"}, lanes),
        trained({"name": "PolyakSGD"}, lanes),
        rtol=1e-10,
    )
    assert not optimizers.find("optax:adam").takes_loss()


@full
def test_torch_within_optrun_is_torch_alone():
    """A loop as one writes it with torch, of the same network, batches and schedule; weights are `[out, in]` there."""
    import torch

    pack = Pack([from_mapping(CONFIG)])
    names = list(pack.params)
    turned = pack.params.inputs_first
    assert turned
    values = [pack.params[n][0].T if n in turned else pack.params[n][0] for n in names]
    tensors = [torch.tensor(np.ascontiguousarray(each)) for each in values]
    theirs = torch.optim.Adafactor(tensors, lr=0.05, d=2.0)
    other = Pack([from_mapping(CONFIG)])
    for t, _ in pack.iterate(0):
        for name, tensor in zip(names, tensors, strict=True):
            other.params[name][0] = tensor.numpy().T if name in turned else tensor.numpy()
        np.testing.assert_array_equal(other.params.data, pack.params.data)
        other.problem.loss_and_grad(other.params, other.params.grads, other.batches[t])
        for name, tensor in zip(names, tensors, strict=True):
            grad = other.params.grads[name][0]
            tensor.grad = torch.tensor(np.ascontiguousarray(grad.T if name in turned else grad))
        theirs.param_groups[0]["lr"] = pack.optimizer.param_groups[0]["lr"]
        theirs.step()


@pytest.mark.parametrize(
    ("optimizer", "lanes"),
    [
        ({"torch": "Adam"}, [{"lr": 0.01}, {"lr": 0.1, "betas": [0.8, 0.9]}, {"lr": 0.1, "eps": 1e-3}]),
        ({"name": PECULIAR}, [{"lr": 0.2}, {"lr": 0.3}, {"lr": 0.2, "momentum": 0.9}]),
    ],
    ids=["Adam", "peculiar"],
)
@full
def test_a_lane_is_its_run_alone(optimizer, lanes):
    together = trained(optimizer, lanes)
    for lane, options in zip(together, lanes, strict=True):
        np.testing.assert_array_equal(lane, trained(optimizer, [options])[0])


@full
def test_optax_within_optrun_is_optax_alone():
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    lanes = [{"learning_rate": 0.1}, {"learning_rate": 0.2}, {"learning_rate": 0.2, "b1": 0.5}]
    together = trained({"optax": "adamw"}, lanes)
    for lane, options in zip(together, lanes, strict=True):
        np.testing.assert_allclose(lane, trained({"optax": "adamw"}, [options])[0], rtol=1e-12)
    ours = params()
    optimizer = optimizers.find("optax:adamw")(ours, lr=0.1, weight_decay=0.01)
    with jax.enable_x64(True):
        theirs = optax.adamw(0.1, weight_decay=0.01)
        x = jax.numpy.asarray(ours.data[0])
        state = theirs.init(x)
        for t in range(5):
            moved, state = theirs.update(jax.numpy.sin(x + t), state, x)
            x = optax.apply_updates(x, moved)
            step(optimizer, t)
            np.testing.assert_allclose(ours.data[0], np.asarray(x), rtol=1e-13)


RULES = [(PECULIAR, {"momentum": [0.5, 0.9]}), ("torch:NAdam", {"beta1": [0.5, 0.9]})]
IN_JAX = [
    ("optax:contrib.prodigy", {"learning_rate": 1.0, "beta1": [0.5, 0.9]}),
    ("optax:tests.foreign.peculiar.branching", {"lr": [0.1, 0.01]}),
]


@pytest.mark.parametrize(("name", "options"), [*RULES, *IN_JAX])
@full
def test_a_state_continues_to_the_bit(name, options):
    if name.startswith("optax"):
        pytest.importorskip("optax")
    options = {key: np.array(of) if isinstance(of, list) else of for key, of in options.items()}
    whole = optimizers.find(name)(params(2), **options)
    for t in range(3):
        step(whole, t)
    saved = whole.state_dict()
    for t in range(3, 6):
        step(whole, t)
    resumed = optimizers.find(name)(params(2), **options)
    fresh = optimizers.find(name)(params(2), **options)
    half = optimizers.find(name)(params(2), **options)
    for t in range(3):
        step(half, t)
    for each in (resumed, fresh):
        each.params.data[:] = half.params.data
    resumed.load_state_dict(saved)
    for t in range(3, 6):
        step(resumed, t)
        step(fresh, t)
    np.testing.assert_array_equal(resumed.params.data, whole.params.data)
    assert not np.array_equal(fresh.params.data, whole.params.data)  # the state matters


@full
def test_what_no_checkpoint_holds_is_told_by_name():
    nested = optimizers.find("torch:tests.foreign.peculiar.Nested")(params(2))
    step(nested, 0)
    with pytest.raises(PluginError, match="Nested: _base is a SGD, which no checkpoint can hold"):
        nested.state_dict()


@full
def test_a_stored_run_is_resumed_and_tells_what_it_evaluates(tmp_path):
    config = {**CONFIG, "optimizer": {"name": PECULIAR}, "evaluate": {"every": 3}}
    del config["scheduler"]
    config["seed"] = 3
    optrun.run({**config, "steps": 5}, directory=tmp_path / "a", plugins=[PLUGIN])
    resumed = optrun.resume(tmp_path / "a", steps=12, plugins=[PLUGIN])
    whole = optrun.run(config, save=False, plugins=[PLUGIN])
    assert resumed.summary == whole.summary
    name = next(iter(whole.params))
    np.testing.assert_array_equal(resumed.params[name], whole.params[name])
    # What is evaluated is that of the mode, which no step notices: a pack alone never enters it.
    pack = Pack([from_mapping(config)])
    for _ in pack.iterate(0):
        pass
    np.testing.assert_allclose(whole.params[name], 0.3 * pack.params[name][0], rtol=1e-12)


@full
def test_what_an_optimizer_draws_depends_on_the_seed_of_its_run():
    """The problem draws the same, so that the runs differ in the noise of their optimizer alone."""
    config = {**CONFIG, "optimizer": {"name": PECULIAR}, "seeds": {"init": 0, "data": 0}}
    alone = []
    for seed in (0, 1):
        pack = Pack([from_mapping({**config, "seed": seed})])
        assert seed_is_idle(pack, pack.configs[0]) == ""
        for _ in pack.iterate(0):
            pass
        alone.append(pack.params.data[0])
    assert not np.array_equal(*alone)
    together = Pack([from_mapping({**config, "seed": seed}) for seed in (0, 1)])
    for _ in together.iterate(0):
        pass
    np.testing.assert_array_equal(together.params.data, alone)
    undrawn = Pack([from_mapping({**config, "optimizer": {"torch": "SGD", "lr": 0.1}})])
    assert seed_is_idle(undrawn, undrawn.configs[0])


@full
def test_a_closure_and_maximize_are_torchs():
    config = {**CONFIG, "problem": "rosenbrock", "steps": 6}
    del config["scheduler"]
    theirs = optrun.run({**config, "optimizer": {"torch": "LBFGS", "max_iter": 5}}, save=False)
    ours = optrun.run({**config, "optimizer": {"name": "LBFGS", "max_iter": 5}}, save=False)
    np.testing.assert_allclose(theirs.curves["loss"], ours.curves["loss"], rtol=1e-9)
    up = {**CONFIG, "problem": "quadratic", "optimizer": {"torch": "SGD", "lr": 0.01, "maximize": True}}
    assert optrun.run(up, save=False).summary["final_loss"] == pytest.approx(
        optrun.run({**up, "optimizer": {"name": "SGD", "lr": 0.01, "maximize": True}}, save=False).summary[
            "final_loss"
        ]
    )


def refused(optimizer, **more):
    with pytest.raises((ConfigError, ConfigErrors, MissingExtraError)) as caught:
        Pack([from_mapping({**CONFIG, "optimizer": optimizer, **more})])
    return str(caught.value)


@full
def test_what_cannot_run_is_refused_by_name():
    assert "optimizer.betass: unknown key. Did you mean 'betas'?" in refused(
        {"torch": "Adam", "betass": [0.9, 0.9]}
    )
    assert "Did you mean 'Adan" not in refused({"torch": "Adamm"})
    assert "Did you mean 'Adam'?" in refused({"torch": "Adamm"})
    assert "no optimizer of torch" in refused({"torch": "lr_scheduler.StepLR"})
    assert "is no dotted path" in refused({"torch": "Adam; x"})
    assert "pip install no_such_package" in refused({"torch": "no_such_package.Adam"})
    assert "only one parameter group" in refused(
        {"torch": "Adam", "param_groups": [{"params": "*bias", "lr": 1.0}]}
    )
    assert "is of another library, so it takes no transforms" in refused(
        {"torch": "Adam", "gradient": ["Centralize"]}
    )
    mixed = {"name": "SGD", "param_groups": [{"params": "*bias", "name": "torch:Adam"}]}
    assert "is of another library, so that it goes with no other rule" in refused(mixed)
    assert "must be ≤ 1" in refused({"torch": "tests.foreign.peculiar.Rateless", "lr": 2.0})
    with pytest.raises(RunFailedError, match="maximize_it is fixed when the optimizer is made"):
        optrun.run(
            {
                **CONFIG,
                "optimizer": {"torch": "tests.foreign.peculiar.Rateless"},
                "scheduler": None,
                "schedules": {"maximize_it": "LinearLR"},
            },
            save=False,
        )


def test_without_the_plugin_a_config_imports_nothing(monkeypatch):
    monkeypatch.setattr(optimizers, "families", {})
    with pytest.raises(ConfigErrors) as caught:
        from_mapping(CONFIG)
    assert (
        str(caught.value) == "<config>: optimizer.torch: an optimizer of torch needs --plugin optrun.foreign"
    )
    with pytest.raises(ConfigErrors, match="'torch:os.system': an optimizer of torch needs --plugin"):
        from_mapping({**CONFIG, "optimizer": "torch:os.system"})
