"""Optimizers of papers that look at whole tensors, or at all of them, in plain NumPy.

Each is a generator of the list of tensors after each step. ``slope(x, t)`` is the list of their gradients at the
tensors before step t, which counts from 1; ``loss(x, t)`` is the loss there.
"""

from collections.abc import Callable, Iterator
from itertools import count

import numpy as np

from optrun.arrays import Array

Tensors = list[Array]
Slope = Callable[[Tensors, int], Tensors]
Loss = Callable[[Tensors, int], float]


def zeros(x: Tensors) -> Tensors:
    return [np.zeros_like(each) for each in x]


def ratio(above: float, below: float) -> float:
    return above / below if above and below else 1.0


def lars(
    x: Tensors, slope: Slope, *, lr: float, momentum: float, weight_decay: float, trust_coefficient: float
) -> Iterator[Tensors]:
    v = zeros(x)
    for t in count(1):
        for i, g in enumerate(slope(x, t)):
            size = np.linalg.norm(x[i])
            local = ratio(trust_coefficient * size, np.linalg.norm(g) + weight_decay * size)
            v[i] = momentum * v[i] + lr * local * (g + weight_decay * x[i])
        x = [a - b for a, b in zip(x, v, strict=True)]
        yield x


def lamb(
    x: Tensors, slope: Slope, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float
) -> Iterator[Tensors]:
    m, v = zeros(x), zeros(x)
    for t in count(1):
        moved = []
        for i, g in enumerate(slope(x, t)):
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g**2
            u = m[i] / (1 - beta1**t) / (np.sqrt(v[i] / (1 - beta2**t)) + eps) + weight_decay * x[i]
            moved.append(lr * ratio(np.linalg.norm(x[i]), np.linalg.norm(u)) * u)
        x = [a - b for a, b in zip(x, moved, strict=True)]
        yield x


def novograd(
    x: Tensors, slope: Slope, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float
) -> Iterator[Tensors]:
    m, v = zeros(x), np.zeros(len(x))
    for t in count(1):
        for i, g in enumerate(slope(x, t)):
            v[i] = beta2 * v[i] + (1 - beta2) * (g**2).sum() if t > 1 else (g**2).sum()
            m[i] = beta1 * m[i] + (g / (np.sqrt(v[i]) + eps) + weight_decay * x[i])
        x = [a - lr * b for a, b in zip(x, m, strict=True)]
        yield x


def adam_mini(
    x: Tensors, slope: Slope, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float
) -> Iterator[Tensors]:
    m, v = zeros(x), zeros(x)
    for t in count(1):
        x = list(x)
        for i, g in enumerate(slope(x, t)):
            blocks = [np.index_exp[row] for row in range(len(g))]  # a row of a matrix, a number of a vector
            m[i] = beta1 * m[i] + (1 - beta1) * g
            x[i] = (1 - lr * weight_decay) * x[i]
            for block in blocks:
                v[i][block] = beta2 * v[i][block] + (1 - beta2) * np.mean(g[block] ** 2)
                root = np.sqrt(v[i][block] / (1 - beta2**t)) + eps
                x[i][block] -= lr * m[i][block] / (1 - beta1**t) / root
        yield x


def sm3(x: Tensors, slope: Slope, *, lr: float, momentum: float) -> Iterator[Tensors]:
    """With the paper's cover of a matrix, its rows and columns; a vector's is each of its elements."""
    m = zeros(x)
    cover: list[dict[object, float]] = [{} for _ in x]
    for t in count(1):
        x = list(x)
        for i, g in enumerate(slope(x, t)):
            v, most = np.empty_like(g), {}
            for at in np.ndindex(g.shape):
                sets = list(enumerate(at))
                v[at] = min(cover[i].get(each, 0.0) for each in sets) + g[at] ** 2
                most |= {each: max(most.get(each, 0.0), v[at]) for each in sets}
            cover[i] = most
            m[i] = momentum * m[i] + (1 - momentum) * g / np.sqrt(v)
            x[i] = x[i] - lr * m[i]
        yield x


def came(
    x: Tensors,
    slope: Slope,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    beta3: float,
    eps1: float,
    eps2: float,
    clip_threshold: float,
    weight_decay: float,
) -> Iterator[Tensors]:
    """With the paper's R, C, sums of rows and columns, kept as the whole average of which they are sums."""
    m, v, s = zeros(x), zeros(x), zeros(x)
    for t in count(1):
        x = list(x)
        for i, g in enumerate(slope(x, t)):
            v[i] = beta2 * v[i] + (1 - beta2) * (g**2 + eps1)
            u = g / np.sqrt(rank_one(v[i]))
            u = u / max(1.0, np.sqrt(np.mean(u**2)) / clip_threshold)
            m[i] = beta1 * m[i] + (1 - beta1) * u
            s[i] = beta3 * s[i] + (1 - beta3) * ((u - m[i]) ** 2 + eps2)
            step = m[i] / np.sqrt(rank_one(s[i])) if g.ndim > 1 else m[i]
            x[i] = x[i] - lr * (step + weight_decay * x[i])
        yield x


def rank_one(v: Array) -> Array:
    return np.outer(v.sum(1), v.sum(0)) / v.sum() if v.ndim > 1 else v


def inner(a: Tensors, b: Tensors) -> float:
    return sum(float((one * other).sum()) for one, other in zip(a, b, strict=True))


def added(a: Tensors, factor: float, b: Tensors) -> Tensors:
    return [one + factor * other for one, other in zip(a, b, strict=True)]


def length(a: Tensors) -> float:
    return float(np.sqrt(inner(a, a)))


def dog(
    x: Tensors, slope: Slope, *, lr: float, reps_rel: float, eps: float, weight_decay: float, over: str
) -> Iterator[Tensors]:
    blocks = [[i] for i in range(len(x))] if over == "tensor" else [list(range(len(x)))]
    first, farthest, squares = x, [0.0] * len(blocks), [0.0] * len(blocks)
    for t in count(1):
        g, x = added(slope(x, t), weight_decay, x), list(x)
        for b, block in enumerate(blocks):
            way = length([x[i] - first[i] for i in block])
            begin = reps_rel * (1 + length([first[i] for i in block]))
            farthest[b] = max(farthest[b], begin, way)
            squares[b] += sum((g[i] ** 2).sum() for i in block)
            for i in block:
                x[i] = x[i] - lr * farthest[b] / np.sqrt(squares[b] + eps) * g[i]
        yield x


def dowg(
    x: Tensors, slope: Slope, *, lr: float, r_eps: float, eps: float, weight_decay: float
) -> Iterator[Tensors]:
    first, r, v = x, r_eps, 0.0
    for t in count(1):
        g = added(slope(x, t), weight_decay, x)
        r = max(r, length(added(x, -1, first)))
        v += r**2 * inner(g, g)
        x = added(x, -lr * r**2 / (np.sqrt(v) + eps), g)
        yield x


def dadapt_sgd(
    x: Tensors, slope: Slope, *, lr: float, momentum: float, d0: float, weight_decay: float
) -> Iterator[Tensors]:
    z, s, d, above, first = x, zeros(x), d0, 0.0, 0.0
    for t in count(1):
        g = added(slope(x, t), weight_decay, x)
        first = first or length(g)
        rate = d * lr / first
        above += rate * inner(g, s)
        s, z = added(s, rate, g), added(z, -rate, g)
        x = [momentum * a + (1 - momentum) * b for a, b in zip(x, z, strict=True)]
        d = max(d, 2 * above / length(s))
        yield x


def dadapt_adam(
    x: Tensors,
    slope: Slope,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    d0: float,
    eps: float,
    weight_decay: float,
) -> Iterator[Tensors]:
    m, v, s, d, r, root = zeros(x), zeros(x), zeros(x), d0, 0.0, np.sqrt(beta2)
    for t in count(1):
        g = slope(x, t)
        weighted = [a / (np.sqrt(b) + eps) for a, b in zip(s, v, strict=True)]
        r = root * r + (1 - root) * d * lr * inner(g, weighted)
        m = [beta1 * a + (1 - beta1) * d * lr * b for a, b in zip(m, g, strict=True)]
        v = [beta2 * a + (1 - beta2) * b**2 for a, b in zip(v, g, strict=True)]
        s = [root * a + (1 - root) * d * lr * b for a, b in zip(s, g, strict=True)]
        step = [a / (np.sqrt(b) + eps) for a, b in zip(m, v, strict=True)]
        x = added(added(x, -weight_decay * d * lr, x), -1, step)
        d = max(d, r / ((1 - root) * sum(np.abs(each).sum() for each in s)))
        yield x


def prodigy(
    x: Tensors,
    slope: Slope,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    d0: float,
    d_coef: float,
    eps: float,
    weight_decay: float,
    safeguard_warmup: bool,
) -> Iterator[Tensors]:
    m, v, s, first, d, r, root = zeros(x), zeros(x), zeros(x), x, d0, 0.0, np.sqrt(beta2)
    for t in count(1):
        g = slope(x, t)
        weight = d**2 if safeguard_warmup else lr * d**2
        m = [beta1 * a + (1 - beta1) * d * b for a, b in zip(m, g, strict=True)]
        v = [beta2 * a + (1 - beta2) * d**2 * b**2 for a, b in zip(v, g, strict=True)]
        r = root * r + (1 - root) * lr * d**2 * inner(g, added(first, -1, x))
        s = [root * a + (1 - root) * weight * b for a, b in zip(s, g, strict=True)]
        step = [a / (np.sqrt(b) + d * eps) for a, b in zip(m, v, strict=True)]
        x = added(added(x, -weight_decay * d * lr, x), -lr * d, step)
        d = max(d, d_coef * r / sum(np.abs(each).sum() for each in s))
        yield x


def polyak_sgd(
    x: Tensors, slope: Slope, loss: Loss, *, lr: float, f_min: float, scaling: float
) -> Iterator[Tensors]:
    for t in count(1):
        f, g = loss(x, t), slope(x, t)
        x = added(x, -min(max(f - f_min, 0.0) / (scaling * length(g) ** 2), lr), g)
        yield x


def momo(
    x: Tensors,
    slope: Slope,
    loss: Loss,
    *,
    lr: float,
    momentum: float,
    lower_bound: float,
    weight_decay: float,
    adapt_lower_bound: bool,
) -> Iterator[Tensors]:
    d: Tensors = []
    average = along = 0.0
    bound = Bound(lower_bound, adapt_lower_bound)
    for t in count(1):
        f, g, beta = loss(x, t), slope(x, t), momentum
        if not d:
            d, average, along = g, f, inner(g, x)
        d = [beta * a + (1 - beta) * b for a, b in zip(d, g, strict=True)]
        average = beta * average + (1 - beta) * f
        along = beta * along + (1 - beta) * inner(g, x)
        decay = 1 + lr * weight_decay
        bound.reset(average - along + inner(d, x) / decay)
        above = decay * (average - along - bound.value) + inner(d, x)
        step = min(lr, max(above, 0.0) / length(d) ** 2)
        bound.learn(average - along + inner(d, x) - step * inner(d, d) / 2)
        x = [each / decay for each in added(x, -step, d)]
        yield x


class Bound:
    """The lower bound of the loss, which MoMo* estimates."""

    def __init__(self, least: float, adapts: bool) -> None:
        self.value, self.least, self.adapts = least, least, adapts

    def reset(self, model: float) -> None:
        if self.adapts and model < self.value:
            self.value = max(model / 2, self.least)

    def learn(self, model: float) -> None:
        if self.adapts:
            self.value = max(model, self.least)


def momo_adam(
    x: Tensors,
    slope: Slope,
    loss: Loss,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    lower_bound: float,
    weight_decay: float,
    adapt_lower_bound: bool,
) -> Iterator[Tensors]:
    """With averages whose bias is corrected, which the paper's step is divided by."""
    d, v, average, along = zeros(x), zeros(x), 0.0, 0.0
    bound = Bound(lower_bound, adapt_lower_bound)
    for t in count(1):
        f, g, rho = loss(x, t), slope(x, t), 1 - beta1**t
        d = [beta1 * a + (1 - beta1) * b for a, b in zip(d, g, strict=True)]
        v = [beta2 * a + (1 - beta2) * b**2 for a, b in zip(v, g, strict=True)]
        average = beta1 * average + (1 - beta1) * f
        along = beta1 * along + (1 - beta1) * inner(g, x)
        mean = [each / rho for each in d]
        scaled = [a / (eps + np.sqrt(b / (1 - beta2**t))) for a, b in zip(mean, v, strict=True)]
        decay = 1 + lr * weight_decay
        model = (average - along) / rho
        bound.reset(model + inner(mean, x) / decay)
        step = min(lr, max(decay * (model - bound.value) + inner(mean, x), 0.0) / inner(mean, scaled))
        bound.learn(model + inner(mean, x) - step * inner(mean, scaled) / 2)
        x = [each / decay for each in added(x, -step, scaled)]
        yield x


def barzilai_borwein(x: Tensors, slope: Slope, *, lr: float, variant: str) -> Iterator[Tensors]:
    before: tuple[Tensors, Tensors] | None = None
    for t in count(1):
        g, step = slope(x, t), lr
        if before:
            s, y = (added(new, -1, old) for new, old in zip((x, g), before, strict=True))
            if inner(s, y) > 0:
                step = inner(s, s) / inner(s, y) if variant == "long" else inner(s, y) / inner(y, y)
        before = x, g
        x = added(x, -step, g)
        yield x


def sgd_hd(x: Tensors, slope: Slope, *, lr: float, hypergrad_lr: float) -> Iterator[Tensors]:
    change = zeros(x)
    for t in count(1):
        g = slope(x, t)
        lr = lr - hypergrad_lr * inner(g, change)
        change = [-each for each in g]
        x = added(x, lr, change)
        yield x


def adam_hd(
    x: Tensors, slope: Slope, *, lr: float, hypergrad_lr: float, beta1: float, beta2: float, eps: float
) -> Iterator[Tensors]:
    m, v, change = zeros(x), zeros(x), zeros(x)
    for t in count(1):
        g = slope(x, t)
        lr = lr - hypergrad_lr * inner(g, change)
        m = [beta1 * a + (1 - beta1) * b for a, b in zip(m, g, strict=True)]
        v = [beta2 * a + (1 - beta2) * b**2 for a, b in zip(v, g, strict=True)]
        hats = [(a / (1 - beta1**t), b / (1 - beta2**t)) for a, b in zip(m, v, strict=True)]
        change = [-a / (np.sqrt(b) + eps) for a, b in hats]
        x = added(x, lr, change)
        yield x
