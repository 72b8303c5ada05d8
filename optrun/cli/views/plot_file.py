"""`plot`: draw runs or a sensitivity into a file."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from optrun.cli.arguments import PictureKind
from optrun.cli.views.curves import caption, load_curves
from optrun.cli.views.sensitivity import has_sensitivity, sensitivity_of
from optrun.errors import ConfigError
from optrun.plots.figure import curves_figure, format_of, save
from optrun.plots.look import Look
from optrun.plots.sensitivity_figure import sensitivity_figure
from optrun.store.directory import write_output

if TYPE_CHECKING:
    from optrun.plots.picture import Picture


def save_plot(
    runs: Sequence[str],
    output: Path,
    kind: PictureKind | None,
    metric: str | None,
    log: bool | None,
    over: str | None,
    smooth: int,
    look: Look,
) -> None:
    """Draw runs, or the sensitivity of a sweep, into a file; ConfigError for invalid options or files."""
    format = format_of(output)
    picture = _picture(runs, kind, metric, log, over, smooth, look)
    try:
        write_output(output, partial(save, picture, format=format))
    except OSError as error:
        raise ConfigError(f"{output}: {(error.strerror or str(error)).lower()}") from error


def _picture(
    runs: Sequence[str],
    kind: PictureKind | None,
    metric: str | None,
    log: bool | None,
    over: str | None,
    smooth: int,
    look: Look,
) -> "Picture":
    if kind is None:
        wanted = over is not None or (metric is None and smooth == 1 and has_sensitivity(runs))
        kind = PictureKind.SENSITIVITY if wanted else PictureKind.CURVES
    if kind is PictureKind.SENSITIVITY:
        if smooth > 1:
            raise ConfigError("--smooth is for curves: a sensitivity has no steps")
        name, found = sensitivity_of(runs, over, metric)
        return sensitivity_figure(found, name=name, log=log, look=look)
    if over is not None:
        raise ConfigError("--over is for --kind sensitivity: curves are plotted over steps")
    drawn = load_curves(runs, metric or "loss", smooth)
    return curves_figure(
        drawn, metric=metric or "loss", log=log, caption=caption(drawn), smooth=smooth, look=look
    )
