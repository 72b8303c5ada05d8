"""Transforms of the gradient."""

from typing import Any

from optrun.ops import abs, clip, maximum, mean, minimum, norm, sign, sqrt, sum, where
from optrun.optim.transforms.transform import GradientTransform
from optrun.registry import NonNegative, Over, Positive


class ClipValue(GradientTransform):
    """Clip every element of the gradient, as torch's ``clip_grad_value_``.

        g ← min(max(g, -c), c)

    c clip_value.

    Example:

        optimizer: {name: SGD, lr: 0.1, gradient: [{name: ClipValue, clip_value: 1.0}]}
    """

    @staticmethod
    def apply(g: Any, p: Any, t: Any, /, *, clip_value: Positive = 1.0) -> Any:
        return clip(g, -clip_value, clip_value)


class ClipNorm(GradientTransform):
    """Scale the gradient down to a norm, Pascanu et al. (2013), arXiv:1211.5063; as torch's ``clip_grad_norm_``.

        g ← min(1, c / (‖g‖ + 10⁻⁶)) · g

    c max_norm. The norm is over all parameters of the run, of each parameter group, or of each tensor.

    Example:

        optimizer: {name: SGD, lr: 0.1, gradient: [{name: ClipNorm, max_norm: 1.0}]}
    """

    @staticmethod
    def apply(g: Any, p: Any, t: Any, /, *, max_norm: Positive = 1.0, over: Over = "run") -> Any:
        return minimum(max_norm / (norm(g, over=over) + 1e-6), 1.0) * g


class Normalize(GradientTransform):
    """Scale the gradient to norm 1.

        g ← g / max(‖g‖, ε)

    The norm is over all parameters of the run, of each parameter group, or of each tensor.

    Example:

        optimizer: {name: SGD, lr: 0.1, gradient: [Normalize]}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    @staticmethod
    def apply(g: Any, p: Any, t: Any, /, *, over: Over = "run", eps: Positive = 1e-12) -> Any:
        return 1 / maximum(norm(g, over=over), eps) * g


class Sign(GradientTransform):
    """Take the sign of every element of the gradient, Bernstein et al. (2018), arXiv:1802.04434.

        g ← sign(g)

    Example:

        optimizer: {name: SGD, lr: 0.01, gradient: [Sign]}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    @staticmethod
    def apply(g: Any, p: Any, t: Any, /) -> Any:
        return sign(g)


class SkipNonFinite(GradientTransform):
    """Take the gradient for zero in a step in which an element of it is infinite or NaN.

        g ← g if all gᵢ are finite, else 0

    The elements are those of the run, of each parameter group, or of each tensor.

    Example:

        optimizer: {name: SGD, lr: 0.1, gradient: [SkipNonFinite]}
    """

    @staticmethod
    def apply(g: Any, p: Any, t: Any, /, *, over: Over = "run") -> Any:
        return where(_strange(g, over) == 0, g, 0.0)


class StopNonFinite(GradientTransform):
    """Take the whole gradient for NaN in a step in which an element of it is infinite or NaN, so that the run ends.

        g ← g if all gᵢ are finite, else NaN

    The next loss is NaN then, and the run diverged, whatever the rule would make of a single element. The elements are
    those of the run, of each parameter group, or of each tensor.

    Example:

        optimizer: {name: SGD, lr: 3e-3, momentum: 0.9, gradient: [StopNonFinite]}
    """

    @staticmethod
    def apply(g: Any, p: Any, t: Any, /, *, over: Over = "run") -> Any:
        return where(_strange(g, over) == 0, g, float("nan"))


def _strange(g: Any, over: Over) -> Any:
    """Return how many elements are not finite: NaN is not below infinity."""
    return sum(where(abs(g) < float("inf"), 0.0, 1.0), over=over)


class AddNoise(GradientTransform):
    """Add noise that fades, Neelakantan et al. (2015), arXiv:1511.06807.

        g ← g + σ v        σ² = η / tᵞ, v standard normal, new at every step

    η eta, γ gamma, t from 1. The numbers v of a lane depend on its seed and on t.

    Example:

        optimizer: {name: SGD, lr: 1e-3, momentum: 0.9, gradient: [AddNoise]}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    needs_noise = True

    @staticmethod
    def apply(
        g: Any, p: Any, t: Any, v: Any, /, *, eta: NonNegative = 0.01, gamma: NonNegative = 0.55
    ) -> Any:
        return g + sqrt(eta / t**gamma) * v


class Centralize(GradientTransform):
    """Subtract the mean of each neuron's gradient, Yong et al. (2020), arXiv:2004.01461.

        gᵢ ← gᵢ - mean(gᵢ)      gᵢ the weights into neuron i; vectors and numbers are left as they are

    Example:

        optimizer: {name: SGD, lr: 0.1, gradient: [Centralize]}
    """

    per_tensor = True

    @staticmethod
    def apply(g: Any, p: Any, t: Any, /) -> Any:
        return g - mean(g, p.fan_in_axis) if p.ndim == 2 else g


class AdaptiveClip(GradientTransform):
    """Adaptive gradient clipping, Brock et al. (2021), arXiv:2102.06171: neuron by neuron, relative to the weights.

        gᵢ ← min(1, λ max(‖θᵢ‖, ε) / ‖gᵢ‖) · gᵢ      i the weights into neuron i; a vector or a number counts as one

    λ clipping.

    Example:

        optimizer: {name: SGD, lr: 0.1, gradient: [{name: AdaptiveClip, clipping: 0.1}]}
    """

    per_tensor = True

    @staticmethod
    def apply(g: Any, p: Any, t: Any, /, *, clipping: Positive = 0.01, eps: Positive = 1e-3) -> Any:
        most = maximum(_norm_of_neurons(p, p.fan_in_axis), eps) * clipping
        size = _norm_of_neurons(g, p.fan_in_axis)
        return where(size > most, most / maximum(size, 1e-6) * g, g)


def _norm_of_neurons(x: Any, axis: int) -> Any:
    return sqrt(sum(x * x, axis if x.ndim == 2 else None))
