"""Replaying a step on a device: what the update and the loss launch is captured once as a CUDA graph."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from optrun.arrays import Array, Arrays
from optrun.kernels.cuda.launches import Launch, gathered

LossAndGrad = Callable[[Mapping[str, Array], Mapping[str, Array], Any], Array]

_log = logging.getLogger("optrun")

MOST_GRAPHS = 32
"""Kinds of steps that are kept as graphs; others are launched one by one."""


class Replay:
    """Computes losses, each together with the update before it, whose launches are gathered within `with`.

    Steps of the same launches are one kind: the first is launched as it is, the second is captured, and from then on
    its graph is launched. Where a capture fails, the steps of that kind are launched as they are.
    """

    def __init__(self, arrays: Arrays, loss_and_grad: LossAndGrad) -> None:
        self._xp = arrays.xp
        self._loss_and_grad = loss_and_grad
        self._update: list[Launch] = []
        self._inputs: dict[tuple[int, ...], Array] = {}
        self._kinds: dict[tuple[object, ...], _Kind] = {}
        self._gathering: Any = None

    def __enter__(self) -> None:
        self._gathering = gathered()
        self._update = self._gathering.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._gathering.__exit__(*error)

    def loss_and_grad(self, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Any) -> Array:
        """Make the update that was gathered, and return the loss `[B]`; gradients are written in place."""
        if batch is not None and not isinstance(batch, self._xp.ndarray):
            self.finish()  # a batch of another kind has no place of its own
            return self._loss_and_grad(params, grads, batch)
        batch = self._fixed(batch)
        update, self._update = self._update, []
        key = (*update, None if batch is None else batch.shape)
        if key not in self._kinds and len(self._kinds) < MOST_GRAPHS:
            self._kinds[key] = _Kind(self._xp)
        kind = self._kinds.get(key)

        def step() -> Array:
            for each in update:
                each()
            return self._loss_and_grad(params, grads, batch)

        return step() if kind is None else kind(step)

    def finish(self) -> None:
        """Make the update that was gathered, without a loss that follows."""
        update, self._update = self._update, []
        for each in update:
            each()

    def _fixed(self, batch: Any) -> Any:
        """Return a copy of the batch in the place where a graph reads it."""
        if batch is None:
            return None
        if batch.shape not in self._inputs:
            self._inputs[batch.shape] = self._xp.empty(batch.shape, batch.dtype)
        self._inputs[batch.shape][...] = batch
        return self._inputs[batch.shape]


class _Kind:
    """Steps of the same launches."""

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._seen = 0
        self._graph: Any = None
        self._pool: Any = None
        self._loss: Any = None

    def __call__(self, step: Callable[[], Array]) -> Array:
        self._seen += 1
        if self._seen == 2:
            self._capture(step)
        if self._graph is None:
            return step()
        self._graph.launch()
        loss: Array = self._loss
        return loss

    def _capture(self, step: Callable[[], Array]) -> None:
        """Capture a step, which does not happen by that; leave no graph where that fails."""
        cuda = self._xp.cuda
        # What a captured step allocates belongs to the graph for as long as that is replayed.
        self._pool, stream = cuda.MemoryPool(), cuda.Stream(non_blocking=True)
        try:
            with cuda.using_allocator(self._pool.malloc), stream:
                stream.begin_capture(cuda.runtime.streamCaptureModeRelaxed)
                try:
                    self._loss = step()
                except BaseException:
                    with suppress(Exception):
                        stream.end_capture()
                    raise
                self._graph = stream.end_capture()
        except Exception:
            # Whatever is wrong with the step itself comes to light where it is launched.
            self._graph = self._loss = None
            _log.debug("a step cannot be captured as a graph", exc_info=True)
