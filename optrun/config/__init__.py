"""YAML with positions → pydantic models → errors people can act on; `extends` and overrides."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optrun.config.model.components import Component, OptimizerComponent, ParamGroupOptions
from optrun.config.model.durations import Duration
from optrun.config.model.expect import Bounds, Unmet, unmet
from optrun.config.model.run import Checkpointing, Evaluate, Record, RunConfig, Stop
from optrun.config.resolution import Origin, Resolved, resolve, resolved
from optrun.config.yaml.errors import ConfigErrors, Issue, Place
from optrun.config.yaml.reader import read
from optrun.config.yaml.tree import Document, YamlNode

__all__ = [
    "Bounds",
    "Checkpointing",
    "Component",
    "ConfigErrors",
    "Duration",
    "Evaluate",
    "Issue",
    "OptimizerComponent",
    "Origin",
    "ParamGroupOptions",
    "Place",
    "Record",
    "Resolved",
    "RunConfig",
    "Stop",
    "Unmet",
    "from_mapping",
    "load",
    "parse",
    "resolve",
    "unmet",
]

_NOWHERE = "<config>"


def load(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the config in a YAML file, with overrides such as ``optimizer.lr=1e-3`` applied.

    Raises ConfigErrors with every issue of the file, and of those it extends, and its place.
    """
    return resolve(path, overrides).config


def parse(text: str, source: str = _NOWHERE, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the config in a YAML text; `source` is the file it came from, for messages, names and paths.

    Raises ConfigErrors with every issue of the text and its place.
    """
    return resolved(read(text, source), overrides).config


def from_mapping(data: Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """Return the config that plain values make.

    Raises ConfigErrors with every issue of the values and its path.
    """
    return resolved(Document(YamlNode.of(data, Place(_NOWHERE)), [], set()), overrides).config
