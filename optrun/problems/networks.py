"""Multilayer perceptrons."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np

from optrun.arrays import Array, Arrays, stream
from optrun.errors import ConfigError
from optrun.problems.activations import ACTIVATIONS
from optrun.problems.data import Dataset, DataSource
from optrun.problems.data.dataset import Asking
from optrun.problems.layers import Layers
from optrun.problems.losses import Loss
from optrun.problems.supervised import Supervised
from optrun.registry import PositiveInt

_LOSSES: dict[str, Literal["cross_entropy", "mse"]] = {"classification": "cross_entropy", "regression": "mse"}


class MLP(Supervised):
    """A multilayer perceptron, with "layer1.weight" ``[in, out]``, "layer1.bias" ``[out]``, "layer2.weight", …

    Weights and biases are initialised from U(-1/√in, 1/√in), as in ``torch.nn.Linear``; ``gelu`` is torch's
    ``approximate="tanh"``.
    """

    def __init__(
        self,
        arrays: Arrays,
        *,
        data: DataSource = "digits",
        hidden: Annotated[list[PositiveInt], "widths of the hidden layers"] = [64, 64],  # noqa: B006
        activation: Literal["relu", "tanh", "gelu"] = "relu",
        loss: Annotated[
            Literal["auto", "cross_entropy", "mse"],
            "auto: cross_entropy for classes, mse for numbers",
        ] = "auto",
        **options: Any,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self._loss_name = loss
        super().__init__(arrays, data=data, **options)

    def _loss_and_targets(self, dataset: Dataset) -> tuple[Loss, Array]:
        name: str = self._loss_name
        if name == "auto":
            name = _LOSSES[self.task or dataset.task()]
        elif self.task is not None and name != _LOSSES[self.task]:
            raise ConfigError(f"task: {self.task} has another loss than {name}: leave one out", field="task")
        asked_by: Asking = "task" if self.task else "loss" if self._loss_name != "auto" else "data"
        if name == "mse":
            return self.loss_of(self.arrays, self.scratch, 0, vars(self)), dataset.values(asked_by)
        classes, codes = dataset.classes(asked_by)
        return self.loss_of(self.arrays, self.scratch, len(classes), vars(self)), codes

    @classmethod
    def layers_of(
        cls, arrays: Arrays, features: int, outputs: int, bias: bool, options: Mapping[str, Any]
    ) -> Layers:
        widths = [features, *options["hidden"], outputs]
        return Layers(
            arrays,
            widths,
            prefixes=[f"layer{layer}." for layer in range(1, len(widths))],
            bias=bias,
            activation=ACTIVATIONS[options["activation"]],
        )

    def initial(self, seed: int) -> dict[str, Array]:
        draws = stream(seed, "initialisation")
        values: dict[str, Array] = {}
        bound = np.inf
        for name, shape in self.shapes.items():
            if name.endswith("weight"):
                bound = 1 / np.sqrt(shape[0])
            values[name] = draws.uniform(-bound, bound, shape)
        return values
