"""`plot`: draw runs or a sensitivity into a file."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from optrun.cli.arguments import Kind
from optrun.cli.views.curves import caption, load_curves
from optrun.cli.views.sensitivity import has_sensitivity, sensitivity_of
from optrun.errors import ConfigError
from optrun.plots.figure import format_of, save_figure
from optrun.plots.sensitivity_figure import save_sensitivity
from optrun.store.directory import write_output


def save_plot(
    runs: Sequence[str],
    output: Path,
    kind: Kind | None,
    metric: str | None,
    log: bool | None,
    over: str | None,
) -> None:
    """Draw runs, or the sensitivity of a sweep, into a file; ConfigError for invalid options or files."""
    format = format_of(output)
    if kind is None:
        wanted = over is not None or (metric is None and has_sensitivity(runs))
        kind = Kind.SENSITIVITY if wanted else Kind.CURVES
    if kind is Kind.CURVES and over is not None:
        raise ConfigError("--over is for --kind sensitivity: curves are plotted over steps")
    save: Callable[[BinaryIO], None]
    if kind is Kind.SENSITIVITY:
        name, found = sensitivity_of(runs, over, metric)
        save = partial(save_sensitivity, found, format=format, title=name, log=log)
    else:
        drawn, metric = load_curves(runs, metric or "loss"), metric or "loss"
        save = partial(save_figure, drawn, format=format, metric=metric, log=log, title=caption(drawn))
    try:
        write_output(output, save)
    except OSError as error:
        raise ConfigError(f"{output}: {(error.strerror or str(error)).lower()}") from error
