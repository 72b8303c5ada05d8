"""YAML with positions → pydantic models → errors people can act on; overrides."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optrun.config.components import Component, OptimizerComponent, ParamGroup
from optrun.config.durations import Duration
from optrun.config.errors import ConfigErrors, Issue, Place
from optrun.config.models import METRICS, Checkpoint, Evaluate, Record, RunConfig, Stop
from optrun.config.overrides import override
from optrun.config.reader import MAX_BYTES, Document, decode, read
from optrun.config.tree import Node
from optrun.config.validate import validate
from optrun.errors import nearest

__all__ = [
    "METRICS",
    "Checkpoint",
    "Component",
    "ConfigErrors",
    "Duration",
    "Evaluate",
    "Issue",
    "OptimizerComponent",
    "ParamGroup",
    "Record",
    "RunConfig",
    "Stop",
    "from_mapping",
    "load",
    "parse",
]

_NOWHERE = "<config>"


def load(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the config in a YAML file, with overrides such as ``optimizer.lr=1e-3`` applied.

    Raises ConfigErrors with every issue of the file and its place.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigErrors([Issue.at(Place(str(path)), (), _unreadable(path, error))]) from None
    return parse(decode(raw, str(path)), str(path), overrides)


def parse(text: str, source: str = _NOWHERE, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the config in a YAML text; `source` is the file it came from, for messages, names and paths.

    Raises ConfigErrors with every issue of the text and its place.
    """
    return _config(read(text, source), source, overrides)


def from_mapping(data: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Return the config that plain values make.

    Raises ConfigErrors with every issue of the values and its path.
    """
    return _config(Document(Node.of(data, Place(_NOWHERE)), [], set()), _NOWHERE, overrides)


def _config(document: Document, source: str, overrides: Sequence[str]) -> RunConfig:
    root, issues = override(document.root, overrides)
    name, folder = ("run", Path()) if source.startswith("<") else (Path(source).stem, Path(source).parent)
    return validate(Document(root, [*document.issues, *issues], document.spoiled), name, folder)


def _unreadable(path: Path, error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    beside = [str(other) for other in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    near = nearest(str(path), beside) if isinstance(error, FileNotFoundError) else None
    return reason if near is None else f"{reason}. Did you mean {near!r}?"
