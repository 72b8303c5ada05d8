"""`plot`: draw runs or sweeps into a file."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from optrun.analysis.best_run import find_numbered
from optrun.analysis.landscape import Landscape, Trajectory
from optrun.analysis.leaderboard import is_sweep
from optrun.analysis.setting_curves import caption_of
from optrun.api.pictures import Choice, picture_of
from optrun.api.runs import Run, load_run
from optrun.api.sweeps import load_sweep
from optrun.api.trajectories import runs_of, ways_of
from optrun.cli.arguments import PictureKind
from optrun.cli.views.curves import load_curves
from optrun.cli.views.hints import print_lines
from optrun.cli.views.sensitivity import has_sensitivity, sensitivity_of
from optrun.errors import ConfigError
from optrun.plots.figure import curves_figure, format_of, save
from optrun.plots.look import Look
from optrun.plots.sensitivity_figure import sensitivity_figure
from optrun.plots.trajectory_figure import moving_format_of, save_moving, trajectory_figure
from optrun.store.directory import write_output
from optrun.store.locate import find_whole

if TYPE_CHECKING:
    from optrun.plots.picture import Picture


def save_plot(
    runs: Sequence[str], output: Path, kind: PictureKind | None, choice: Choice, look: Look
) -> None:
    """Draw runs or sweeps into a file; ConfigError for invalid options or files."""
    format = format_of(output)
    picture = _picture(runs, kind, choice, look)
    _write(output, partial(save, picture, format=format))


def save_animation(runs: Sequence[str], output: Path, choice: Choice, look: Look) -> None:
    """Draw moving trajectories into a file; ConfigError for invalid options or files."""
    format = moving_format_of(output)
    choice.check(PictureKind.TRAJECTORY, dashes="--")
    moving = save_moving(*_ways(runs, choice), format, log=choice.log, look=look)
    _write(output, lambda stream: stream.write(moving))


def _write(output: Path, write: Callable[[BinaryIO], Any]) -> None:
    try:
        write_output(output, write)
    except OSError as error:
        raise ConfigError(f"{output}: {(error.strerror or str(error)).lower()}") from error


def _ways(runs: Sequence[str], choice: Choice) -> tuple[Landscape, list[Trajectory]]:
    """Return the trajectories of runs, and of the best settings of sweeps."""
    chosen: list[Run] = []
    for run in runs:
        path, number = find_numbered(run)
        if number is None and is_sweep(path):
            best, others = runs_of(load_sweep(path), choice.problem)
            chosen += best
            if others:
                print_lines([f"note: {run}: the best {len(best)} settings are drawn, {others} are left out"])
        else:
            chosen.append(load_run(run))
    return ways_of(chosen)


def _picture(runs: Sequence[str], kind: PictureKind | None, choice: Choice, look: Look) -> "Picture":
    if kind is None:
        undecided = choice.metric is None and choice.smooth == 1
        wanted = choice.over or (undecided and has_sensitivity(runs))
        kind = PictureKind.SENSITIVITY if wanted else PictureKind.CURVES
    choice.check(kind, dashes="--")
    if kind is PictureKind.SENSITIVITY:
        if len(choice.over) > 1:
            raise ConfigError("--over: a sensitivity is over one parameter; --kind heat is over two")
        name, found = sensitivity_of(
            runs, choice.over[0] if choice.over else None, choice.metric, choice.problem
        )
        return sensitivity_figure(found, name=name, log=choice.log, look=look)
    if kind is PictureKind.CURVES:
        metric = choice.metric or "loss"
        drawn = load_curves(runs, metric, choice.smooth, choice.problem)
        return curves_figure(
            drawn, metric=metric, caption=caption_of(drawn), look=look, log=choice.log, smooth=choice.smooth
        )
    if kind is PictureKind.TRAJECTORY:
        return trajectory_figure(*_ways(runs, choice), log=choice.log, look=look)
    paths = [find_whole(run, f"plot --kind {kind}") for run in runs]
    for path in paths:
        if not is_sweep(path):
            raise ConfigError(f"{path}: a single run: --kind {kind} needs a sweep")
    if kind is PictureKind.HEAT and len(choice.over) != 2:
        raise ConfigError(
            f"a heat map is over two parameters, such as optimizer.lr, not {len(choice.over)}: give --over twice"
        )
    return picture_of([load_sweep(path) for path in paths], kind, choice, look)
