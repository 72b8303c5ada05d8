from optrun.optim import Optimizer


class Doubled(Optimizer):
    """A step of twice the rate."""

    @staticmethod
    def update(p, g, t, /, *, lr: float = 1e-3):
        p -= 3 * lr * g
