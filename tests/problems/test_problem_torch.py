"""Regressions and networks against torch."""

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.problems import MLP
from optrun.registry import optimizers
from tests.problems.cases import build, pack

torch = pytest.importorskip("torch")
functional = torch.nn.functional

TORCH_LOSSES = {
    "linear_regression": lambda z, y: functional.mse_loss(z[:, 0], y),
    "huber_regression": lambda z, y: functional.huber_loss(z[:, 0], y, delta=0.3),
    "poisson_regression": lambda z, y: functional.poisson_nll_loss(z[:, 0], y),
    "logistic_regression": lambda z, y: functional.binary_cross_entropy_with_logits(z[:, 0], y),
    "softmax_regression": lambda z, y: functional.cross_entropy(z, y.long()),
    "mlp": lambda z, y: functional.cross_entropy(z, y.long()),
}
TORCH_ACTIVATIONS = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "gelu": lambda z: functional.gelu(z, approximate="tanh"),
}
NETWORKS = [
    ("linear_regression", {"l2": 0.3}),
    ("linear_regression", {"l1": 0.3, "l2": 0.1}),
    ("huber_regression", {"delta": 0.3, "l2": 0.1}),
    ("poisson_regression", {"l2": 0.1}),
    ("logistic_regression", {}),
    ("logistic_regression", {"l2": 0.3, "bias": False}),
    ("softmax_regression", {"data": "wine", "l2": 0.3}),
    *[
        ("mlp", {"activation": a, "hidden": [7, 6], "data": "wine", "l2": 0.2, "l1": 0.1})
        for a in TORCH_ACTIVATIONS
    ],
]


def torch_outputs(params, x, activation):
    weights = [name for name in params if name.endswith("weight")]
    for name in weights:
        x = x @ params[name] + params.get(name.replace("weight", "bias"), 0)
        if name != weights[-1]:
            x = TORCH_ACTIVATIONS[activation](x)
    return x


@pytest.mark.parametrize("case", NETWORKS, ids=str)
def test_loss_gradient_and_metrics_are_torchs(case):
    problem, (name, options) = build(case), case
    lanes = pack(problem, [5, 6])
    loss = problem.loss_and_grad(lanes, lanes.grads, None).copy()
    metrics = problem.evaluate(lanes)
    params = {k: torch.tensor(v[1].copy(), requires_grad=True) for k, v in lanes.items()}
    parts = {part: [torch.tensor(a) for a in arrays] for part, arrays in problem.parts.items()}
    outputs = {p: torch_outputs(params, x, options.get("activation")) for p, (x, _) in parts.items()}
    losses = {p: TORCH_LOSSES[name](outputs[p], y) for p, (_, y) in parts.items()}
    weights = [w for k, w in params.items() if k.endswith("weight")]
    penalty = sum(
        (w**2).sum() * options.get("l2", 0) / 2 + w.abs().sum() * options.get("l1", 0) for w in weights
    )
    (losses["train"] + penalty).backward()
    assert loss[1] == pytest.approx((losses["train"] + penalty).item(), rel=1e-12)
    for k, tensor in params.items():
        np.testing.assert_allclose(lanes.grads[k][1], tensor.grad.numpy(), rtol=1e-9, atol=1e-12)
    assert metrics["loss"][1] == loss[1]
    for part, expected in losses.items():
        assert metrics[f"{part}_loss"][1] == pytest.approx(expected.item(), rel=1e-12)
        z, y = outputs[part].detach().numpy(), parts[part][1].numpy()
        if name in ("linear_regression", "huber_regression", "poisson_regression"):
            assert f"{part}_accuracy" not in metrics
        else:
            predicted = z.argmax(1) if z.shape[1] > 1 else z[:, 0] > 0
            assert metrics[f"{part}_accuracy"][1] == pytest.approx(np.mean(predicted == y))


def test_initial_weights_are_distributed_as_torchs():
    torch.manual_seed(0)
    start = MLP(Arrays(), hidden=[5_000]).initial(3)
    reference = torch.nn.Linear(64, 5_000)
    for name, tensor in (("layer1.weight", reference.weight), ("layer1.bias", reference.bias)):
        assert np.abs(start[name]).max() <= 1 / 8
        assert np.abs(start[name]).max() == pytest.approx(tensor.abs().max().item(), rel=0.05)
        assert start[name].std() == pytest.approx(tensor.std().item(), rel=0.03)
    assert list(start) == ["layer1.weight", "layer1.bias", "layer2.weight", "layer2.bias"]
    assert start["layer1.weight"].shape == (64, 5_000)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Muon", {"weight_decay": 0.1, "adjust_lr_fn": "original"}),
        ("Muon", {"weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}),
        ("Adafactor", {}),
    ],
)
def test_a_rule_that_looks_at_matrices_takes_torchs_steps_on_the_same_network(name, options, monkeypatch):
    """Weights lie [in, out] here and [out, in] there; one layer widens and one narrows."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor)  # to which torch's Muon rounds
    problem = MLP(Arrays(dtype="float64"), hidden=[256], bias=False)
    params = Parameters(problem.shapes, arrays=problem.arrays, inputs_first=problem.inputs_first)
    params.set_lane(0, problem.initial(0))
    network = torch.nn.Sequential(
        torch.nn.Linear(64, 256, bias=False), torch.nn.ReLU(), torch.nn.Linear(256, 10, bias=False)
    ).double()
    for tensor, weights in zip(network.parameters(), params.values(), strict=True):
        tensor.data = torch.tensor(weights[0].T.copy())
    ours = optimizers.find(name)(params, lr=0.02, **options)
    theirs = getattr(torch.optim, name)(network.parameters(), lr=0.02, **options)
    x, y = (torch.tensor(each) for each in problem.parts["train"])
    for _ in range(3):
        before = [weights[0].T.copy() for weights in params.values()]
        problem.loss_and_grad(params, params.grads, None)
        ours.step()
        theirs.zero_grad()
        functional.cross_entropy(network(x.double()), y.long()).backward()
        theirs.step()
        for old, weights, tensor in zip(before, params.values(), network.parameters(), strict=True):
            moved, expected = weights[0].T - old, tensor.detach().numpy() - old
            np.testing.assert_allclose(moved, expected, rtol=1e-8, atol=1e-10)
