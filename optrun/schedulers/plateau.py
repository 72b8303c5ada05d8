"""The schedule that listens."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from optrun.arrays import Array, power
from optrun.registry import Decay, NonNegative, NonNegativeSteps
from optrun.schedulers.lane_state import counts, listed, numbers
from optrun.schedulers.scheduler import LRScheduler

_COUNTS = ("num_bad_epochs", "cooldown_counter", "reductions")


class ReduceLROnPlateau(LRScheduler):
    """A factor whenever a metric has not become better for a while; each lane for itself.

    η ← max(η · factor, min_lr), where that changes it by more than eps

    This is done after more than patience steps in a row that were not better than the best one by threshold: with
    threshold_mode rel a fraction of its magnitude, where torch's is no margin for metrics below zero. The cooldown
    steps after a reduction do not count as bad; NaN and infinities do. In a run the metric is the loss of the batch,
    or with interval epoch the mean over the epoch's batches, of which a last one of fewer samples counts as much as the
    others. In a SequentialLR it listens while it is its turn.
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
    ) -> Any:
        return base

    @property
    def needs_metrics(self) -> bool:
        """Whether it listens: yes."""
        return True

    def at(self, t: Any, base: Any) -> Array:
        """Return the rates `[T, 1 or B]` at the steps ``t``, with the reductions so far."""
        rates, options = super().at(t, base), self._options
        for count in range(int(self.reductions.max())):
            lower = np.maximum(rates * options["factor"], options["min_lr"])
            changes = (self.reductions > count) & (rates - lower > options["eps"])
            if not changes.any():
                break
            rates = np.where(changes, lower, rates)
        return rates

    def base_for(self, t: float, values: Any) -> Array:
        """Return the initial values that as many reductions as there were have brought to these ones."""
        values = np.asarray(values, np.float64)
        with np.errstate(all="ignore"):
            base: Array = values / power(self._options["factor"], self.reductions)
        return np.where(np.isfinite(base), base, values)

    def _begin(self, lanes: int) -> None:
        super()._begin(lanes)
        self.best = np.full(lanes, np.nan)
        """The best metric of each lane, NaN before there is one."""
        self.num_bad_epochs = np.zeros(lanes, np.int64)
        self.cooldown_counter = np.zeros(lanes, np.int64)
        self.reductions = np.zeros(lanes, np.int64)

    def _hear(self, t: int, metrics: Array) -> bool:
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

    def _heard(self) -> dict[str, Any]:
        counted = {name: getattr(self, name).tolist() for name in _COUNTS}
        return {**super()._heard(), "best": listed(self.best), **counted}

    def _recall(self, heard: Mapping[str, Any]) -> None:
        super()._recall(heard)
        lanes = len(self.best)
        recalled = {name: counts(heard.get(name), lanes, name) for name in _COUNTS}
        self.best = numbers(heard.get("best"), lanes, "best")
        for name, of in recalled.items():
            setattr(self, name, of)
