"""Samples keep their shape until a dense layer flattens them."""

from typing import Any

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays
from optrun.problems import MLP
from optrun.problems.data_problem import DataProblem
from optrun.problems.losses import CrossEntropy

DRAWS = np.random.default_rng(0)
IMAGES = DRAWS.normal(size=(60, 5, 4)) * np.exp(DRAWS.normal(size=(5, 4))) + 3
KINDS = np.arange(60) % 3


class _Images(DataProblem):
    shapes: Any = None

    def __init__(self, arrays: Arrays, **options: Any) -> None:
        super().__init__(arrays, **options)

    def _loss_and_targets(self, dataset: Any) -> Any:
        return CrossEntropy(self.arrays, self.scratch, 3), dataset.classes()[1]

    def initial(self, seed: int) -> Any:
        return {}

    def loss_and_grad(self, params: Any, grads: Any, batch: Any) -> Any:
        raise NotImplementedError

    evaluate: Any = loss_and_grad


@pytest.fixture
def files(tmp_path):
    np.savez(tmp_path / "images.npz", X=IMAGES, y=KINDS)
    np.savez(tmp_path / "pixels.npz", X=IMAGES.reshape(60, 20), y=KINDS)
    return {name: str(tmp_path / f"{name}.npz") for name in ("images", "pixels")}


def test_the_parts_are_images_whose_pixels_are_standardized(files):
    problem = _Images(Arrays(dtype="float64"), data=files["images"], validation_fraction=0.2)
    assert {part: x.shape for part, (x, _) in problem.parts.items()} == {
        "train": (36, 5, 4),
        "val": (12, 5, 4),
        "test": (12, 5, 4),
    }
    scaled = {part: x for part, (x, _) in problem.parts.items()}
    np.testing.assert_allclose(scaled["train"].mean(axis=0), np.zeros((5, 4)), atol=1e-12)
    np.testing.assert_allclose(scaled["train"].std(axis=0), np.ones((5, 4)))
    # One affine map for each pixel, the same in all parts: differences of samples tell its factor.
    raw = _Images(
        Arrays(dtype="float64"), data=files["images"], validation_fraction=0.2, standardize=False
    ).parts
    factor = 1 / raw["train"][0].std(axis=0)
    for part in scaled:
        moved = (raw[part][0] - raw["train"][0].mean(axis=0)) * factor
        np.testing.assert_allclose(scaled[part], moved, atol=1e-12)
    assert "of 20 features (5 × 4)" in problem.inferred


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("more", [{}, {"batch_size": 16, "bias": False}])
def test_a_dense_network_on_images_is_the_one_on_their_pixels(files, more, dtype):
    def bits(data):
        problem = {"name": "mlp", "data": data, "hidden": [6], **more}
        run = optrun.run({"problem": problem, "optimizer": "Adam", "steps": 9, "dtype": dtype}, save=False)
        return [run.summary, *(values.tobytes() for values in (run.curves["loss"], *run.params.values()))]

    assert bits(files["images"]) == bits(files["pixels"])
    assert MLP(Arrays(), data=files["images"]).shapes["layer1.weight"][0] == 20
