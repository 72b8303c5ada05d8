"""Transforms of the update."""

from typing import Any

from optrun.ops import maximum, mean, norm, sqrt, where
from optrun.optim.transforms.transform import UpdateTransform
from optrun.registry import Over, Positive


class Cautious(UpdateTransform):
    """Take no step where it would go up the gradient, Liang et al. (2024), arXiv:2411.16085.

        m = 1 where u g > 0, else 0
        u ← m u / max(mean(m), ε)

    The mean is over each tensor, as in the authors' code; Algorithm 1 of the paper has d / (‖m‖₁ + 1), nearly the same.

    Example:

        optimizer: {name: AdamW, lr: 0.03, update: [Cautious]}
    """

    @staticmethod
    def apply(
        u: Any, g: Any, p: Any, lr: Any, t: Any, /, *, over: Over = "tensor", eps: Positive = 1e-3
    ) -> Any:
        agrees = where(u * g > 0, 1.0, 0.0)
        return 1 / maximum(mean(agrees, over=over), eps) * (agrees * u)


class ClipRMS(UpdateTransform):
    """Scale the update down to a root mean square relative to lr, as in Adafactor, arXiv:1804.04235, algorithm 4.

        u ← u / max(1, rms(u) / (lr d))

    d threshold. The mean is over each tensor, each parameter group, or the run.

    Example:

        optimizer: {name: AdamW, lr: 0.03, update: [ClipRMS]}
    """

    @staticmethod
    def apply(
        u: Any, g: Any, p: Any, lr: Any, t: Any, /, *, threshold: Positive = 1.0, over: Over = "tensor"
    ) -> Any:
        rms = sqrt(mean(u * u, over=over))
        return where(rms > threshold * lr, threshold * lr / rms, 1.0) * u


class TrustRatio(UpdateTransform):
    """Scale the update to the norm of the parameters, You et al. (2017, 2020), arXiv:1708.03888, arXiv:1904.00962.

        u ← lr · ‖θ‖ / ‖u‖ · u          as it is where a norm is 0

    The norms are over each tensor. Weight decay that is decoupled is not part of u; LAMB's is.

    Example:

        optimizer: {name: Adam, lr: 0.01, update: [TrustRatio]}
    """

    @staticmethod
    def apply(u: Any, g: Any, p: Any, lr: Any, t: Any, /, *, over: Over = "tensor") -> Any:
        size, step = norm(p, over=over), norm(u, over=over)
        return where(size * step > 0, lr * size / step, 1.0) * u
