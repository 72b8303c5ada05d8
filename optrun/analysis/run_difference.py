"""Compare two runs: config, environment, summary, curves, parameters."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optrun.analysis.composition import list_text
from optrun.arrays import Array
from optrun.config.yaml.writer import told_apart
from optrun.registry import TRANSFORMS
from optrun.store import Store
from optrun.training.identity import Identity
from optrun.training.provenance import identity_of

Pair = tuple[Any, Any]
ABSENT = "absent"

DEFAULT = "default"
"""The label of a config that leaves out all options in which others differ from it."""


@dataclass(frozen=True)
class CurveDifference:
    """How two curves differ: the first step whose values differ in any bit, both values, the largest difference.

    ``step`` is None if the values are equal at all common steps; ``only`` counts the steps that one run has alone.
    """

    name: str
    step: int | None
    values: tuple[float, float] | None
    greatest: float
    only: tuple[int, int]


@dataclass(frozen=True)
class RunDifference:
    """The differences between two runs, by dotted key or by name."""

    config: dict[str, Pair]
    environment: dict[str, Pair]
    summary: dict[str, Pair]
    curves: list[CurveDifference]
    params: dict[str, float | None]

    @property
    def same_results(self) -> bool:
        """Whether summaries, curves and parameters are bit-identical."""
        return not (self.summary or self.curves or self.params)

    @property
    def identical(self) -> bool:
        """Whether results and configs are identical; environments may differ."""
        return self.same_results and not self.config


def run_difference(a: Store, b: Store, runs: tuple[int, int] = (0, 0)) -> RunDifference:
    """Compare two runs, given by their numbers in their stores; StoreError if a store is damaged."""
    one, other = a.run(runs[0]), b.run(runs[1])
    outcomes = [
        {"status": str(each.status), "reason": each.reason, "steps": each.steps, **each.summary}
        for each in (one, other)
    ]
    environments = [
        (store.environments() or [{}])[-1] | _identity(identity_of(store, run))
        for store, run in ((a, one), (b, other))
    ]
    return RunDifference(
        config=differences(flatten(one.config), flatten(other.config)),
        environment=differences(flatten(environments[0]), flatten(environments[1])),
        summary=differences(outcomes[0], outcomes[1]),
        curves=[
            *_curves(a.curves(runs[0]), b.curves(runs[1]), ""),
            *_curves(a.evaluations(runs[0]), b.evaluations(runs[1]), "evaluation "),
        ],
        params=_params(a.params(runs[0]), b.params(runs[1])),
    )


def _identity(known: Identity) -> dict[str, Any]:
    data = {"data": known.fingerprint} if known.fingerprint else {}
    return data | (
        {"code": {name: source.sha256 for name, source in known.code.items()}} if known.code else {}
    )


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Flatten nested mappings and lists into one mapping with dotted keys; lists of scalars are kept as values."""
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        items = {str(index): item for index, item in enumerate(value)}.items()
    else:
        return {path: value}
    return {
        dotted: leaf
        for key, inner in items
        for dotted, leaf in flatten(inner, f"{path}.{key}" if path else str(key)).items()
    }


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    """Return the pairs of values that differ, by key; a missing value is ABSENT."""
    keys = dict.fromkeys([*a, *b])
    return {
        key: (a.get(key, ABSENT), b.get(key, ABSENT))
        for key in keys
        if a.get(key, ABSENT) != b.get(key, ABSENT)
    }


def differing_labels(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a label for each config: the values in which the configs differ, such as ``lr=0.01``.

    One that has none of the keys in which they differ is DEFAULT; equal configs are called by their names.
    """
    flats = [flatten(_with_texts(config)) for config in configs]
    keys = dict.fromkeys(key for each in flats for key in each)
    differing = [
        key
        for key in keys
        if key != "name" and any(each.get(key, ABSENT) != flats[0].get(key, ABSENT) for each in flats)
    ]
    texts = {key: _texts([each.get(key, ABSENT) for each in flats]) for key in differing}
    labels = [_label(each, differing, texts) for each in flats]
    if not differing:
        return [str(each.get("name", "run")) for each in flats]
    return [label or DEFAULT for label in labels]


def _with_texts(value: Any, key: str = "") -> Any:
    """Return a config with its lists of transforms as texts."""
    kind = key.rpartition(".")[2]
    if isinstance(value, list) and kind in TRANSFORMS:
        return list_text(value, kind)
    return (
        {each: _with_texts(of, each) for each, of in value.items()} if isinstance(value, Mapping) else value
    )


def _texts(values: Sequence[Any]) -> dict[float, str]:
    """Return the floats among the values as texts, with enough digits to be distinct."""
    floats = list(dict.fromkeys(value for value in values if isinstance(value, float)))
    return dict(zip(floats, told_apart(floats, 6), strict=True))


def _label(
    config: Mapping[str, Any], differing: Sequence[str], texts: Mapping[str, Mapping[float, str]]
) -> str:
    words = []
    for key in differing:
        parent, _, last = key.rpartition(".")
        value = config.get(key, ABSENT)
        if value is ABSENT:
            continue
        part = parent if last == "name" else key
        named = isinstance(value, str) and part in ("optimizer", "problem", "scheduler", "average")
        text = texts[key][value] if isinstance(value, float) else _brief(value)
        words.append(value if named else f"{last}={text}")
    return ", ".join(words)


def _brief(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _curves(a: Mapping[str, Array], b: Mapping[str, Array], prefix: str) -> list[CurveDifference]:
    steps_a, steps_b = (each.get("step", np.zeros(0, np.int64)) for each in (a, b))
    _, rows_a, rows_b = np.intersect1d(steps_a, steps_b, assume_unique=True, return_indices=True)
    found = []
    for name in dict.fromkeys([*a, *b]):
        if name == "step":
            continue
        if name not in a or name not in b:
            only = (len(a.get(name, ())), len(b.get(name, ())))
            found.append(CurveDifference(prefix + name, None, None, 0.0, only))
            continue
        own, others = a[name][rows_a], b[name][rows_b]
        apart = np.flatnonzero(own.view(np.int64) != others.view(np.int64))
        only = (len(steps_a) - len(rows_a), len(steps_b) - len(rows_b))
        if apart.size:
            first = apart[0]
            with np.errstate(invalid="ignore", over="ignore"):
                greatest = float(
                    np.max(np.nan_to_num(np.abs(own - others), nan=np.inf, posinf=np.inf)[apart])
                )
            values = (float(own[first]), float(others[first]))
            found.append(CurveDifference(prefix + name, int(steps_a[rows_a[first]]), values, greatest, only))
        elif any(only):
            found.append(CurveDifference(prefix + name, None, None, 0.0, only))
    return found


def _params(a: Mapping[str, Array], b: Mapping[str, Array]) -> dict[str, float | None]:
    """Return the largest difference of each parameter that differs; None if one run lacks it or its shape differs."""
    gaps: dict[str, float | None] = {}
    for name in dict.fromkeys([*a, *b]):
        one, other = a.get(name), b.get(name)
        if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
            gaps[name] = None
        elif one.tobytes() != other.tobytes():
            with np.errstate(invalid="ignore", over="ignore"):
                gaps[name] = float(np.max(np.abs(one.astype(np.float64) - other)))
    return gaps
