"""Full-data metrics of the parameters and their average, during a run and at the end of each lane."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from optrun.arrays import Array, Parameters
from optrun.optim.curvature import Hessian
from optrun.plugin_code import contract_error, shape_text
from optrun.problems import Problem
from optrun.registry import metrics as metrics_by_name
from optrun.registry import prediction_metrics
from optrun.store.states import States
from optrun.training.best_parameters import BestParameters
from optrun.training.of_runs import ParamsOfRuns
from optrun.training.pack import Pack

AVERAGE = "average"
"""Prefix of the averaged metrics, `average_…`, and of the averaged parameters, `average/…`."""


class Evaluator:
    """Evaluates the current parameters of a pack, and the final parameters of each lane."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._final = pack.evaluated()
        self._chosen = pack.configs[0].evaluate.metrics or []
        self._predicted = [name for name in self._chosen if name in prediction_metrics]
        self._average: dict[str, Array] = {}
        self._has_average = np.zeros(pack.lanes, bool)

    def current(self) -> dict[str, Array]:
        """Return the current metrics, each `[B]`; metrics of the average are NaN before the average exists."""
        lanes = range(self._pack.lanes)
        return self._evaluated(self._pack.problem, lanes, self._pack.evaluated(), self._pack.averaged())

    def existing(self, figures: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return current metrics without those of an average that does not exist yet, which nothing may observe."""
        if self._pack.averaged() is not None:
            return figures
        return {name: values for name, values in figures.items() if not self._is_average(name)}

    def snapshot(self, lanes: Array | Sequence[int], *, others_continue: bool) -> None:
        """Copy the current parameters of lanes as their final ones."""
        params, average = self._pack.evaluated(), self._pack.averaged()
        if others_continue or self._final is not params:
            self.snapshot_of(lanes, params.data)
        self._has_average[lanes] = average is not None
        for name, values in (average or {}).items():
            self._average.setdefault(name, self._pack.arrays.xp.zeros_like(values))[lanes] = values[lanes]

    def snapshot_of(self, lanes: Array | Sequence[int], params: Array) -> None:
        """Copy the final parameters of lanes, whose average is none, from ``[B, n]``."""
        self._kept().data[lanes] = params[lanes]

    def snapshot_where(self, ending: Array) -> None:
        """Copy, on the device, the parameters of the lanes in a mask `[B]`; the host learns the mask later."""
        params, average = self._pack.evaluated(), self._pack.averaged()
        copyto = self._pack.arrays.xp.copyto
        copyto(self._kept().data, params.data, where=ending[:, None])
        for name, values in (average or {}).items():
            kept = self._average.setdefault(name, self._pack.arrays.xp.zeros_like(values))
            copyto(kept, values, where=ending.reshape(-1, *(1,) * (values.ndim - 1)))

    def confirm_snapshot(self, lane: int, *, with_average: bool) -> None:
        """Tell that `snapshot_where` has copied a lane, and whether its average existed then."""
        self._has_average[lane] = with_average

    def restore(self, lanes: Array, best: BestParameters) -> None:
        """Make the best parameters of lanes their final ones."""
        kept = self._kept()
        for name, values in best.params:
            kept[name][lanes] = values[lanes]
        for name, values in best.average:
            self._average.setdefault(name, self._pack.arrays.xp.zeros_like(values))[lanes] = values[lanes]
        self._has_average[lanes] = best.has_average[lanes]

    def _kept(self) -> Parameters:
        """Return the final parameters, from now on apart from the current ones."""
        if self._final is self._pack.evaluated():
            self._final = self._final.copy()
        return self._final

    def final(self, lanes: Array) -> dict[str, Array]:
        """Return the final metrics of lanes, in their order; those of the average are NaN for lanes without one."""
        if not len(lanes):
            return {}
        params, average = _picked(self._final, lanes), _picked(self._average, lanes) or None
        chosen: Sequence[int] = lanes.tolist()
        metrics = self._evaluated(self._pack.problem_of(chosen), chosen, params, average)
        has_average = self._has_average[lanes]
        return {
            name: np.where(has_average, values, math.nan) if self._is_average(name) else values
            for name, values in metrics.items()
        }

    def summarise(self, lanes: Array, final: Mapping[str, Array], states: States) -> None:
        """Give the states of lanes their final metrics, `loss` as `final_loss`; those of an average where there is one.

        ``states`` are those of all lanes.
        """
        named = {"final_loss" if name == "loss" else name: values for name, values in final.items()}
        own = {name: values for name, values in named.items() if not self._is_average(name)}
        is_whole = self._has_average[lanes] | (not self._pack.keeps_average)
        for chosen, figures in ((is_whole, named), (~is_whole, own)):
            if chosen.any():
                states.put_figures(lanes[chosen], {name: values[chosen] for name, values in figures.items()})

    def params(self, lanes: Array, runs: Array) -> ParamsOfRuns:
        """Return the final parameters of lanes by name, and their average as `average/…` if there is one, by runs."""
        to_host = self._pack.arrays.to_host
        own, average = (
            {name: to_host(values) for name, values in _picked(named, lanes).items()}
            for named in (self._final, self._average)
        )
        averaged = {f"{AVERAGE}/{name}": values for name, values in average.items()}
        return ParamsOfRuns(runs, own, averaged, self._has_average[lanes])

    def _evaluated(
        self,
        problem: Problem,
        lanes: Sequence[int],
        params: Mapping[str, Array],
        average: Mapping[str, Array] | None,
    ) -> dict[str, Array]:
        metrics = self._metrics(problem, lanes, params)
        if not self._pack.keeps_average:
            return metrics
        nothing = {name: np.full_like(values, np.nan) for name, values in metrics.items()}
        beside = self._metrics(problem, lanes, average) if average is not None else nothing
        return metrics | {f"{AVERAGE}_{name}": values for name, values in beside.items()}

    def _metrics(
        self, problem: Problem, lanes: Sequence[int], params: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Return the problem's metrics; PluginError unless they include `loss` and each has shape `[B]`."""
        evaluate = problem.evaluate
        # A plugin's problem, which has no predictions, need not take the argument.
        metrics = evaluate(params, **({"measure": self._predicted} if self._predicted else {}))
        if not isinstance(metrics, Mapping) or "loss" not in metrics:
            raise contract_error(evaluate, "does not return a mapping with loss")
        for name, values in metrics.items():
            if getattr(values, "shape", None) != (len(lanes),):
                shape = f"({len(lanes)},), one value per lane"
                what = f"returns {name} of {shape_text(values)}, not an array of shape {shape}"
                raise contract_error(evaluate, what)
        measured = self._measured(problem, lanes, params, metrics)
        # Copied, since a plugin may return the same buffer at each evaluation.
        return {name: values.copy() for name, values in {**metrics, **measured}.items()}

    def _measured(
        self,
        problem: Problem,
        lanes: Sequence[int],
        params: Mapping[str, Array],
        known: Mapping[str, Array],
    ) -> dict[str, Array]:
        """Return the metrics that the config asks for; PluginError where the problem has one of that name."""
        chosen = [name for name in self._chosen if name not in self._predicted]
        if not chosen:
            return {}
        for name in chosen:
            if name in known:
                raise contract_error(
                    self._pack.problem.evaluate, f"returns {name}, which is a metric by itself"
                )
        xp, to_host = self._pack.arrays.xp, self._pack.arrays.to_host
        flat = xp.concatenate([values.reshape(len(values), -1) for values in params.values()], axis=1)
        seeds = [self._pack.configs[lane].seed for lane in lanes]
        of_objective = {
            "p": flat,
            "hessian": Hessian(partial(problem.hessian_times, params), flat.shape[1], seeds),
            "loss": known["loss"],
        }
        classes = {name: metrics_by_name.find(name) for name in chosen}
        if any("minimum" in cls.needs for cls in classes.values()):
            of_objective["minimum"] = np.broadcast_to(np.asarray(problem.minimum, np.float64), len(lanes))
        if any("minimizers" in cls.needs for cls in classes.values()):
            points = [
                np.concatenate([np.ravel(each[name]) for name in params]) for each in problem.minimizers
            ]
            of_objective["minimizers"] = xp.asarray(np.stack(points))
        return {name: to_host(cls.of(of_objective)) for name, cls in classes.items()}

    def _is_average(self, name: str) -> bool:
        return self._pack.keeps_average and name.startswith(f"{AVERAGE}_")


def _picked(named: Mapping[str, Array], lanes: Array) -> dict[str, Array]:
    return {name: values if len(lanes) == len(values) else values[lanes] for name, values in named.items()}
