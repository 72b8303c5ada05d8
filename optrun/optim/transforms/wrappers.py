"""Rules around any rule."""

import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any, ClassVar

from optrun.ops import abs, clip, dot, lerp, maximum, norm, sqrt, where
from optrun.optim.transforms.transform import Wrapper
from optrun.registry import Decay, Fraction, NonNegative, Number, Positive, Steps


class Lookahead(Wrapper):
    """Lookahead, Zhang et al. (2019), arXiv:1907.08610: k steps forward, and a part of the way back.

        every k steps:  φ ← φ + α (θ - φ),  θ ← φ          φ = θ at the start

    The state of the rule inside goes on as it is.

    Example:

        optimizer: {name: SGD, lr: 3e-3, momentum: 0.9, wrap: [Lookahead]}
    """

    idle: ClassVar = {"alpha": (0.0, "goes all the way back every k steps")}

    @staticmethod
    def apply(
        rule: Any, p: Any, g: Any, lr: Any, t: Any, /, slow: Any, *, k: Steps = 5, alpha: Fraction = 0.5
    ) -> None:
        slow[:] = where(t == 1, p, slow)
        rule.step(p, g)
        is_due = t % k == 0
        slow[:] = where(is_due, slow - alpha * (slow - p), slow)
        p[:] = where(is_due, slow, p)


class Accumulate(Wrapper):
    """Accumulate the gradients of n steps, and make a step of the rule with their mean at every n-th.

        every n steps:  g = mean of the last n gradients, then step t / n of the rule

    Between, neither the parameters nor the state of the rule change. A schedule counts all steps.

    Example:

        optimizer: {name: SGD, lr: 3e-3, momentum: 0.9, wrap: [Accumulate]}
    """

    @staticmethod
    def apply(rule: Any, p: Any, g: Any, lr: Any, t: Any, /, total: Any, *, n: Steps = 2) -> None:
        total[:] = where((t - 1) % n == 0, g, total + g)
        rule.step(p, total / n, t=t / n, when=t % n == 0)


class ScheduleFree(Wrapper):
    """Schedule-free learning, Defazio et al. (2024), arXiv:2405.15682: averages instead of a schedule that ends.

        z ← z - u                      u the rule's update at y, where the gradient is taken
        w = tʳ (max of lr)ᵖ            c = w / Σ w
        x ← x + c (z - x)
        y = (1 - β) z + β x            x = y = z at the start

    p weight_lr_power, r. The parameters are y; x is evaluated, kept at the end and predicted with. The rule needs no
    momentum of its own: beta1 of AdamW is 0. A schedule is at most a warm-up.

    Example:

        optimizer: {name: AdamW, lr: 0.1, beta1: 0, weight_decay: 0, wrap: [ScheduleFree]}
    """

    evaluated = "x"
    outermost = True
    has_momentum = True

    @staticmethod
    def apply(rule: Any, p: Any, g: Any, lr: Any, t: Any, /, x: Any, z: Any, lr_max: Number, weight_sum: Number, *,
              beta: Fraction = 0.9, weight_lr_power: NonNegative = 2.0, r: NonNegative = 0.0) -> None:  # fmt: skip
        lr_max[:] = maximum(lr_max, lr)
        weight = t**r * lr_max**weight_lr_power
        weight_sum[:] = weight_sum + weight
        # A warm-up may begin with lr = 0, whose step has no weight.
        c = where(weight_sum > 0, weight / weight_sum, 0.0)
        last = where(t == 1, p, x)
        z[:] = where(t == 1, p, z) - rule.update(p, g)
        x[:] = last - c * (last - z)
        p[:] = z - beta * (z - x)


class EMANesterov(Wrapper):
    """EMA-Nesterov, Yau et al. (2026), arXiv:2605.25395: the rule steps from a point ahead.

        x ← y - u                      u the rule's update at y, where the gradient is taken
        m ← γ m + (1 - γ) (the x before - x)          the average of the way back
        y = x - β m                    x = y at the start

    The parameters are y; x is evaluated, kept at the end and predicted with. The authors have β fall with lr, and 0 in
    the first and the last steps: give wrap.0.beta a schedule. Its value in a step is for the next gradient.

    Example:

        optimizer: {name: AdamW, lr: 0.05, wrap: [EMANesterov]}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
        schedules: {wrap.0.beta: {name: CosineAnnealingLR, T_max: 3000}}
    """

    evaluated = "x"
    outermost = True

    @staticmethod
    def apply(rule: Any, p: Any, g: Any, lr: Any, t: Any, /, x: Any, ema: Any, *,
              beta: NonNegative = 0.5, gamma: Decay = 0.99) -> None:  # fmt: skip
        before = where(t == 1, p, x)
        x[:] = p - rule.update(p, g)
        ema[:] = lerp(ema, before - x, 1 - gamma)
        p[:] = x - beta * ema  # so that a parameter of -0 stays what it is


class Mechanic(Wrapper):
    """Mechanic, Cutkosky et al. (2023), arXiv:2306.00144: learns the scale of a rule's updates, so that lr may be 1.

        h = ⟨Δ, g + λ s ‖g‖ / (‖θ‖ + ε) · θ⟩                    s = Σ sᵢ, sᵢ = s_init at the start
        Δ ← Δ + u                       u the rule's update
        rᵢ ← βᵢ rᵢ + sᵢ · (h within ±mᵢ)    vᵢ ← βᵢ² vᵢ + h²    mᵢ ← max(βᵢ mᵢ, |h| + ε)     βᵢ = 1 - 10⁻ⁱ, i = 1 … 6
        sᵢ ← (s_init mᵢ / 6 + max(0, rᵢ)) / (√vᵢ + ε)
        θ ← θ₀ - s Δ

    λ decay, ε eps. Norms and products are over the run. The bound on h is that of the authors' code, not of the paper;
    Δ is kept, where that code computes it from θ.

    Example:

        optimizer: {name: SGD, lr: 1.0, wrap: [Mechanic]}
    """

    outermost = True

    @staticmethod
    def apply(rule: Any, p: Any, g: Any, lr: Any, t: Any, /, start: Any, delta: Any, *numbers: Any,
              s_init: Positive = 1e-6, decay: NonNegative = 1e-2, eps: Positive = 1e-8) -> None:  # fmt: skip
        every = [numbers[i : i + 4] for i in range(0, len(numbers), 4)]
        scales = [where(t == 1, s_init, s) for s, *_ in every]
        scale = _added(scales)
        start[:] = where(t == 1, p, start)
        pull = decay * scale * norm(g, over="run") / (norm(p, over="run") + eps)
        h = dot(g, delta, over="run") + pull * dot(p, delta, over="run")
        delta += rule.update(p, g)
        for (s, r, v, m), before, beta in zip(every, scales, _BETAS, strict=True):
            r[:] = beta * r + before * clip(h, -m, m)
            v[:] = beta**2 * v + h * h
            m[:] = maximum(beta * m, abs(h) + eps)
            s[:] = (s_init / len(_BETAS) * m + maximum(r, 0.0)) / (sqrt(v) + eps)
        scale = _added([s for s, *_ in every])
        # NaN times NaN has the sign of either.
        p[:] = where(scale < float("inf"), start - scale * delta, scale)

    @classmethod
    def states(cls) -> tuple[str, ...]:
        """Return the names of the states: two arrays, and four numbers for each of the betas."""
        return "start", "delta", *cls.scalar_states()

    @classmethod
    def scalar_states(cls) -> tuple[str, ...]:
        """Return the names of the states that are one number per lane."""
        return tuple(f"{letter}_{i}" for i in range(len(_BETAS)) for letter in "srvm")


_BETAS = (0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)


def _added(numbers: Sequence[Any]) -> Any:
    return reduce(operator.add, numbers)


class SAM(Wrapper):
    """Sharpness-aware minimization, Foret et al. (2021), arXiv:2010.01412: the gradient where the loss is higher.

        g = ∇f(θ + ρ ∇f(θ) / ‖∇f(θ)‖), then the rule's step with g

    A step takes two gradients, both on its batch. The norm is over the run.

    Example:

        optimizer: {name: SGD, lr: 3e-3, momentum: 0.9, wrap: [{name: SAM, rho: 1e-3}]}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    idle: ClassVar = {"rho": (0.0, "takes the gradient where it is, twice")}

    @staticmethod
    def probe(p: Any, g: Any, t: Any, /, *, rho: NonNegative = 0.05) -> None:
        p += rho / maximum(norm(g, over="run"), 1e-12) * g


class ASAM(Wrapper):
    """Adaptive SAM, Kwon et al. (2021), arXiv:2102.11600: as far as the weights are large.

        T = |θ| + η                     g = ∇f(θ + ρ T² ∇f(θ) / ‖T ∇f(θ)‖), then the rule's step with g

    A step takes two gradients, both on its batch. The norm is over the run. T is that of all parameters, also of
    biases, where the authors' code has 1.

    Example:

        optimizer: {name: SGD, lr: 3e-3, momentum: 0.9, wrap: [{name: ASAM, rho: 1e-3}]}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    idle = SAM.idle

    @staticmethod
    def probe(p: Any, g: Any, t: Any, /, *, rho: NonNegative = 0.5, eta: NonNegative = 0.01) -> None:
        size = abs(p) + eta
        p += rho / maximum(norm(size * g, over="run"), 1e-12) * (size * size * g)


class Hyperball(Wrapper):
    """Hyperball, Wen et al. (2025), whenwen.github.io: every tensor keeps its norm, and lr is a relative step.

        θ ← R · v / ‖v‖        v = θ - lr R · u / ‖u‖        R = ‖θ₀‖, u the rule's update

    The norms are over each tensor; one that begins at zero moves as the rule has it. The authors leave embeddings,
    biases and gains to another rule: `param_groups`.

    Example:

        optimizer: {name: AdamW, lr: 0.01, weight_decay: 0, wrap: [Hyperball]}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    @staticmethod
    def apply(rule: Any, p: Any, g: Any, lr: Any, t: Any, /, radius: Number) -> None:
        radius[:] = where(t == 1, norm(p, over="tensor"), radius)
        u = rule.update(p, g)
        size = norm(u, over="tensor")
        moved = p - where(radius * size > 0, lr * radius / size, 1.0) * u
        length = norm(moved, over="tensor")
        p[:] = where(radius * length > 0, radius / length, 1.0) * moved
