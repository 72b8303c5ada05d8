"""`show RUN`: outcome, config, environment, events and files of a run."""

import json as json_module
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.text import Text

from optrun.analysis.leaderboard import plan_of, plugins_of
from optrun.analysis.summaries import KILLED, RESUMABLE, file_sizes, parse_time, run_object, state_of
from optrun.arrays import Array
from optrun.cli.text.confusion import confusion_lines
from optrun.cli.text.console import emit, quoted, span, status_text, suggest, table, with_plugins
from optrun.cli.text.metrics import metric_lines
from optrun.cli.views.sweep_overview import DIGITS, code_lines, print_sweep
from optrun.config import from_mapping
from optrun.config.yaml.writer import to_yaml
from optrun.errors import ConfigError, StoreError, printable, printable_lines
from optrun.plots.terminal import sparkline
from optrun.store import Event, RunRecord, Status, Store
from optrun.store.event_names import BASELINES, IDENTITIES, INFERRED, LEFT, MADE, OF_SWEEPS, TRACEBACK
from optrun.training.baselines import Baselines, stored_baselines
from optrun.training.config_notes import inferred_lines
from optrun.training.confusion import Confusion, confusion_of
from optrun.training.identity import Identity
from optrun.training.provenance import identity_of

SPARKS = 40


def print_run(
    path: Path, run: int | None, *, json: bool, limit: int | None = None, confusion: bool = False
) -> None:
    """Print everything about a run except its rows, or the leaderboard of a sweep, at most ``limit`` settings.

    With ``confusion`` also how many samples of each class the run predicts as each.

    Raises StoreError if the store is damaged, and ConfigError for a limit with a single run.
    """
    with Store.open(path) as store:
        plan = plan_of(store)
        if run is None and plan is not None:
            check_no_confusion(confusion)
            print_sweep(store, plan, json=json, limit=limit)
            return
        check_no_limit(limit)
        status, record = state_of(store, store.run(run or 0))
        curves, environments = store.curves(record.run), store.environments()
        events = [event for event in store.events_of(record.run) if event.kind not in OF_SWEEPS]
        identity = identity_of(store, record)
        confused = _confusion(store, record, identity) if confusion else None
        is_of_sweep = plan is not None or store.size > 1
        traceback = store.traceback(record.run) if record.status is Status.FAILED else ""
    lines, baselines = inferred_lines(events), stored_baselines(events, record.config)
    events = [event for event in events if event.kind not in (INFERRED, BASELINES, *IDENTITIES)]
    if json:
        document = {
            **run_object(path, status, record, record.run if is_of_sweep else None),
            "environments": environments,
            "identity": {
                "data": identity.fingerprint,
                "code": {name: source._asdict() for name, source in identity.code.items()},
            },
            "events": [
                {"time": each.time, "kind": each.kind, "attempt": each.attempt, **each.details}
                for each in events
            ],
            "curves": list(curves),
            "inferred": lines,
            **({"baselines": baselines} if baselines else {}),
            **({"confusion": _plain(confused)} if confused else {}),
        }
        print(json_module.dumps(document, ensure_ascii=False, allow_nan=False))
        return
    print_outcome(Path(f"{path}:{record.run}") if is_of_sweep else path, status, record, baselines)
    for line in lines:
        emit(Text(printable(line)))
    if confused is not None:
        _print_confusion(confused)
    _print_curve(curves)
    if traceback:
        _heading("traceback")
        emit(Text(_indented(printable_lines(traceback))))
    _heading("config")
    emit(Text(_indented(to_yaml(record.config))))
    _heading("environment")
    emit(Text(_indented(_environment(environments[-1] if environments else {}, identity))))
    _heading("events")
    _print_events(events)
    _heading("files")
    for name, size in file_sizes(path).items():
        emit(Text(f"  {size:>11,} B  {printable(name)}"))
    if not is_of_sweep:
        suggest_for(path, status)
    elif record.status.final:
        suggest(f"curves {quoted(path)}:{record.run}", f"export {quoted(path)}:{record.run} -o curves.csv")


def print_outcome(path: Path, status: str, record: RunRecord, baselines: Baselines | None = None) -> None:
    """Print the status, the steps and the summary of a run, beside its baselines."""
    reason = ": " + (record.reason or "its process is gone") if record.reason or status == KILLED else ""
    head = Text.assemble((printable(str(record.config.get("name", path.name))), "bold"), ": ")
    taken = f"{record.steps:,} step{'s' * (record.steps != 1)}"
    step = f" after {taken}" if record.status.final else f" at step {record.steps:,}"
    emit(head + status_text(status) + Text(f"{step}{printable(reason)}"))
    emit(Text(printable(str(path)), "dim"))
    for line in metric_lines(record.summary, baselines):
        emit(Text(f"  {printable(line)}"))


def suggest_for(path: Path, status: str) -> None:
    """Suggest the next commands for a run of this status."""
    run = quoted(path)
    if status == "running":
        suggest(f"watch {run}")
    elif status in RESUMABLE:
        with Store.open(path) as store:
            suggest(f"resume {run}{with_plugins(plugins_of(store))}")
    else:
        suggest(f"curves {run}", f"export {run} --format csv -o curves.csv")


def _heading(title: str) -> None:
    emit(Text(f"\n{title}", "bold"))


def check_no_confusion(confusion: bool) -> None:
    """Raise ConfigError where confusion matrices are asked of anything but a run."""
    if confusion:
        raise ConfigError("--confusion is of a run; that of a sweep is SWEEP:N")


def _confusion(store: Store, record: RunRecord, identity: Identity) -> Confusion:
    try:
        return confusion_of(from_mapping(record.config), store.params(record.run), identity)
    except StoreError as error:
        raise StoreError(f"{store.path}: {error}") from None


def _plain(confused: Confusion) -> dict[str, Any]:
    """Return confusion matrices as plain values for JSON."""
    return {
        "classes": list(confused.classes),
        **{part: counts.tolist() for part, counts in confused.counts.items()},
    }


def _print_confusion(confused: Confusion) -> None:
    for part, counts in confused.counts.items():
        _heading(f"confusion, {part}")
        emit(Text("  rows are the true classes, columns the predicted ones", "dim"))
        for line in confusion_lines(confused.classes, counts):
            print(line)


def check_no_limit(limit: int | None) -> None:
    """Raise ConfigError for a limit with anything but a sweep."""
    if limit is not None:
        raise ConfigError("--limit is the number of settings of a sweep to show, and this is no sweep")


def _print_curve(curves: Mapping[str, Array]) -> None:
    if not curves:
        return
    loss = curves["loss"]
    ends = f"{loss[0]:.4g} → {loss[-1]:.4g}"
    emit(
        Text.assemble(
            "\nloss  ",
            (sparkline(loss, SPARKS), "cyan"),
            f"  {ends}, {len(loss):,} row{'s' * (len(loss) != 1)}",
        )
    )


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines())


def _environment(found: Mapping[str, Any], identity: Identity) -> str:
    versions = ", ".join(f"{name} {found[name]}" for name in ("optrun", "python", "numpy") if found.get(name))
    machine = ", ".join(str(found[name]) for name in ("cpu", "platform") if found.get(name))
    blas = ", ".join(
        " ".join(str(value) for value in library.values() if value)
        for library in found.get("blas") or []
        if isinstance(library, dict)
    )
    git = found.get("git")
    dirty = " with changes" if isinstance(git, dict) and git.get("dirty") else ""
    revision = f"git {str(git.get('sha'))[:12]}{dirty}" if isinstance(git, dict) else ""
    lines = [versions, machine, blas, revision]
    lines += [f"data {identity.fingerprint[:DIGITS]}"] if identity.fingerprint else []
    lines += code_lines(identity)
    return "\n".join(printable(line) for line in lines if line) or "nothing is known of it"


def _print_events(events: list[Event]) -> None:
    made = table("", "", "", "")
    for event in events:
        if event.kind == TRACEBACK:
            continue
        time = parse_time(event.time)
        when = f"{time:%Y-%m-%d %H:%M:%S}" if time else "?"
        kind = "attempt ended" if event.kind == LEFT else event.kind
        made.add_row("", when, Text(printable(kind)), Text(_details(event)))
    emit(made)


def _details(event: Event) -> str:
    seconds = event.details.get("seconds")
    if isinstance(seconds, (int, float)):
        return f"after {seconds:.2f} s" if seconds < 60 else f"after {span(seconds)}"
    if event.kind == MADE:
        return printable(f"with older data or code, up to step {event.details.get('steps')}")
    changes = event.details.get("changes")
    if isinstance(changes, list):
        return printable(", ".join(str(each.get("what")) for each in changes if isinstance(each, dict)))
    if isinstance(changes, dict):
        return printable(f"changed: {', '.join(changes)}")
    host, pid = event.details.get("host"), event.details.get("pid")
    return printable(f"on {host}, process {pid}") if host else ""
