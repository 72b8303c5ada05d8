"""The Python API of reports."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from optrun.api.arguments import check_paths
from optrun.api.comparisons import Given, evidence, given_sweeps
from optrun.api.sweeps import Sweep, load_sweep
from optrun.errors import ConfigError
from optrun.plots.report.page import page_of, plotly_script
from optrun.store.directory import write_output

SUFFIXES = (".html", ".htm")


def report(
    *sweeps: Given | Sequence[Given],
    path: str | Path = "report.html",
    by: str | None = None,
    baseline: str | float | None = None,
    metric: str | None = None,
) -> Path:
    """Write the comparison of sweeps as one HTML page that needs no network, and return its path.

    ``sweeps``, ``by``, ``baseline`` and ``metric`` are those of `compare`. Raises MissingExtraError without Plotly,
    ConfigError if there is nothing to compare, a name is unknown or the file cannot be written.
    """
    check_paths(path=path)
    output = Path(path)
    if output.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{output}: a report is an HTML page, whose name ends in .html")
    library = plotly_script()
    opened = [each if isinstance(each, Sweep) else load_sweep(each) for each in given_sweeps(sweeps)]
    found = evidence(*opened, by=by, baseline=baseline, metric=metric)
    page = page_of(found, [each.path for each in opened], output, library).encode()
    try:
        write_output(output, partial(_write, page=page))
    except OSError as error:
        raise ConfigError(f"{output}: {(error.strerror or str(error)).lower()}") from error
    return output


def _write(stream: BinaryIO, page: bytes) -> None:
    stream.write(page)
