"""An optimizer of torch that keeps its state wherever it can, and a transformation that branches on the rate."""

import torch


class Peculiar(torch.optim.Optimizer):
    """Noisy momentum whose step grows with a count in its group and another in itself.

    It has modes, as schedule-free optimizers do: in evaluation the parameters are halved.
    """

    def __init__(self, params, lr=0.1, momentum=0.5, powers=(1.0, 2.0), note="a", table=None):
        super().__init__(params, {"lr": lr, "momentum": momentum, "powers": powers, "calls": 0, "past": []})
        self._counts = {"total": 0.0}
        self._means = []  # the same tensors as in the state
        self._apply = torch.add
        self.mode = "eval"

    def train(self):
        self.mode = "train"

    def eval(self):
        self.mode = "eval"
        for group in self.param_groups:
            for p in group["params"]:
                p.data.mul_(0.3)

    @torch.no_grad()
    def step(self, closure=None):
        assert self.mode == "train"
        self._counts["total"] += 1.0
        for mean in self._means:
            mean.mul_(0.9)
        for group in self.param_groups:
            group["calls"] += 1
            group["past"] = [*group["past"], group["lr"]][-2:]
            for p in group["params"]:
                state = self.state[p]
                if "pair" not in state:
                    state["pair"] = torch.zeros_like(p), {"last": 0.0}
                    self._means.append(state["pair"][0])
                mean, seen = state["pair"]
                mean.mul_(group["momentum"]).add_(p.grad + 0.01 * torch.randn_like(p))
                seen["last"] = float(mean.sum())
                rate = group["lr"] / (
                    group["calls"] ** group["powers"][0] + self._counts["total"] ** group["powers"][1]
                )
                p.data = p.data - rate * (1 + 0.1 * len(group["past"])) * mean - 1e-3 * rate * seen["last"]


class Polyak(torch.optim.Optimizer):
    """Polyak's steps: it takes names with its parameters, and the loss with its step."""

    def __init__(self, named_parameters, lr=1.0):
        groups = [{"params": [p], "called": f"{name}!"} for name, p in named_parameters]
        super().__init__(groups, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None, loss=None):
        whole = [(group["lr"], p) for group in self.param_groups for p in group["params"]]
        square = sum((p.grad**2).sum() for _, p in whole)
        for lr, p in whole:
            p.sub_(min(lr, loss / square) * p.grad)


class Rateless(torch.optim.Optimizer):
    """Steps of a fixed length."""

    def __init__(self, params, maximize_it=0.5):
        super().__init__(params, {})

    def step(self, closure=None):
        """Make none."""


class Nested(torch.optim.Optimizer):
    """Steps of another optimizer, which no checkpoint can hold."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})
        self._base = torch.optim.SGD(self.param_groups, momentum=0.9)

    def step(self, closure=None):
        self._base.step()


def branching(learning_rate, decay=0.5):
    """Return a transformation that is made by a comparison of the learning rate."""
    import optax

    return optax.chain(
        optax.trace(decay), optax.scale(-learning_rate if learning_rate > 0.05 else -2 * learning_rate)
    )
