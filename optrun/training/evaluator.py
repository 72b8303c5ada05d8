"""The evaluator: full-data metrics at the parameters and at their average, and where each lane ends."""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from optrun.arrays import Array
from optrun.plugin_code import contract_error, shape_text
from optrun.registry import metrics as metrics_by_name
from optrun.training.pack import Pack

AVERAGE = "average"
"""Begins the names of what belongs to the average: of metrics as `average_…`, of parameters as `average/…`."""


class Evaluator:
    """Evaluates a pack where it is now, and at last where each of its lanes was at its end."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._final = pack.params
        self._average: dict[str, Array] = {}
        self._has_average = np.zeros(pack.lanes, bool)

    def now(self) -> dict[str, Array]:
        """Return the metrics, each `[B]`; those at the average are NaN before there is one."""
        return self._evaluated(self._pack.params, self._pack.averaged())

    def keep(self, lanes: Sequence[int], *, others_go_on: bool) -> None:
        """Keep where lanes are at their end."""
        params, average = self._pack.params, self._pack.averaged()
        if others_go_on and self._final is params:
            self._final = params.copy()
        if self._final is not params:
            self._final.data[lanes] = params.data[lanes]
        self._has_average[lanes] = average is not None
        for name, values in (average or {}).items():
            self._average.setdefault(name, self._pack.arrays.xp.zeros_like(values))[lanes] = values[lanes]

    def keep_where(self, ending: Array) -> None:
        """Keep, on the device, where the lanes of a mask `[B]` are: the host learns later which they were."""
        params, average = self._pack.params, self._pack.averaged()
        if self._final is params:
            self._final = params.copy()
        copyto = self._pack.arrays.xp.copyto
        copyto(self._final.data, params.data, where=ending[:, None])
        for name, values in (average or {}).items():
            kept = self._average.setdefault(name, self._pack.arrays.xp.zeros_like(values))
            copyto(kept, values, where=ending.reshape(-1, *(1,) * (values.ndim - 1)))

    def was_kept(self, lane: int, *, with_average: bool) -> None:
        """Learn of a lane that `keep_where` has kept, and whether there was an average then."""
        self._has_average[lane] = with_average

    def final(self, lanes: Sequence[int]) -> dict[int, dict[str, float]]:
        """Return the metrics of each of the lanes at its end; those at the average are NaN where it has none."""
        if not lanes:
            return {}
        chosen = list(lanes)
        metrics = self._evaluated(_picked(self._final, chosen), _picked(self._average, chosen) or None)
        columns = {name: values.tolist() for name, values in metrics.items()}
        return {
            lane: {
                name: math.nan if self._is_average(name) and not self._has_average[lane] else values[row]
                for name, values in columns.items()
            }
            for row, lane in enumerate(chosen)
        }

    def summary(self, lane: int, final: Mapping[str, float]) -> dict[str, float | None]:
        """Return a lane's final metrics for its summary: `loss` is called `final_loss`, None is what is not finite."""
        is_whole = not self._pack.keeps_average or self._has_average[lane]
        return {
            "final_loss" if name == "loss" else name: value if math.isfinite(value) else None
            for name, value in final.items()
            if is_whole or not self._is_average(name)
        }

    def params(self, lanes: Collection[int]) -> dict[int, dict[str, Array]]:
        """Return final parameters of lanes by name and, as `average/…`, their average where they have one."""
        chosen, to_host = list(lanes), self._pack.arrays.to_host
        own = {name: to_host(values) for name, values in _picked(self._final, chosen).items()}
        average = {
            f"{AVERAGE}/{name}": to_host(values) for name, values in _picked(self._average, chosen).items()
        }
        params = {
            lane: dict(zip(own, of_lane, strict=True))
            for lane, of_lane in zip(chosen, zip(*own.values(), strict=True), strict=True)
        }
        for row, lane in enumerate(chosen if average else ()):
            if self._has_average[lane]:
                params[lane] |= {name: values[row] for name, values in average.items()}
        return params

    def _evaluated(
        self, params: Mapping[str, Array], average: Mapping[str, Array] | None
    ) -> dict[str, Array]:
        metrics = self._metrics(params)
        if not self._pack.keeps_average:
            return metrics
        nothing = {name: np.full_like(values, np.nan) for name, values in metrics.items()}
        beside = self._metrics(average) if average is not None else nothing
        return metrics | {f"{AVERAGE}_{name}": values for name, values in beside.items()}

    def _metrics(self, params: Mapping[str, Array]) -> dict[str, Array]:
        """Return what the problem evaluates; PluginError where that is not `loss`, and one number for each lane."""
        evaluate = self._pack.problem.evaluate
        metrics, lanes = evaluate(params), len(next(iter(params.values())))
        if not isinstance(metrics, Mapping) or "loss" not in metrics:
            raise contract_error(evaluate, "does not return a mapping with loss")
        for name, values in metrics.items():
            if getattr(values, "shape", None) != (lanes,):
                what = f"returns {name} of {shape_text(values)}, not an array of shape ({lanes},): one for each lane"
                raise contract_error(evaluate, what)
        return {**metrics, **self._measured(params, metrics)}

    def _measured(self, params: Mapping[str, Array], known: Mapping[str, Array]) -> dict[str, Array]:
        """Return the metrics that the config asks for; PluginError where the problem has one of that name."""
        if not (chosen := self._pack.configs[0].evaluate.metrics):
            return {}
        for name in chosen:
            if name in known:
                raise contract_error(
                    self._pack.problem.evaluate, f"returns {name}, which is a metric by itself"
                )
        xp, to_host = self._pack.arrays.xp, self._pack.arrays.to_host
        flat = xp.concatenate([values.reshape(len(values), -1) for values in params.values()], axis=1)
        return {name: to_host(metrics_by_name.find(name).of({"p": flat})) for name in chosen}

    def _is_average(self, name: str) -> bool:
        return self._pack.keeps_average and name.startswith(f"{AVERAGE}_")


def _picked(named: Mapping[str, Array], lanes: Sequence[int]) -> dict[str, Array]:
    return {name: values if len(lanes) == len(values) else values[lanes] for name, values in named.items()}
