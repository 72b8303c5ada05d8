"""Weights of classes: those of scikit-learn, in the loss and in its gradient."""

import re

import numpy as np
import pytest

from optrun.arrays import Arrays
from optrun.config import from_mapping
from optrun.errors import ConfigError
from optrun.problems.networks import MLP
from optrun.problems.regression import LinearRegression, LogisticRegression, SoftmaxRegression

L2 = 0.05
WEIGHTS = {"benign": 3.0, "malignant": 0.5}


def at(problem, values):
    """Return the loss and the gradient of a problem at parameters, by name."""
    params = {name: np.array(value, np.float64)[None] for name, value in values.items()}
    grads = {name: np.empty_like(value) for name, value in params.items()}
    loss = problem.loss_and_grad(params, grads, None)[0]
    return loss, {name: grad[0] for name, grad in grads.items()}


@pytest.mark.parametrize(
    ("data", "weight"),
    [
        ("breast_cancer", "balanced"),
        ("breast_cancer", WEIGHTS),
        ("wine", "balanced"),
        ("wine", {"class_1": 7}),
    ],
)
def test_the_minimum_is_that_of_scikit_learn(data, weight):
    linear = pytest.importorskip("sklearn.linear_model")
    classes = [SoftmaxRegression, *[LogisticRegression] * (data == "breast_cancer")]
    for cls in classes:
        made = cls(Arrays(dtype="float64"), data=data, l2=L2, class_weight=weight)
        x, y = made.parts["train"]
        names = made.preparation.target.classes
        own = weight if weight == "balanced" else {names.index(name): of for name, of in weight.items()}
        if len(names) == 2 and cls is SoftmaxRegression:
            continue  # scikit-learn has one output for two classes
        theirs = linear.LogisticRegression(
            C=1 / (len(x) * L2), class_weight=own, tol=1e-10, max_iter=10_000
        ).fit(x, y)
        loss, grads = at(made, {"weight": theirs.coef_.T, "bias": theirs.intercept_})
        assert max(np.abs(grad).max() for grad in grads.values()) < 1e-6
        nearby = {"weight": theirs.coef_.T + 0.01, "bias": theirs.intercept_}
        assert at(made, nearby)[0] > loss


@pytest.mark.parametrize("batch", [None, np.array([[5, 7, 100, 3], [9, 1, 2, 90]])])
def test_a_weighted_loss_is_torchs_sum(batch):
    torch = pytest.importorskip("torch")
    made = MLP(
        Arrays(dtype="float64"),
        data="wine",
        hidden=[5],
        class_weight={"class_0": 4.0, "class_2": 0.25},
        batch_size=None if batch is None else 4,
    )
    lanes = 2
    values = {name: np.stack([made.initial(seed)[name] for seed in range(lanes)]) for name in made.shapes}
    grads = {name: np.empty_like(value) for name, value in values.items()}
    losses = made.loss_and_grad(values, grads, batch).copy()
    x, y = (torch.tensor(each) for each in made.parts["train"])
    weights = torch.tensor([4.0, 1.0, 0.25], dtype=torch.float64)
    for lane in range(lanes):
        own = {name: torch.tensor(value[lane], requires_grad=True) for name, value in values.items()}
        rows = slice(None) if batch is None else batch[lane]
        hidden = torch.relu(x[rows] @ own["layer1.weight"] + own["layer1.bias"])
        outputs = hidden @ own["layer2.weight"] + own["layer2.bias"]
        loss = torch.nn.functional.cross_entropy(outputs, y[rows].long(), weight=weights, reduction="sum")
        loss = loss / len(outputs)
        loss.backward()
        assert losses[lane] == pytest.approx(loss.item(), rel=1e-12)
        for name, tensor in own.items():
            np.testing.assert_allclose(grads[name][lane], tensor.grad.numpy(), rtol=1e-9, atol=1e-14)
    figures = made.evaluate(values)
    assert figures["loss"] == pytest.approx(figures["train_loss"])


def test_equal_weights_are_no_weights_and_what_they_are_is_said():
    plain = SoftmaxRegression(Arrays(dtype="float64"), data="iris")
    equal = SoftmaxRegression(Arrays(dtype="float64"), data="iris", class_weight="balanced")
    values = {name: value + 0.1 for name, value in plain.initial(0).items()}
    assert at(equal, values)[0] == pytest.approx(at(plain, values)[0], rel=1e-14)
    made = LogisticRegression(Arrays(), data="breast_cancer", class_weight="balanced", l2=0.1)
    assert made.inferred.endswith(", class weights 0.797, 1.34")


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (
            SoftmaxRegression,
            {"data": "iris", "class_weight": {"setosaa": 2.0}},
            "no class 'setosaa'.*mean 'setosa'",
        ),
        (
            LinearRegression,
            {"class_weight": "balanced"},
            "class_weight: the target of .diabetes. is a real number",
        ),
        (MLP, {"data": "iris", "class_weight": {"setosa": 0.0}}, "class_weight.setosa must be > 0"),
        (MLP, {"data": "iris", "class_weight": "balance"}, "class_weight.* must be 'balanced'"),
    ],
)
def test_wrong_weights(cls, options, message):
    with pytest.raises(ConfigError, match=message):
        cls(Arrays(), **options)


@pytest.mark.parametrize(
    ("classes", "weights", "said"),
    [
        ("True False", {"true": 5.0}, [1, 5]),
        ("True False", {"True": 5.0}, [1, 5]),
        ("TRUE FALSE", {"TRUE": 5.0}, [1, 5]),
        ("True False", {"true": 3.0, "True": 5.0}, "the class 'True' has two weights"),
        ("Setosa Virginica", {"setosa": 3.0}, "no class 'setosa'. Did you mean 'Setosa'?"),
    ],
)
def test_a_class_is_named_as_the_table_has_it_but_for_true_and_false(tmp_path, classes, weights, said):
    (tmp_path / "d.csv").write_text("x,y\n" + "1.5,{}\n2.5,{}\n".format(*classes.split()) * 9)
    if isinstance(said, list):
        made = MLP(Arrays(), data=f"{tmp_path}/d.csv", class_weight=weights)
        assert made.inferred.endswith(f", class weights {', '.join(map(str, said))}")
    else:
        with pytest.raises(ConfigError, match=re.escape(said)):
            MLP(Arrays(), data=f"{tmp_path}/d.csv", class_weight=weights)


def test_weights_are_part_of_a_config():
    config = {
        "problem": {"name": "mlp", "data": "iris", "class_weight": {"setosa": 2}},
        "optimizer": "SGD",
        "steps": 1,
    }
    written = from_mapping(config).to_dict()
    assert written["problem"]["class_weight"] == {"setosa": 2.0}
    assert from_mapping(written).to_dict() == written
