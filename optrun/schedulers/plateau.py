"""ReduceLROnPlateau, the schedule driven by a metric."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np

from optrun.arrays import Array, power
from optrun.errors import ConfigError
from optrun.intervals import INTERVAL
from optrun.kernels.deferred import Deferred, NotDeferredError
from optrun.registry import Added, Decay, NonNegative, NonNegativeSteps
from optrun.schedulers.lane_state import counts_from_json, floats_from_json, to_json
from optrun.schedulers.scheduler import LRScheduler

_COUNTS = ("num_bad_epochs", "cooldown_counter", "reductions")


class ReduceLROnPlateau(LRScheduler):
    """Reduce the learning rate of a lane when its metric has stopped improving.

    η ← max(η · factor, min_lr), if that changes η by more than eps

    A lane's learning rate is reduced after more than patience consecutive steps that do not improve on the best metric
    by threshold: with threshold_mode rel a fraction of the best metric's magnitude (torch has no margin for negative
    metrics). The cooldown steps after a reduction do not count as bad; NaN and infinities do. In a run the metric is
    the batch loss, or with interval epoch the unweighted mean of the epoch's batch losses, or the figure of the
    evaluations that metric names: then patience and cooldown count evaluations, and an evaluation counts for the update
    that follows it. In a SequentialLR it observes only the metrics of its own steps.
    """

    @staticmethod
    def value(
        _t: Any,
        base: Any,
        /,
        *,
        mode: Literal["min", "max"] = "min",
        factor: Decay = 0.1,
        patience: NonNegativeSteps = 10,
        threshold: NonNegative = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: NonNegativeSteps = 0,
        min_lr: NonNegative = 0.0,
        eps: NonNegative = 1e-8,
        metric: Annotated[
            str | None,
            Added(),
            "figure of the evaluations, such as val_loss, to observe in place of the loss of the batch",
        ] = None,
    ) -> Any:
        return base

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError for an interval beside a figure, which is observed at the evaluations."""
        if options.get("metric") is not None and options.get(INTERVAL.name) == "epoch":
            raise ConfigError(
                f"{cls.__name__}: {options['metric']} is observed at the evaluations: leave interval out",
                field=INTERVAL.name,
            )

    @property
    def needs_metrics(self) -> bool:
        """Whether it observes a metric of each step, and no figure of the evaluations."""
        return self._options["metric"] is None

    @classmethod
    def observed_figure(cls, options: Mapping[str, Any]) -> str | None:
        """Return the figure of the evaluations that ``metric`` names."""
        name: str | None = options.get("metric")
        return name

    def at(self, t: Any, base: Any) -> Any:
        """Return the learning rates `[T, 1 or B]` at the steps ``t``, with the reductions so far."""
        rates, options = super().at(t, base), self._options
        if isinstance(rates, Deferred) and self.reductions.any():
            raise NotDeferredError("it has reduced them")
        for count in range(int(self.reductions.max())):
            lower = np.maximum(rates * options["factor"], options["min_lr"])
            changes = (self.reductions > count) & (rates - lower > options["eps"])
            if not changes.any():
                break
            rates = np.where(changes, lower, rates)
        return rates

    def base_for(self, t: float, values: Any) -> Array:
        """Return the initial values that give ``values`` after the reductions so far."""
        values = np.asarray(self._without_warmup(t, values)[1], np.float64)
        with np.errstate(all="ignore"):
            base: Array = values / power(self._options["factor"], self.reductions)
        return np.where(np.isfinite(base), base, values)

    def _reset_metrics(self, lanes: int) -> None:
        super()._reset_metrics(lanes)
        self.best = np.full(lanes, np.nan)
        """The best metric `[B]`; NaN before the first one."""
        self.num_bad_epochs = np.zeros(lanes, np.int64)
        self.cooldown_counter = np.zeros(lanes, np.int64)
        self.reductions = np.zeros(lanes, np.int64)

    def _observe_figures(self, t: int, figures: Mapping[str, Array]) -> bool:
        metric = self._options["metric"]
        return metric in figures and self._observe_metric(t, np.asarray(figures[metric], np.float64))

    def _observe_metric(self, t: int, metrics: Array) -> bool:
        options = self._options
        margin = options["threshold"] * (np.abs(self.best) if options["threshold_mode"] == "rel" else 1.0)
        beyond = metrics < self.best - margin if options["mode"] == "min" else metrics > self.best + margin
        better = np.isfinite(metrics) & (np.isnan(self.best) | beyond)
        self.best = np.where(better, metrics, self.best)
        cooling = self.cooldown_counter > 0
        self.num_bad_epochs = np.where(better | cooling, 0, self.num_bad_epochs + 1)
        self.cooldown_counter = self.cooldown_counter - cooling
        reduced = self.num_bad_epochs > options["patience"]
        self.reductions = self.reductions + reduced
        self.cooldown_counter = np.where(reduced, options["cooldown"], self.cooldown_counter)
        self.num_bad_epochs = np.where(reduced, 0, self.num_bad_epochs)
        return bool(reduced.any())

    def _metric_state(self) -> dict[str, Any]:
        counted = {name: getattr(self, name).tolist() for name in _COUNTS}
        return {**super()._metric_state(), "best": to_json(self.best), **counted}

    def _load_metric_state(self, state: Mapping[str, Any]) -> None:
        super()._load_metric_state(state)
        lanes = len(self.best)
        counters = {name: counts_from_json(state.get(name), lanes, name) for name in _COUNTS}
        self.best = floats_from_json(state.get("best"), lanes, "best")
        for name, of in counters.items():
            setattr(self, name, of)
