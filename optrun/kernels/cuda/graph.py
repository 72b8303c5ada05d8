"""CUDA graphs: the launches of an update and the following loss are captured once, and then replayed."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from optrun.arrays import Array, Arrays
from optrun.fallbacks import log
from optrun.kernels.cuda.launches import Launch, collect_launches

LossAndGrad = Callable[[Mapping[str, Array], Mapping[str, Array], Any], Array]

MOST_GRAPHS = 32
"""Largest number of different steps that are kept as graphs; others are launched normally."""


class Replay:
    """Computes losses, each with the preceding update, whose launches are collected within `with`.

    Steps with the same launches share a graph: the first one is launched normally, the second one is captured, and
    later ones replay the graph. If capturing fails, they are all launched normally.
    """

    def __init__(self, arrays: Arrays, loss_and_grad: LossAndGrad) -> None:
        self._xp = arrays.xp
        self._loss_and_grad = loss_and_grad
        self._update: list[Launch] = []
        self._inputs: dict[tuple[int, ...], Array] = {}
        self._kinds: dict[tuple[object, ...], _StepGraph] = {}
        self._collector: Any = None

    def __enter__(self) -> None:
        self._collector = collect_launches()
        self._update = self._collector.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._collector.__exit__(*error)

    def loss_and_grad(self, params: Mapping[str, Array], grads: Mapping[str, Array], batch: Any) -> Array:
        """Launch the collected update and the loss, and return the loss `[B]`; gradients are written in place."""
        if batch is not None and not isinstance(batch, self._xp.ndarray):
            self.finish()  # a batch of another type cannot be copied to the graph's input
            return self._loss_and_grad(params, grads, batch)
        batch = self._fixed(batch)
        update, self._update = self._update, []
        key = (*update, None if batch is None else batch.shape)
        if key not in self._kinds and len(self._kinds) < MOST_GRAPHS:
            self._kinds[key] = _StepGraph(self._xp)
        kind = self._kinds.get(key)

        def step() -> Array:
            for each in update:
                each()
            return self._loss_and_grad(params, grads, batch)

        return step() if kind is None else kind(step)

    def finish(self) -> None:
        """Launch the collected update without a loss."""
        update, self._update = self._update, []
        for each in update:
            each()

    def _fixed(self, batch: Any) -> Any:
        """Copy the batch to the buffer from which graphs read it, and return that buffer."""
        if batch is None:
            return None
        if batch.shape not in self._inputs:
            self._inputs[batch.shape] = self._xp.empty(batch.shape, batch.dtype)
        self._inputs[batch.shape][...] = batch
        return self._inputs[batch.shape]


class _StepGraph:
    """The graph of steps with the same launches."""

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
        """Capture a step without executing it; leave no graph if that fails."""
        cuda = self._xp.cuda
        # Arrays allocated during capture belong to the graph as long as it is replayed.
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
            # An error of the step itself is raised again when the step is launched.
            self._graph = self._loss = None
            log.debug("a step cannot be captured as a graph", exc_info=True)
