"""`predict` and `evaluate`: what a run says of other samples."""

import json as json_module
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import cast

from optrun.api.predicting import names_of, predicted, predictor_of, probabilities, samples_of
from optrun.api.runs import load_run
from optrun.arrays import Array
from optrun.cli.text.confusion import confusion_lines
from optrun.cli.text.console import emit, quoted, table
from optrun.cli.text.metrics import metric_lines
from optrun.cli.views.export import format_of, written_as
from optrun.errors import ConfigError, counted, printable, printable_lines
from optrun.problems.data import Table
from optrun.problems.data.faults import places
from optrun.problems.data.new_samples import NewSamples
from optrun.store import PAGES, write_table
from optrun.store.run_table import RunTable, What
from optrun.training.predictor import Predictor

SHOWN = 10
"""The most predictions on the screen."""

MOST_CLASSES = 5
"""The most classes whose probabilities are on the screen; of more, that of the predicted one is."""

PREDICTED, PROBABILITY = "predicted", "probability"


@dataclass(frozen=True)
class _Columns(RunTable):
    """A table of one run, with one row for each sample."""

    @property
    def size(self) -> int:
        return 1

    @cached_property
    def kinds(self) -> Mapping[str, type]:
        return {name: type(values[0].item()) for name, values in self.read(0)[1].items()}


def print_predictions(
    run: Path,
    data: str,
    output: str | None,
    format: str | None,
    *,
    decimal: str | None,
    average: bool,
    json: bool,
) -> None:
    """Write predictions to a file, or print the first of them, or all as JSON."""
    if output is not None and json:
        raise ConfigError("--json prints the predictions, -o writes them: give one of them")
    if format is not None and output is None:
        raise ConfigError("--format is that of a file: give one with -o")
    if output is not None and Path(output).exists() and Path(data).exists() and Path(output).samefile(data):
        raise ConfigError(f"{output} has the samples: give another file with -o")
    chosen = "csv" if output is None else format_of(format, output)
    if chosen in PAGES:
        raise ConfigError(f"{chosen} is for a page, and predictions may have thousands of rows: -o FILE.csv")
    predictor = predictor_of(load_run(run), average=average)
    new, left_out = _complete(predictor, samples_of(predictor, data, decimal=decimal))
    found = predictor.predictions(new)
    values = predicted(predictor, found)
    shares = probabilities(predictor, found) if predictor.classes else None
    classes = [str(each) for each in predictor.classes]
    if json:
        document = {
            "run": str(run),
            "target": predictor.preparation.target.name,
            "classes": list(predictor.classes),
            **{name: lines.tolist() for name, lines in _lines(new).items()},
            PREDICTED: values.tolist(),
            "probabilities": None if shares is None else shares.tolist(),
            "understood": list(new.understood),
            "ignored": list(new.ignored),
            "unknown": predictor.preparation.unknown(new.samples),
        }
        print(json_module.dumps(document, ensure_ascii=False, allow_nan=False))
        return
    _note(predictor, new)
    if left_out:
        print(printable_lines(f"note: {left_out}"), file=sys.stderr)
    if output is not None:
        columns = {**_lines(new), PREDICTED: values}
        if shares is not None:
            columns |= {f"{PROBABILITY}_{name}": shares[:, i] for i, name in enumerate(classes)}
        rows = _Columns(cast(What, "predictions"), {}, [*columns], lambda _: (len(values), columns))
        written_as(chosen, output, partial(write_table, rows, chosen))
        if output != "-":
            print(output)
        return
    name = predictor.preparation.target.name or PREDICTED
    shown = min(SHOWN, len(values))
    place = new.samples.unit if isinstance(new.samples, Table) else "sample"
    several = 0 < len(classes) <= MOST_CLASSES
    titles = [place, name, *(classes if several else [PROBABILITY] if classes else [])]
    made = table(*map(printable, titles), right=[place, *map(printable, titles[2:])])
    for row in range(shown):
        at = new.samples.lines[row] if isinstance(new.samples, Table) else row
        value = values[row].item()
        cells = [f"{at}", f"{value:.6g}" if isinstance(value, float) else printable(str(value))]
        if shares is not None:
            cells += [f"{each:.4f}" for each in (shares[row] if several else [shares[row].max()])]
        made.add_row(*cells)
    emit(made)
    if shown < len(values):
        more = f"optrun predict {quoted(run)} {quoted(Path(data))} -o predictions.csv"
        print(f"{counted(len(values) - shown, 'more sample')}; all of them: {more}", file=sys.stderr)


def print_evaluation(
    run: Path, data: str, metrics: str, *, decimal: str | None, average: bool, json: bool
) -> None:
    """Print the figures of a run on other data."""
    loaded = load_run(run)
    predictor = predictor_of(loaded, average=average)
    new = samples_of(predictor, data, decimal=decimal)
    found = predictor.evaluate(new, names_of(metrics))
    figures = {name: value if math.isfinite(value) else None for name, value in found.figures.items()}
    if json:
        document = {
            "run": str(run),
            "samples": found.samples,
            "left_out": found.left_out,
            "figures": figures,
            "classes": list(found.classes),
            "confusion": None if found.confusion is None else found.confusion.tolist(),
            "understood": list(new.understood),
            "ignored": list(new.ignored),
            "unknown": predictor.preparation.unknown(new.samples),
        }
        print(json_module.dumps(document, ensure_ascii=False, allow_nan=False))
        return
    _note(predictor, new)
    left_out = (
        f", {found.left_out:,} without a target or with missing cells left out" if found.left_out else ""
    )
    print(printable_lines(f"{loaded.config['name']} on {data}: {counted(found.samples, 'sample')}{left_out}"))
    for line in metric_lines(figures):
        print(f"  {line}")
    if found.confusion is not None:
        print("confusion: rows are the true classes, columns the predicted ones")
        for line in confusion_lines(found.classes, found.confusion):
            print(line)


def _complete(predictor: Predictor, new: NewSamples) -> tuple[NewSamples, str]:
    """Return the samples that have all cells, where training left out others, and what is left out in words."""
    rows = predictor.complete(new)
    if rows.all():
        return new, ""
    if not rows.any():
        raise ConfigError(
            "data: no row has all cells, and training left out such rows: train with missing: median",
            field="data",
        )
    assert isinstance(new.samples, Table)
    lacks = int((~rows).sum())
    return new.take(rows), (
        f"{counted(lacks, 'row')} with missing cells left out, as of training by missing: drop "
        f"({places(new.samples, ~rows)}); a run with missing: median predicts such rows, too"
    )


def _lines(new: NewSamples) -> dict[str, Array]:
    """Return the column that says which line, or row, of the file each sample is."""
    return {new.samples.unit: new.samples.lines} if isinstance(new.samples, Table) else {}


def _note(predictor: Predictor, new: NewSamples) -> None:
    notes = [f"read as {', '.join(new.understood)}"] if new.understood else []
    notes += [f"not used: {', '.join(map(repr, new.ignored))}"] if new.ignored else []
    for each in notes + predictor.preparation.unknown_words(new.samples):
        print(printable_lines(f"note: {each}"), file=sys.stderr)
