"""The learning rates that train."""

import json as json_module
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from optrun.api.learning_rates import LearningRates, lr_find
from optrun.cli.text.console import emit, table
from optrun.errors import ConfigError, printable
from optrun.plots.figure import format_of, save
from optrun.plots.look import Look, matplotlib_in_style
from optrun.store.directory import write_output


def print_rates(
    config: Path,
    overrides: Sequence[str],
    plugins: Sequence[str],
    output: Path | None,
    *,
    json: bool,
    **how: Any,
) -> None:
    """Run a config at many learning rates, print which train on stdout, and draw them; ``how`` is as for `lr_find`."""
    if output is not None:
        format = format_of(output)
        with matplotlib_in_style(Look()):
            pass  # before the runs: the picture needs an extra
    found = lr_find(config, overrides=overrides, plugins=plugins, **how)
    if json:
        print(json_module.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False))
    else:
        print(found)
        emit(_rows(found))
    if output is not None:
        from optrun.plots.learning_rate_figure import learning_rate_figure

        picture = learning_rate_figure(found)
        try:
            write_output(output, partial(save, picture, format=format))
        except OSError as error:
            raise ConfigError(f"{output}: {(error.strerror or str(error)).lower()}") from error
        print(printable(str(output)), file=sys.stderr if json else sys.stdout)


def _rows(found: LearningRates) -> Any:
    made = table(
        "", found.parameter, found.metric, "quartiles", "seeds", "diverged", right=("seeds", "diverged")
    )
    for each in found.outcomes:
        is_near = found.range is not None and found.range[0] <= each.rate <= found.range[1]
        mark = "★" if each.rate == found.recommended else "·" if is_near and each.seeds == found.seeds else ""
        median, lower, upper = (
            "" if value is None else f"{value:.4g}" for value in (each.median, each.lower, each.upper)
        )
        quartiles = f"{lower} to {upper}" if each.seeds > 1 and median else ""
        made.add_row(mark, f"{each.rate:.4g}", median, quartiles, str(each.seeds), str(each.diverged or ""))
    return made
