"""The ledger of other libraries' optimizers: its table, what it finds, and that its reasons are so."""

import json
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.foreign import torch_rules
from optrun.registry import optimizers
from optrun.selftest import conformance as ledger
from optrun.selftest.conformance import BOUND, Conformity, Counterpart, conformance, counterparts
from tests.cli.looking import call

__all__ = ["call"]

ROOT = Path(__file__).parents[2]
ROWS = [(name, of) for name, rows in counterparts().items() for of in rows]


def test_the_table_names_rules_and_says_how_its_reasons_are_shown():
    for name, of in ROWS:
        rule = optimizers.find(name)
        assert optimizers.spelled(name) == name
        assert {*of.ours, *(of.agrees_at or {})} <= rule.options().keys(), name
        assert of.follows in ("", "optrun", "theirs", "both", "neither")
        assert not of.follows or of.why, name
        assert not (of.test and (of.agrees_at or of.agrees_with)), name
        assert not of.test or of.test in globals() or (ROOT / of.test.split()[0]).exists(), of.test
    assert len({(name, of.name, str(of.ours)) for name, of in ROWS}) == len(ROWS)


def one(name, monkeypatch, *rows):
    monkeypatch.setattr(ledger, "PROBLEMS", ledger.PROBLEMS[:1])
    monkeypatch.setattr(ledger, "counterparts", lambda: {name: list(rows)})
    return list(conformance([name], steps=8))


@pytest.mark.full
def test_rows_say_what_agrees_and_what_does_not(monkeypatch):
    pytest.importorskip("torch")
    same, late, open, explained, gone = one(
        "Adam",
        monkeypatch,
        Counterpart("torch", "Adam"),
        Counterpart("torch", "no_such.Adam"),
        Counterpart("torch", "Adam", theirs={"beta1": 0.8}),
        Counterpart(
            "torch", "Adam", theirs={"beta1": 0.8}, follows="optrun", why="0.8", agrees_with={"beta1": 0.9}
        ),
        Counterpart(
            "torch", "Adam", theirs={"beta1": 0.8}, follows="optrun", why="ε", agrees_at={"eps": 0.0}
        ),
    )
    assert (same.conformity, same.is_explained) == (Conformity.AGREES, True)
    assert same.difference <= 1e-13
    assert late.conformity is Conformity.MISSING
    assert (open.conformity, open.is_explained) == (Conformity.DIFFERS, False)
    assert open.difference > 1e-4
    assert explained.is_explained
    assert explained.difference_then <= BOUND
    assert not gone.is_explained  # the reason is not the one
    assert [row.conformity for row in one("LBFGS", monkeypatch)] == [Conformity.NONE]
    (failed,) = one("SGD", monkeypatch, Counterpart("torch", "SGD", theirs={"lr": -1.0}))
    assert failed.conformity is Conformity.FAILED
    assert "Invalid learning rate" in failed.why


def test_every_rule_is_in_the_ledger(monkeypatch):
    monkeypatch.setattr(ledger, "find_spec", lambda package: None)
    rows = list(conformance())
    assert {row.rule for row in rows} == set(optimizers)
    assert {row.conformity for row in rows} == {Conformity.MISSING, Conformity.NONE}


@pytest.mark.full
def test_the_command_prints_the_ledger(call, monkeypatch):
    pytest.importorskip("torch")
    told = json.loads(call("conformance", "adam", "--library", "torch", "--steps", "3", "--json").out)
    assert [(row["rule"], row["conformity"]) for row in told["rows"]] == [("Adam", "agrees")]
    done = call("conformance", "Adam", "--library", "torch", "--steps", "3", "--md")
    assert done.code == 0
    assert done.out.splitlines()[2].startswith("| Adam | torch.optim.Adam | ")
    assert done.err == "1 agrees\n"
    assert "Did you mean 'Adan'" in call("conformance", "Adaan").err
    assert (
        "there is no counterpart of 'tim'. Did you mean 'timm'?"
        in call("conformance", "--library", "tim").err
    )
    other = Counterpart("torch", "SGD", ours={"lr": 1e-3}, theirs={"momentum": 0.5})
    monkeypatch.setattr(ledger, "counterparts", lambda: {"SGD": [other]})
    done = call("conformance", "SGD", "--steps", "3")
    assert done.code == 1
    assert "not yet explained" in done.out
    assert done.err == "1 differs, 1 difference not yet explained\n"


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "of"),
    [
        (name, of)
        for name, of in ROWS
        if of.package in ("torch", "optax") and (of.agrees_at or of.agrees_with)
    ],
)
def test_where_a_library_differs_the_options_show_why(name, of, monkeypatch):
    pytest.importorskip(of.package)
    (row,) = one(name, monkeypatch, of)
    assert row.is_explained
    assert row.conformity is Conformity.DIFFERS or row.difference <= BOUND


SHAPES = {"w": (4, 3), "b": (3,)}


def tensors(shapes=SHAPES):
    made = Parameters(shapes, arrays=Arrays(dtype="float64"))
    made.data[:] = np.linspace(-1, 1, 15)
    return made


def trajectory(rule, steps=30, scale=1.0, rates=None, shapes=SHAPES, **options):
    """Return the parameters after each step, of gradients that are the same for every rule."""
    params, rng = tensors(shapes), np.random.default_rng(0)
    made, rows = rule(params, **options), [params.data[0].copy()]
    for _ in range(steps):
        params.grad[:] = scale * rng.normal(size=15)
        if rates is not None:
            made.param_groups[0]["lr"] = rates(len(rows))
        made.step()
        rows.append(params.data[0].copy())
    return np.array(rows)


def ours(name, **options):
    return trajectory(optimizers.find(name), **options)


def theirs(path, **options):
    pytest.importorskip(path.partition(".")[0])
    return trajectory(torch_rules.torch_rule(path), **options)


def test_adan_pytorch_makes_no_first_update():
    rows = theirs("adan_pytorch.Adan", lr=0.01)
    np.testing.assert_array_equal(rows[1], rows[0])
    assert (rows[2] != rows[1]).all()


def test_adopt_of_pytorch_optimizer_clips_a_step_late():
    late = theirs("pytorch_optimizer.ADOPT", lr=0.01, eps=1e-6)
    mended = theirs("pytorch_optimizer.ADOPT", lr=0.01, eps=1e-6, clip_lambda=lambda step: (step - 1) ** 0.25)
    rule = ours("ADOPT", lr=0.01, eps=1e-6)
    np.testing.assert_allclose(mended, rule, rtol=1e-12)
    assert abs(late - rule).max() > 1e-3


def test_pytorch_optimizer_adds_a_constant_within_the_root(monkeypatch):
    base = pytest.importorskip("pytorch_optimizer.base.optimizer").BaseOptimizer
    cases = {
        "LaProp": {"lr": 0.01, "eps": 0.0},
        "AdaBound": {"lr": 0.01, "eps": 0.0},
    }
    single = {"LaProp": {"foreach": False}}  # its other way of computing has rates in float32
    small = {name: {**of, "scale": 1e-3} for name, of in cases.items()}
    before = {
        name: theirs(f"pytorch_optimizer.{name}", **of, **single.get(name, {})) for name, of in small.items()
    }
    functions = [
        function for name in vars(base) if (function := getattr(base, name, None)) and "ams_bound" in name
    ]
    for function in functions:
        defaults = tuple(0.0 if value == 1e-15 else value for value in function.__defaults__)
        monkeypatch.setattr(function, "__defaults__", defaults)
    for name, of in small.items():
        rule = ours(name, **of)
        after = theirs(f"pytorch_optimizer.{name}", **of, **single.get(name, {}))
        np.testing.assert_allclose(after, rule, rtol=1e-11, err_msg=name)
        assert abs(before[name] - rule).max() > abs(after - rule).max(), name


def test_nadamw_of_timm_corrects_both_parts_alike():
    lr, beta1, beta2, eps = 0.01, 0.9, 0.999, 1e-8
    rows = theirs("timm.optim.NAdamW", lr=lr, weight_decay=0.0)
    x, m, v, rng = tensors().data[0].copy(), 0.0, 0.0, np.random.default_rng(0)
    for t, row in enumerate(rows[1:], 1):
        g = rng.normal(size=15)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        ahead = (beta1 * m + (1 - beta1) * g) / (1 - beta1**t)
        x = x - lr * ahead / (np.sqrt(v / (1 - beta2**t)) + eps)
        np.testing.assert_allclose(row, x, rtol=1e-10)
    assert abs(ours("NAdamW", lr=lr, weight_decay=0.0) - rows).max() > 1e-3


def test_lars_of_pytorch_optimizer_leaves_vectors_alone():
    options = {"lr": 0.1, "weight_decay": 0.0, "momentum": 0.9}
    rule, other = ours("LARS", **options), theirs("pytorch_optimizer.LARS", **options)
    np.testing.assert_allclose(other[:, :12], rule[:, :12], rtol=1e-10)
    np.testing.assert_allclose(other[:, 12:], ours("SGD", **options)[:, 12:], rtol=1e-10)


def test_lamb_without_a_bias_correction():
    options = {"lr": 0.01, "eps": 0.0, "weight_decay": 0.0}
    without = theirs("torch_optimizer.Lamb", clamp_value=1e300, **options)
    np.testing.assert_allclose(without, ours("LAMB", **options), rtol=1e-9)
    on_the_rate = theirs("pytorch_optimizer.Lamb", max_grad_norm=0.0, **options)
    larger = ours("LAMB", rates=lambda t: 0.01 / (1 - 0.9**t), **options)
    np.testing.assert_allclose(on_the_rate, larger, rtol=1e-9)


def test_qhadam_of_pytorch_optimizer_weighs_in_float32():
    pytest.importorskip("pytorch_optimizer")
    made = torch_rules.torch_rule("pytorch_optimizer.QHAdam")(tensors(), lr=0.01)
    made.step()
    (update,) = made._updates
    weights = [of["beta1_weight"].dtype for of in update._lanes[0].optimizer.state.values()]
    assert {str(each) for each in weights} == {"torch.float32"}


def test_rmsprop_of_timm_is_tensorflows():
    rows = theirs("timm.optim.RMSpropTF", lr=0.01, alpha=0.9, eps=1e-6)
    x, v, rng = tensors().data[0].copy(), 1.0, np.random.default_rng(0)
    for row in rows[1:]:
        g = rng.normal(size=15)
        v = 0.9 * v + 0.1 * g**2
        x = x - 0.01 * g / np.sqrt(v + 1e-6)
        np.testing.assert_allclose(row, x, rtol=1e-10)


def test_radam_of_timm_computes_in_float32():
    rows = theirs("timm.optim.RAdamLegacy", lr=0.01)
    np.testing.assert_array_equal(rows[1:], rows[1:].astype(np.float32))


def test_mars_of_pytorch_optimizer_begins_with_a_gradient_of_zero():
    lr, beta1, beta2, eps, scale = 0.01, 0.95, 0.99, 1e-3, 0.1
    rows = theirs("pytorch_optimizer.MARS", lr=lr, eps=eps, optimize_1d=True, scale=scale)
    x, m, v, before, rng = tensors().data[0].copy(), 0.0, 0.0, 0.0, np.random.default_rng(0)
    for t, row in enumerate(rows[1:], 1):
        g = scale * rng.normal(size=15)
        c = g + 0.025 * beta1 / (1 - beta1) * (g - before)
        c, before = np.concatenate([of / max(1, np.linalg.norm(of)) for of in (c[:12], c[12:])]), g
        m, v = beta1 * m + (1 - beta1) * c, beta2 * v + (1 - beta2) * c**2
        x = x - lr * m / (1 - beta1**t) / ((np.sqrt(v + 1e-15) + eps) / np.sqrt(1 - beta2**t))
        np.testing.assert_allclose(row, x, rtol=1e-10)
    assert abs(ours("MARS", lr=lr, eps=eps, scale=scale) - rows).max() > 1e-3


def test_simplified_ademamix_of_pytorch_optimizer_has_another_correction():
    lr, alpha, beta1, beta2, eps = 1e-3, 2.0, 0.99, 0.95, 1e-8
    options = {"lr": lr, "alpha": alpha}
    rows = theirs("pytorch_optimizer.SimplifiedAdEMAMix", foreach=False, **options)
    x, m, v, rng = tensors().data[0].copy(), 0.0, 0.0, np.random.default_rng(0)
    for t, row in enumerate(rows[1:], 1):
        g, root = rng.normal(size=15), np.sqrt(1 - beta2**t)
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        x = x - lr * (m + alpha * g) / ((np.sqrt(v) + root * eps) * root)
        np.testing.assert_allclose(row, x, rtol=1e-10)
    assert abs(ours("SimplifiedAdEMAMix", **options) - rows).max() > 1e-3


def test_dadaptsgd_of_pytorch_optimizer_has_a_first_norm_in_float32(monkeypatch):
    module = pytest.importorskip("pytorch_optimizer.optimizer.dadapt")
    rule, name = ours("DAdaptSGD", lr=1.0), "pytorch_optimizer.DAdaptSGD"

    def square(groups):
        return sum((p.grad**2).sum() for group in groups for p in group["params"])

    assert abs(theirs(name, lr=1.0) - rule).max() > 1e-13
    monkeypatch.setattr(module, "get_global_gradient_norm", square)
    np.testing.assert_allclose(theirs(name, lr=1.0), rule, rtol=1e-14)


def test_scion_of_pytorch_optimizer_computes_in_bfloat16(monkeypatch):
    module = pytest.importorskip("pytorch_optimizer.optimizer.scion")
    rule, name = ours("Scion", lr=0.01), "pytorch_optimizer.SCION"
    assert abs(theirs(name, lr=0.01, momentum=0.1) - rule).max() > 1e-4
    in_float64 = partial(module.zero_power_via_newton_schulz_5, dtype=module.torch.float64)
    monkeypatch.setattr(module, "zero_power_via_newton_schulz_5", in_float64)
    np.testing.assert_allclose(theirs(name, lr=0.01, momentum=0.1), rule, rtol=1e-10)


def timm_in_float64(monkeypatch):
    """Have timm's Muon orthogonalize in float64, and matrices of any shape."""
    module = pytest.importorskip("timm.optim.muon")
    monkeypatch.setattr(module, "_is_suitable_for_muon", lambda p, return_reason: True)
    in_float64 = partial(module.zeropower_via_newtonschulz, dtype=module.torch.float64)
    monkeypatch.setattr(module, "zeropower_via_newtonschulz", in_float64)


def test_muon_of_timm_computes_in_bfloat16_and_leaves_small_matrices_alone(monkeypatch):
    alone = {"lr": 0.01, "weight_decay": 0.1, "shapes": {"w": (5, 3)}}
    more = {"nesterov": True, "adjust_lr_fn": "original", "ns_coefficients": "original"}
    rule, name = ours("Muon", **alone), "timm.optim.Muon"
    small = theirs("timm.optim.NAdamW", beta1=0.9, beta2=0.95, eps=1e-7, **alone)
    np.testing.assert_allclose(theirs(name, **alone, **more), small, rtol=1e-10)
    timm_in_float64(monkeypatch)
    np.testing.assert_allclose(theirs(name, **alone, **more), rule, rtol=1e-10)


def test_adamuon_of_timm_computes_in_bfloat16(monkeypatch):
    """Without ε a bias correction of the second moment changes nothing."""
    alone = {"lr": 0.01, "weight_decay": 0.01, "eps": 0.0, "shapes": {"w": (5, 3)}}
    more = {"algo": "adamuon", "nesterov": True, "ns_coefficients": "original", "beta2": 0.999}
    rule, name = ours("AdaMuon", sign_momentum=False, **alone), "timm.optim.Muon"
    timm_in_float64(monkeypatch)
    np.testing.assert_allclose(theirs(name, **alone, **more), rule, rtol=1e-10)


class InFloat64:
    """torch, with float64 where it says float32."""

    def __init__(self, torch):
        self.torch, self.float32 = torch, torch.float64

    def __getattr__(self, name):
        return getattr(self.torch, name)


def test_soap_of_pytorch_optimizer_has_qr_in_float32(monkeypatch):
    module = pytest.importorskip("pytorch_optimizer.optimizer.soap")
    options, name = {"lr": 0.01, "weight_decay": 0.0}, "pytorch_optimizer.SOAP"
    rule = ours("SOAP", **options)
    assert abs(theirs(name, **options) - rule).max() > 1e-9
    monkeypatch.setattr(module, "torch", InFloat64(module.torch))
    np.testing.assert_allclose(theirs(name, **options), rule, rtol=1e-10)
    decayed = theirs(name, lr=0.01, weight_decay=0.1, steps=2)
    np.testing.assert_allclose(decayed[2], (1 - 1e-3) * theirs(name, steps=2, **options)[2], rtol=1e-10)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # it compiles, even where it is told not to, and torch warns
def test_soap_of_heavyball_lifts_what_it_decomposes():
    """After the 1st, 16th and 32nd gradient its basis is a new one; what it adds to the matrix is 64 n ε in float64."""
    options = {"lr": 0.01, "weight_decay": 0.0, "beta1": 0.95, "beta2": 0.95, "eps": 0.0}
    more = {"storage_dtype": "float64", "compile_step": False, "merge_dims": False}
    every_16 = theirs("heavyball.SOAP", precondition_frequency=16, **options, **more)
    every_15 = ours("SOAP", update_every=15, **options)
    np.testing.assert_allclose(every_16[:17], every_15[:17], rtol=1e-10)
    np.testing.assert_allclose(every_16, every_15, atol=1e-10)
    assert abs(every_16 - ours("SOAP", update_every=16, **options)).max() > 1e-4


def test_adam_mini_knows_a_tensor_by_its_name():
    named = {"mlp.w": (4, 3), "mlp.bias": (3,)}
    other = theirs("adam_mini.Adam_mini", lr=0.01, verbose=False, shapes=named)
    np.testing.assert_allclose(other, ours("AdamMini", lr=0.01), rtol=1e-10)
    nameless = theirs("adam_mini.Adam_mini", lr=0.01, verbose=False)
    x, m, v, rng = np.linspace(-1, 1, 15), np.zeros(15), np.zeros(2), np.random.default_rng(0)
    for t, row in enumerate(nameless[1:], 1):
        g = rng.normal(size=15)
        squares = np.array([(g[:12] ** 2).mean(), (g[12:] ** 2).mean()])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * squares
        x = x - 0.01 * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8).repeat([12, 3])
        np.testing.assert_allclose(row, x, rtol=1e-10)


@pytest.mark.full
def test_rprop_of_optax_is_a_step_late():
    pytest.importorskip("optax")
    from optrun.foreign.optax_rules import optax_rule

    rows = trajectory(optax_rule("rprop"), steps=4, lr=0.01)
    np.testing.assert_array_equal(rows[1], rows[0])
    assert all((after != before).any() for before, after in pairwise(rows[1:]))
