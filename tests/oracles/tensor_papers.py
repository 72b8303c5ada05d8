"""Optimizers of whole tensors in plain NumPy, each written from its paper: what makes a step of one tensor.

``rule(shape, **options)`` returns the function of the tensor before step t, which counts from 1, and its gradient.
"""

from collections.abc import Callable

import numpy as np

from optrun.arrays import Array
from tests.oracles.muon import safe_quintics

Step = Callable[[Array, Array, int], Array]


def polar(x: Array, steps: int, iteration: str) -> Array:
    """Return U f(S) Vᵀ of x = U S Vᵀ, with f the composition of odd quintics: of the singular values alone."""
    u, s, v = np.linalg.svd(x, full_matrices=False)
    size = np.sqrt((s * s).sum())
    standard = iteration == "newton_schulz"
    s = s / (max(size, 1e-7) if standard else 1.01 * size + 1e-7)
    for step in range(steps):
        a, b, c = (3.4445, -4.775, 2.0315) if standard else safe_quintics()[step]
        s = a * s + b * s**3 + c * s**5
    return u * s @ v


def mixed(average: Array, g: Array, momentum: float, nesterov: bool) -> Array:
    return momentum * average + (1 - momentum) * g if nesterov else average


def muon(
    shape: tuple[int, ...],
    *,
    lr: float,
    weight_decay: float,
    momentum: float,
    nesterov: bool,
    ns_steps: int,
    iteration: str,
    **rest: object,
) -> Step:
    average, (m, n) = np.zeros(shape), (shape[0], int(np.prod(shape[1:])))

    def step(x: Array, g: Array, t: int) -> Array:
        average[:] = momentum * average + (1 - momentum) * g
        o = polar(mixed(average, g, momentum, nesterov).reshape(m, n), ns_steps, iteration)
        return x - lr * (weight_decay * x + max(1, m / n) ** 0.5 * o.reshape(shape))

    return step


def normuon(
    shape: tuple[int, ...],
    *,
    lr: float,
    momentum: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    nesterov: bool,
    ns_steps: int,
    iteration: str,
    update_scale: str,
) -> Step:
    average, (m, n) = np.zeros(shape), (shape[0], int(np.prod(shape[1:])))
    variance = np.zeros((m, 1))

    def step(x: Array, g: Array, t: int) -> Array:
        average[:] = momentum * average + (1 - momentum) * g
        o = polar(mixed(average, g, momentum, nesterov).reshape(m, n), ns_steps, iteration)
        variance[:] = beta2 * variance + (1 - beta2) * (o**2).mean(axis=1, keepdims=True)
        scaled = o / (np.sqrt(variance) + eps)
        size = (
            0.2 * np.sqrt(m * n) if update_scale == "match_rms" else max(1, m / n) ** 0.5 * np.linalg.norm(o)
        )
        return x - lr * (weight_decay * x + (size / (np.linalg.norm(scaled) + eps) * scaled).reshape(shape))

    return step


def adamuon(
    shape: tuple[int, ...],
    *,
    lr: float,
    momentum: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    nesterov: bool,
    sign_momentum: bool,
    ns_steps: int,
    iteration: str,
) -> Step:
    average, (m, n) = np.zeros(shape), (shape[0], int(np.prod(shape[1:])))
    variance = np.zeros((m, n))

    def step(x: Array, g: Array, t: int) -> Array:
        average[:] = momentum * average + (1 - momentum) * g
        direction = mixed(average, g, momentum, nesterov).reshape(m, n)
        o = polar(np.sign(direction) if sign_momentum else direction, ns_steps, iteration)
        variance[:] = beta2 * variance + (1 - beta2) * o**2
        scaled = o / (np.sqrt(variance / (1 - beta2**t)) + eps)
        gamma = 0.2 * np.sqrt(m * n) / (np.linalg.norm(scaled) + eps)
        return x - lr * (weight_decay * x + (gamma * scaled).reshape(shape))

    return step


def scion(
    shape: tuple[int, ...],
    *,
    lr: float,
    momentum: float,
    scale: float,
    weight_decay: float,
    norm: str,
    ns_steps: int,
    iteration: str,
) -> Step:
    average, alpha = np.zeros(shape), 1 - momentum

    def minimizer(d: Array) -> Array:
        """The linear minimization oracle of the ball of radius 1."""
        if d.ndim < 2:
            return -np.sign(d) if norm == "sign" else -d / (np.sqrt((d**2).mean()) + 1e-8)
        outputs, inputs = d.shape[0], d.shape[1]
        kernel = int(np.prod(d.shape[2:]))
        flat = d.reshape(outputs, inputs * kernel)
        if norm == "sign":
            return -np.sign(d) / (inputs * kernel)
        if norm == "row_norm":
            found = flat / ((inputs * kernel) ** 0.5 * np.linalg.norm(flat, axis=1, keepdims=True) + 1e-8)
        elif norm == "col_norm":
            found = flat / (np.linalg.norm(flat, axis=0, keepdims=True) / outputs**0.5 + 1e-8)
        elif norm == "rms":
            found = flat / (np.linalg.norm(flat) / flat.size**0.5 + 1e-8)
        else:
            found = (outputs / inputs) ** 0.5 / kernel * polar(flat, ns_steps, iteration)
        return -found.reshape(d.shape)

    def step(x: Array, g: Array, t: int) -> Array:
        average[:] = alpha * g + (1 - alpha) * average
        return (1 - lr * weight_decay) * x + lr * scale * minimizer(average)

    return step


def root_of(x: Array, power: float) -> Array:
    """Return a power of a symmetric matrix, by its singular values."""
    u, s, _ = np.linalg.svd(x, hermitian=True)
    return (u * s**power) @ u.T


def shampoo(
    shape: tuple[int, ...],
    *,
    lr: float,
    momentum: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    squared: bool,
    update_every: int,
) -> Step:
    m, n = shape[0], int(np.prod(shape[1:]))
    k = 2 if len(shape) > 1 else 1
    sums, average = [np.zeros((m, m)), np.zeros((n, n))], np.zeros((m, n))
    roots = [np.eye(m), np.eye(n)]

    def step(x: Array, g: Array, t: int) -> Array:
        g = g.reshape(m, n)
        average[:] = momentum * average + (1 - momentum) * g
        for each, outer in zip(sums, (g @ g.T, g.T @ g), strict=True):
            each[:] = beta2 * each + (outer if beta2 == 1 else (1 - beta2) * outer)
        if t % update_every == 1 % update_every:
            for root, each in zip(roots, sums, strict=True):
                root[:] = root_of(each + eps * np.eye(len(each)), -(2 if squared else 1) / (2 * k))
        moved = roots[0] @ average @ roots[1] if k == 2 else roots[0] @ average
        return x - lr * (weight_decay * x + moved.reshape(shape))

    return step


def soap(
    shape: tuple[int, ...],
    *,
    lr: float,
    beta1: float,
    beta2: float,
    shampoo_beta: float,
    eps: float,
    weight_decay: float,
    update_every: int,
) -> Step:
    sizes = [shape[0], int(np.prod(shape[1:]))] if len(shape) > 1 else []
    flat = tuple(sizes) or shape
    average, variance = np.zeros(flat), np.zeros(flat)
    sums, bases = ([np.zeros((size, size)) for size in sizes] for _ in range(2))

    def turned(x: Array, back: bool = False) -> Array:
        for axis, q in enumerate(bases):
            x = np.moveaxis(np.tensordot(q if back else q.T, x, (1, axis)), 0, axis)
        return x

    def step(x: Array, g: Array, t: int) -> Array:
        g, t = g.reshape(flat), t - 1
        if t:
            average[:] = beta1 * average + (1 - beta1) * g
            variance[:] = beta2 * variance + (1 - beta2) * turned(g) ** 2
            rate = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t)
            moved = turned(turned(average) / (np.sqrt(variance) + eps), back=True)
            x = (1 - lr * weight_decay) * x - rate * moved.reshape(shape)
        for axis, each in enumerate(sums):
            outer = np.tensordot(g, g, (1 - axis, 1 - axis))
            each[:] = shampoo_beta * each + (1 - shampoo_beta) * outer
            if t == 0:
                bases[axis][:] = np.linalg.eigh(each)[1][:, ::-1]
            elif t % update_every == 0:
                order = np.argsort(-np.diag(bases[axis].T @ each @ bases[axis]))
                bases[axis][:] = np.linalg.qr(each @ bases[axis][:, order])[0]
                variance[:] = np.take(variance, order, axis)
        return x

    return step
