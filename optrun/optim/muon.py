"""Muon, and rules that orthogonalize a momentum as it does."""

from collections.abc import Sequence
from math import sqrt as root
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Lt

from optrun.errors import ConfigError
from optrun.ops import debias, lerp, maximum, mean, norm, sign, sqrt, total
from optrun.optim.optimizer import Optimizer
from optrun.registry import Decay, NonNegative

QUINTIC = (3.4445, -4.775, 2.0315)

POLAR_EXPRESS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
    (1.875, -1.25, 0.375),
)
"""Amsel et al. (2025), arXiv:2505.16932, Listing 1: each step's quintic is the best one for where the last one left the
singular values, which were between 10⁻³ and 1. A test computes them."""

SAFETY = 1.01
"""The margin of Polar Express by which a singular value may be larger than rounding lets it be."""

SMALL = 1e-8

Steps = Annotated[int, Ge(0), Lt(100)]
Iteration = Literal["newton_schulz", "polar_express"]


class OfMatrices(Optimizer, registered=False):
    """A rule of matrices alone, and of what can be flattened to one."""

    per_tensor = True

    @classmethod
    def validate_parameter(cls, name: str, shape: tuple[int, ...]) -> None:
        """Raise ConfigError, with the rule's name, for the shape of a vector or a number."""
        if len(shape) < 2:
            own = cls.__name__
            raise ConfigError(
                f"{own}: {name} is no matrix (its shape is {shape}): {own} takes matrices only, so a network "
                "needs bias: false, or param_groups with another rule for its biases",
                field="params",
            )


class Muon(OfMatrices):
    """Muon, Jordan et al. (2024), kellerjordan.github.io/posts/muon: orthogonalized momentum of matrices.

        B ← μ B + (1 - μ) g            U = (1 - μ) g + μ B with nesterov, else B
        X = U / max(‖U‖, ε), then ns_steps times   X ← a X + (b X Xᵀ + c (X Xᵀ)²) X,  of Uᵀ if U is tall
        θ ← (1 - lr λ) θ - lr · s · X

    s = √max(1, fan_out / fan_in), or with spectral_unclamped √(fan_out / fan_in), Bernstein (2025),
    jeremybernste.in/writing/deriving-muon, or with match_rms_adamw 0.2 √max(fan_in, fan_out), Liu et al. (2025),
    arXiv:2502.16982; λ weight_decay, a b c ns_coefficients. fan_out is the number of rows, as in torch, except for the
    weights of optrun's networks, which are [in, out]. Products use the parameters' dtype, where torch uses bfloat16.

    With iteration polar_express a, b, c are another triple in each step, Amsel et al. (2025), arXiv:2505.16932, and
    X = U / (1.01 ‖U‖ + ε). A tensor of more axes is flattened to [out, …] as the authors do; their s is then that of
    its last two axes, here that of the flattened matrix. optax divides B and g by what corrects their biases, each by
    its own, which with nesterov is another rule.

    Example:

        optimizer: {name: Muon, lr: 0.1, weight_decay: 0}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}

    Raises ConfigError for vectors and numbers.
    """

    tuples: ClassVar = {"ns_coefficients": ("ns_a", "ns_b", "ns_c")}
    search_space: ClassVar = {"lr": {"loguniform": [1e-3, 1.0]}, "momentum": {"uniform": [0.8, 0.99]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, momentum_buffer: Any, *, lr: NonNegative = 1e-3,
               weight_decay: NonNegative = 0.1, momentum: NonNegative = 0.95, nesterov: bool = True,
               ns_a: float = QUINTIC[0], ns_b: float = QUINTIC[1], ns_c: float = QUINTIC[2], eps: NonNegative = 1e-7,
               ns_steps: Steps = 5, iteration: Iteration = "newton_schulz",
               adjust_lr_fn: Literal["original", "match_rms_adamw", "spectral_unclamped"] | None = None
               ) -> None:  # fmt: skip
        direction = _with_momentum(momentum_buffer, g, momentum, nesterov)
        x = orthogonalized(direction.reshape(*p.as_matrix), (ns_a, ns_b, ns_c), ns_steps, iteration, eps)
        fan_in, fan_out = p.fans
        least = 0 if adjust_lr_fn == "spectral_unclamped" else 1
        matches_adamw = adjust_lr_fn == "match_rms_adamw"
        ratio = 0.2 * root(max(p.fans)) if matches_adamw else root(max(least, fan_out / max(1, fan_in)))
        p *= 1 - lr * weight_decay
        p -= lr * ratio * x.reshape(*p.shape)


class NorMuon(OfMatrices):
    """NorMuon, Algorithm 1 of Li et al. (2025), arXiv:2510.05491: Muon with a second moment for each neuron.

        B ← μ B + (1 - μ) g            U = (1 - μ) g + μ B with nesterov, else B
        O = Muon's X of U              v ← β₂ v + (1 - β₂) mean O²,  over the inputs of each neuron
        Ô = O / (√v + ε)
        θ ← (1 - lr λ) θ - lr · s · Ô

    s = 0.2 √(fan_in fan_out) / (‖Ô‖ + ε): the root mean square of a step is 0.2 lr. With update_scale preserve_norm it
    is √max(1, fan_out / fan_in) ‖O‖ / (‖Ô‖ + ε), which the authors' code has. μ momentum, λ weight_decay.

    Example:

        optimizer: {name: NorMuon, lr: 0.3}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}

    Raises ConfigError for vectors and numbers.
    """

    search_space: ClassVar = {"lr": {"loguniform": [1e-3, 1.0]}, "beta2": {"uniform": [0.8, 0.999]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, momentum_buffer: Any, row_var: Any, col_var: Any, *,
               lr: NonNegative = 0.02, momentum: Decay = 0.95, beta2: Decay = 0.95, eps: NonNegative = 1e-10,
               weight_decay: NonNegative = 0.0, nesterov: bool = True, ns_steps: Steps = 5,
               iteration: Iteration = "newton_schulz",
               update_scale: Literal["match_rms", "preserve_norm"] = "match_rms") -> None:  # fmt: skip
        direction = _with_momentum(momentum_buffer, g, momentum, nesterov)
        o = orthogonalized(direction.reshape(*p.as_matrix), QUINTIC, ns_steps, iteration)
        variance = row_var if p.fan_in_axis == -1 else col_var
        variance[:] = lerp(variance, mean(o * o, p.fan_in_axis), 1 - beta2)
        scaled = o / (sqrt(variance) + eps)
        fan_in, fan_out = p.fans
        kept = root(max(1, fan_out / max(1, fan_in))) * norm(o)
        size = kept if update_scale == "preserve_norm" else 0.2 * root(fan_in * fan_out)
        p *= 1 - lr * weight_decay
        p -= lr * (size / (norm(scaled) + eps) * scaled).reshape(*p.shape)

    @classmethod
    def state_shapes(cls, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the states; a network's weights have neurons in columns, others in rows."""
        return {"momentum_buffer": shape, "row_var": (shape[0], 1), "col_var": (1, shape[-1])}


class AdaMuon(OfMatrices):
    """AdaMuon, Algorithm 1 of Si et al. (2025), arXiv:2507.11005: Muon's direction, then Adam's second moment.

        B ← μ B + (1 - μ) g            U = (1 - μ) g + μ B with nesterov, else B
        O = Muon's X of sign(U)        v ← β₂ v + (1 - β₂) O²
        Ô = O / (√(v / (1 - β₂ᵗ)) + ε)
        θ ← (1 - lr λ) θ - lr · 0.2 √(fan_in fan_out) / (‖Ô‖ + ε) · Ô

    The root mean square of a step is 0.2 lr. The first version of the paper, and code of that time, has U itself for
    sign(U): sign_momentum false. The bias correction, which the paper lacks and the authors' code has, acts by ε alone.
    μ momentum, λ weight_decay.

    Example:

        optimizer: {name: AdaMuon, lr: 0.3}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}

    Raises ConfigError for vectors and numbers.
    """

    search_space: ClassVar = {"lr": {"loguniform": [1e-3, 1.0]}, "beta2": {"uniform": [0.8, 0.9999]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, momentum_buffer: Any, exp_avg_sq: Any, *, lr: NonNegative = 0.02,
               momentum: Decay = 0.95, beta2: Decay = 0.999, eps: NonNegative = 1e-8, weight_decay: NonNegative = 0.01,
               nesterov: bool = True, sign_momentum: bool = True, ns_steps: Steps = 5,
               iteration: Iteration = "newton_schulz") -> None:  # fmt: skip
        direction = _with_momentum(momentum_buffer, g, momentum, nesterov)
        direction = sign(direction) if sign_momentum else direction
        o = orthogonalized(direction.reshape(*p.as_matrix), QUINTIC, ns_steps, iteration).reshape(*p.shape)
        exp_avg_sq[:] = lerp(exp_avg_sq, o * o, 1 - beta2)
        scaled = o / (sqrt(exp_avg_sq) / sqrt(debias(beta2, t)) + eps)
        p *= 1 - lr * weight_decay
        p -= lr * (0.2 * root(p.size) / (norm(scaled) + eps)) * scaled


class Scion(Optimizer):
    """Scion, Algorithms 1 and 2 of Pethick et al. (2025), arXiv:2502.07529: steps that are each layer's unit ball's.

        B ← μ B + (1 - μ) g
        θ ← (1 - lr λ) θ - lr · ρ · step(B)

        spectral   √(fan_out / fan_in) · Muon's X of B;  of filters with k weights √(out / in) / k · X
        sign       sign(B) / fan_in
        col_norm   B / (‖b‖ / √fan_out + ε),  b the weights of an input
        row_norm   B / (‖b‖ √fan_in + ε),     b the weights of an output
        rms        B / (‖B‖ / √n + ε)

    With norm auto matrices and filters have spectral, and vectors rms, which they have with col_norm and row_norm, too.
    The paper has spectral within a network, and sign or col_norm for its first and sign for its last layer: give them
    groups. ρ scale, the radius; λ weight_decay: with 1 it is the paper's constrained Scion, whose parameters stay
    within ρ, with 0 the unconstrained one. μ momentum is 1 less the paper's α, which its code calls momentum. ε = 10⁻⁸.

    Example:

        optimizer: {name: Scion, lr: 0.05}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    per_tensor = True
    search_space: ClassVar = {"lr": {"loguniform": [1e-4, 1.0]}, "momentum": {"uniform": [0.0, 0.99]}}

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, momentum_buffer: Any, *, lr: NonNegative = 1e-3, momentum: Decay = 0.9,
               scale: NonNegative = 1.0, weight_decay: NonNegative = 0.0,
               norm: Literal["auto", "spectral", "sign", "col_norm", "row_norm", "rms"] = "auto",
               ns_steps: Steps = 5, iteration: Iteration = "newton_schulz") -> None:  # fmt: skip
        momentum_buffer[:] = lerp(momentum_buffer, g, 1 - momentum)
        p *= 1 - lr * weight_decay
        p -= lr * scale * _unit_step(p, momentum_buffer, norm, ns_steps, iteration)


def _with_momentum(buffer: Any, g: Any, momentum: Any, nesterov: bool) -> Any:
    """Bring a momentum up to date; return it, or with nesterov what it would be after the same gradient again."""
    buffer[:] = lerp(buffer, g, 1 - momentum)
    return lerp(g, buffer, momentum) if nesterov else buffer


def _unit_step(p: Any, b: Any, kind: str, steps: int, iteration: Iteration) -> Any:
    """Return Scion's step of size 1 along a momentum."""
    if kind == "rms" or (p.ndim < 2 and kind != "sign"):
        return b / (sqrt(mean(b * b)) + SMALL)
    if p.ndim < 2:
        return sign(b)
    fan_in, fan_out = p.fans
    if kind == "sign":
        return sign(b) / max(1, fan_in)
    matrix = b.reshape(*p.as_matrix)
    if kind in ("auto", "spectral"):
        weights = p.size // max(1, p.shape[0] * p.shape[1])
        x = orthogonalized(matrix, QUINTIC, steps, iteration)
        return root(fan_out * weights / max(1, fan_in)) / max(1, weights) * x.reshape(*p.shape)
    inputs, outputs = p.fan_in_axis, -3 - p.fan_in_axis
    size = (
        root(max(1, fan_in)) * sqrt(total(matrix * matrix, inputs))
        if kind == "row_norm"
        else sqrt(mean(matrix * matrix, outputs))
    )
    return (matrix / (size + SMALL)).reshape(*p.shape)


def orthogonalized(
    x: Any, coefficients: Sequence[Any], steps: int, iteration: Iteration, eps: Any = 1e-7
) -> Any:
    """Return a matrix with the singular vectors of x, and singular values near 1, by ``steps`` odd quintics."""
    rows, columns = x.shape
    x = x.mT if rows > columns else x
    is_polar = iteration == "polar_express"
    x = x / (SAFETY * norm(x) + eps if is_polar else maximum(norm(x), eps))
    triples = polar_express(steps) if is_polar else [coefficients] * steps
    for a, b, c in triples:
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.mT if rows > columns else x


def polar_express(steps: int) -> list[tuple[float, float, float]]:
    """Return the coefficients of the first steps; the last triple is repeated, and the others have a margin."""
    safe = [(a / SAFETY, b / SAFETY**3, c / SAFETY**5) for a, b, c in POLAR_EXPRESS[:-1]]
    return [*safe[:steps], *[POLAR_EXPRESS[-1]] * (steps - len(safe))]
