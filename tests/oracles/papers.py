"""Optimizers in plain NumPy, each written from its paper, one generator of the parameters after each step.

``slope(x, t)`` is the gradient at the parameters before step t, which counts from 1.
"""

from collections.abc import Callable, Iterator
from itertools import count

import numpy as np

from optrun.arrays import Array

Slope = Callable[[Array, int], Array]


def sign_sgd(x: Array, slope: Slope, *, lr: float, weight_decay: float) -> Iterator[Array]:
    for t in count(1):
        x = x - lr * (np.sign(slope(x, t)) + weight_decay * x)
        yield x


def signum(x: Array, slope: Slope, *, lr: float, momentum: float, weight_decay: float) -> Iterator[Array]:
    m = np.zeros_like(x)
    for t in count(1):
        m = momentum * m + (1 - momentum) * slope(x, t)
        x = x - lr * (np.sign(m) + weight_decay * x)
        yield x


def lion(
    x: Array, slope: Slope, *, lr: float, beta1: float, beta2: float, weight_decay: float
) -> Iterator[Array]:
    m = np.zeros_like(x)
    for t in count(1):
        g = slope(x, t)
        x = x - lr * (np.sign(beta1 * m + (1 - beta1) * g) + weight_decay * x)
        m = beta2 * m + (1 - beta2) * g
        yield x


def ademamix(
    x: Array,
    slope: Slope,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    beta3: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    alpha_warmup: float,
    beta3_warmup: float,
) -> Iterator[Array]:
    fast, slow, v = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for t in count(1):
        now_alpha = min(t * alpha / alpha_warmup, alpha) if alpha_warmup else alpha
        now_beta3 = beta3_at(t, beta1, beta3, beta3_warmup)
        g = slope(x, t)
        fast = beta1 * fast + (1 - beta1) * g
        slow = now_beta3 * slow + (1 - now_beta3) * g
        v = beta2 * v + (1 - beta2) * g**2
        step = (fast / (1 - beta1**t) + now_alpha * slow) / (np.sqrt(v / (1 - beta2**t)) + eps)
        x = x - lr * (step + weight_decay * x)
        yield x


def beta3_at(t: int, first: float, last: float, warmup: float) -> float:
    """The schedule of β₃ as the paper writes it."""
    if not warmup or t >= warmup:
        return last
    done = t / warmup
    exponent = np.log(first) * np.log(last) / ((1 - done) * np.log(last) + done * np.log(first))
    return min(float(np.exp(exponent)), last)


def simplified_ademamix(
    x: Array,
    slope: Slope,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    alpha: float,
    eps: float,
    weight_decay: float,
) -> Iterator[Array]:
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t in count(1):
        g = slope(x, t)
        m = beta1 * m + g
        v = beta2 * v + (1 - beta2) * g**2
        x = x - lr * ((m + alpha * g) / (np.sqrt(v / (1 - beta2**t)) + eps) + weight_decay * x)
        yield x


def adopt(
    x: Array,
    slope: Slope,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    clip_updates: bool,
) -> Iterator[Array]:
    v, m = slope(x, 1) ** 2, np.zeros_like(x)
    yield x
    for t in count(1):
        g = slope(x, t + 1)
        ratio = g / np.maximum(np.sqrt(v), eps)
        ratio = np.clip(ratio, -(t**0.25), t**0.25) if clip_updates else ratio
        m = beta1 * m + (1 - beta1) * ratio
        x = x - lr * (m + weight_decay * x)
        v = beta2 * v + (1 - beta2) * g**2
        yield x


def adan(
    x: Array,
    slope: Slope,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    beta3: float,
    eps: float,
    weight_decay: float,
) -> Iterator[Array]:
    """In the paper's β, which are what is not kept; with the bias corrections of the authors' code."""
    b1, b2, b3 = 1 - beta1, 1 - beta2, 1 - beta3
    m, v, n = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    before = slope(x, 1)
    for t in count(1):
        g = slope(x, t)
        change = g - before
        m = (1 - b1) * m + b1 * g
        v = (1 - b2) * v + b2 * change
        n = (1 - b3) * n + b3 * (g + (1 - b2) * change) ** 2
        rate = lr / (np.sqrt(n / (1 - beta3**t)) + eps)
        x = (x - rate * (m / (1 - beta1**t) + (1 - b2) * v / (1 - beta2**t))) / (1 + weight_decay * lr)
        before = g
        yield x


def nadamw(
    x: Array, slope: Slope, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float
) -> Iterator[Array]:
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t in count(1):
        g = slope(x, t)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        ahead = beta1 * m / (1 - beta1 ** (t + 1)) + (1 - beta1) * g / (1 - beta1**t)
        x = x - lr * (ahead / (np.sqrt(v / (1 - beta2**t)) + eps) + weight_decay * x)
        yield x


def laprop(
    x: Array, slope: Slope, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float
) -> Iterator[Array]:
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t in count(1):
        g = slope(x, t)
        v = beta2 * v + (1 - beta2) * g**2
        m = beta1 * m + (1 - beta1) * g / (np.sqrt(v / (1 - beta2**t)) + eps)
        x = x - lr * (m / (1 - beta1**t) + weight_decay * x)
        yield x


def yogi(
    x: Array,
    slope: Slope,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    initial_accumulator_value: float,
) -> Iterator[Array]:
    m, v = np.zeros_like(x), np.full_like(x, initial_accumulator_value)
    for t in count(1):
        g = slope(x, t)
        m = beta1 * m + (1 - beta1) * g
        v = v - (1 - beta2) * np.sign(v - g**2) * g**2
        step = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
        x = x - lr * (step + weight_decay * x)
        yield x


def adabelief(
    x: Array, slope: Slope, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float
) -> Iterator[Array]:
    m, s = np.zeros_like(x), np.zeros_like(x)
    for t in count(1):
        g = slope(x, t)
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * (g - m) ** 2 + eps
        step = m / (1 - beta1**t) / (np.sqrt(s / (1 - beta2**t)) + eps)
        x = x - lr * (step + weight_decay * x)
        yield x


def adabound(
    x: Array,
    slope: Slope,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    final_lr: float,
    gamma: float,
    eps: float,
    weight_decay: float,
) -> Iterator[Array]:
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t in count(1):
        g = slope(x, t) + weight_decay * x
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        rate = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t) / (np.sqrt(v) + eps)
        x = x - np.clip(rate, final_lr * (1 - 1 / (gamma * t + 1)), final_lr * (1 + 1 / (gamma * t))) * m
        yield x


def qhm(
    x: Array, slope: Slope, *, lr: float, momentum: float, nu: float, weight_decay: float
) -> Iterator[Array]:
    b = np.zeros_like(x)
    for t in count(1):
        g = slope(x, t) + weight_decay * x
        b = momentum * b + (1 - momentum) * g
        x = x - lr * ((1 - nu) * g + nu * b)
        yield x


def qhadam(
    x: Array,
    slope: Slope,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    nu1: float,
    nu2: float,
    eps: float,
    weight_decay: float,
) -> Iterator[Array]:
    m, v = np.zeros_like(x), np.zeros_like(x)
    for t in count(1):
        g = slope(x, t) + weight_decay * x
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        above = (1 - nu1) * g + nu1 * m / (1 - beta1**t)
        below = np.sqrt((1 - nu2) * g**2 + nu2 * v / (1 - beta2**t)) + eps
        x = x - lr * above / below
        yield x


def aggmo(
    x: Array, slope: Slope, *, lr: float, beta1: float, beta2: float, beta3: float, weight_decay: float
) -> Iterator[Array]:
    velocities = [(beta, np.zeros_like(x)) for beta in (beta1, beta2, beta3)]
    for t in count(1):
        g = slope(x, t) + weight_decay * x
        velocities = [(beta, beta * v - g) for beta, v in velocities]
        x = x + lr / 3 * np.sum([v for _, v in velocities], axis=0)
        yield x


def madgrad(
    x: Array, slope: Slope, *, lr: float, momentum: float, eps: float, weight_decay: float
) -> Iterator[Array]:
    first, s, v = x, np.zeros_like(x), np.zeros_like(x)
    for k in count(0):
        rate = lr * np.sqrt(k + 1)
        g = slope(x, k + 1) + weight_decay * x
        s = s + rate * g
        v = v + rate * g**2
        x = momentum * x + (1 - momentum) * (first - s / (np.cbrt(v) + eps))
        yield x


def cocob(
    x: Array, slope: Slope, *, lr: float, alpha: float, eps: float, weight_decay: float
) -> Iterator[Array]:
    """With the paper's g, the negative gradient."""
    first, largest = x, np.full_like(x, eps)
    sizes, reward, theta = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for t in count(1):
        g = -(slope(x, t) + weight_decay * x)
        largest = np.maximum(largest, np.abs(g))
        sizes = sizes + np.abs(g)
        reward = np.maximum(reward + (x - first) * g, 0)
        theta = theta + g
        target = first + theta / (largest * np.maximum(sizes + largest, alpha * largest)) * (largest + reward)
        x = x + lr * (target - x)
        yield x


def mars(
    x: Array,
    slope: Slope,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    gamma: float,
    eps: float,
    weight_decay: float,
) -> Iterator[Array]:
    m, v, before = np.zeros_like(x), np.zeros_like(x), slope(x, 1)
    for t in count(1):
        g = slope(x, t)
        c = g + gamma * beta1 / (1 - beta1) * (g - before)
        before = g
        for tensor in (c[:, :12], c[:, 12:]):  # the matrix and the vector of each objective
            for row in tensor:
                if np.linalg.norm(row) > 1:
                    row /= np.linalg.norm(row)
        m = beta1 * m + (1 - beta1) * c
        v = beta2 * v + (1 - beta2) * c**2
        x = x - lr * (m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps) + weight_decay * x)
        yield x
