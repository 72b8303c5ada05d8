"""Results as runs of MLflow, in a database or on a server; needs mlflow."""

import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from optrun.arrays import Array
from optrun.errors import ConfigError, MissingExtraError, install
from optrun.store.run_table import STEP
from optrun.store.tensorboard import EVALUATIONS
from optrun.store.types import ListedRun, RunRecord, Status

RUN, STATUS, REASON = "optrun.run", "optrun.status", "optrun.reason"
"""The tags of a run that is written: the run in its store, how it ended, and why."""

BEGUN = "optrun.begun"
"""The tag of a run that is being written, from the first on: where it lacks RUN, the writing was interrupted."""

SQLITE = b"SQLite format 3\0"
"""What a database begins with."""

MOST_METRICS, MOST_PARAMS, LONGEST_PARAM = 1_000, 100, 6_000
"""What MLflow takes at once."""

T = TypeVar("T")
Read = Callable[[int], Mapping[str, Array]]


@dataclass(frozen=True)
class NamedRun:
    """A run to write: what it is called in MLflow, where it is stored, and the leaves of its config by path."""

    name: str
    place: str
    record: RunRecord | ListedRun
    config: Mapping[str, Any]


def uri_of(output: str) -> str:
    """Return the tracking URI that a URI, or the file of a database, is."""
    return output if "://" in output else f"sqlite:///{Path(output)}"


def write_runs(
    output: str, experiment: str, runs: Sequence[NamedRun], curves: Read, evaluations: Read
) -> None:
    """Write runs into an experiment of MLflow, each with its config, curves, evaluations, and figures of the summary.

    ``output`` is the file of a database, or a tracking URI. The figures are at the last step; a value that is not
    finite is left out, as there is no such number in a database. A run that is there is not written again if it had
    ended, and replaced if it had not, or if its writing was interrupted. Raises MissingExtraError without mlflow, and
    ConfigError where MLflow refuses.
    """
    if Path(output).is_file() and not _is_database(Path(output)):
        raise ConfigError(f"{output}: not a database of SQLite: give another file")
    os.environ.setdefault(
        "MLFLOW_DISABLE_TELEMETRY", "true"
    )  # otherwise mlflow tells its makers what is called
    try:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise MissingExtraError(f"runs of MLflow need mlflow: {install('mlflow')}") from error
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells how it makes its tables
    now = int(time.time() * 1000)
    try:
        client = MlflowClient(tracking_uri=uri_of(output))
        found = client.get_experiment_by_name(experiment)
        place = found.experiment_id if found else client.create_experiment(experiment)
        written = _written(client, place, runs) if found else set()
        for run in runs:
            if run.place in written:
                continue
            begun = {BEGUN: run.place}
            of = client.create_run(place, start_time=now, tags=begun, run_name=run.name).info.run_id
            texts = {path: _text(value)[:LONGEST_PARAM] for path, value in run.config.items()}
            for params in _batched(texts.items(), MOST_PARAMS):
                client.log_batch(of, params=[Param(path, text) for path, text in params])
            points = _points(run.record, curves(run.record.run), evaluations(run.record.run))
            for some in _batched(points, MOST_METRICS):
                client.log_batch(of, metrics=[Metric(name, value, now, step) for name, value, step in some])
            client.set_terminated(of, _status(run.record.status), now)
            tags = {RUN: run.place, STATUS: str(run.record.status), REASON: run.record.reason}
            client.log_batch(of, tags=[RunTag(name, text) for name, text in tags.items() if text])
    except MlflowException as error:
        raise ConfigError(f"{output}: {error.message}") from error


def _written(client: Any, experiment: str, runs: Sequence[NamedRun]) -> set[str]:
    """Return which runs an experiment has as they ended, and delete what it has of the others."""
    wanted = {run.place: run.record.status for run in runs}
    written: set[str] = set()
    for run in list(_runs(client, experiment)):
        tags = run.data.tags
        place = tags.get(RUN) or tags.get(BEGUN)
        if place not in wanted:
            continue
        if RUN in tags and wanted[place].final and tags[STATUS] == wanted[place]:
            written.add(place)
        else:
            client.delete_run(run.info.run_id)
    return written


def _runs(client: Any, experiment: str) -> Iterator[Any]:
    token = None
    while token is None or token:
        found = client.search_runs([experiment], page_token=token)
        yield from found
        token = found.token or ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _points(
    record: RunRecord | ListedRun, curves: Mapping[str, Array], evaluations: Mapping[str, Array]
) -> Iterator[tuple[str, float, int]]:
    """Yield the finite values of a run with their names and steps."""
    for before, columns in (("", curves), (EVALUATIONS, evaluations)):
        steps = columns[STEP].tolist() if STEP in columns else []
        for name, values in columns.items():
            for step, value in zip(steps, values.tolist(), strict=True) if name != STEP else ():
                if math.isfinite(value):
                    yield f"{before}{name}", float(value), step
    for name, figure in record.summary.items():
        if figure is not None:
            yield name, float(figure), record.steps


def _status(status: Status) -> str:
    if not status.final:
        return "KILLED"
    return "FAILED" if status in (Status.FAILED, Status.DIVERGED) else "FINISHED"


def _batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(values)
    while some := list(islice(left, size)):
        yield some


def _is_database(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(SQLITE)) == SQLITE
