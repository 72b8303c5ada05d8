"""The preparations that a store keeps for prediction: each distinct one once, however many runs have it."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, get_args

import numpy as np

from optrun.errors import ConfigError, StoreError
from optrun.problems import Problem
from optrun.problems.data import Preparation
from optrun.problems.data.columns import Kind
from optrun.problems.data.treatments import Number, Treatment
from optrun.problems.data_problem import DataProblem
from optrun.registry import problems
from optrun.store import RunRecord, Store
from optrun.store.event_names import PREPARED
from optrun.training.identity import data_key
from optrun.training.memory_store import MemoryStore
from optrun.training.provenance import identity_of
from optrun.training.run_seed import follows_seed


class Prepared(NamedTuple):
    """The preparation of the runs whose data are the same."""

    key: str
    """What their configs have in common."""
    fingerprint: str
    """That of the data; empty for data that their name determines."""
    preparation: Preparation


def prepared(document: Mapping[str, Any], problem: Problem) -> list[Prepared]:
    """Return the preparation of a run with this config; nothing for a problem without data."""
    if not isinstance(problem, DataProblem):
        return []
    return [Prepared(_key(document), problem.fingerprint, problem.preparation)]


def keep_prepared(results: Store | MemoryStore, found: Iterable[Prepared]) -> None:
    """Keep preparations for prediction; those that a store has already are not written again."""
    if isinstance(results, MemoryStore):
        results.preparations |= {each.key: each.preparation for each in found}
        return
    if details := prepared_details(results, found):
        results.log(PREPARED, **details)


def prepared_details(store: Store, found: Iterable[Prepared]) -> dict[str, Any]:
    """Return the details of the event that keeps preparations which a store has not; empty if it has all."""
    known = [event.details for event in store.events(PREPARED)]
    runs = {run for details in known for run in _runs(details)}
    texts = {digest for details in known for digest in _mapping(details, "preparations")}
    new: dict[str, Any] = {"runs": {}, "preparations": {}}
    digests: dict[Preparation, tuple[str, Any]] = {}
    for each in found:
        if each.preparation not in digests:
            digests[each.preparation] = _digest(each.preparation)
        digest, plain = digests[each.preparation]
        run = _run_key(each.key, each.fingerprint)
        if (run, digest) not in runs:
            new["runs"][run] = digest
        if digest not in texts:
            new["preparations"][digest] = plain
    return new if new["runs"] else {}


def preparation_of(results: Store | MemoryStore, record: RunRecord) -> Preparation | None:
    """Return the preparation of a run; None if an older version ran it.

    Raises StoreError if it is damaged.
    """
    if isinstance(results, MemoryStore):
        return results.preparations.get(_key(record.config))
    try:
        run = _run_key(_key(record.config), identity_of(results, record).fingerprint or "")
        known = [event.details for event in results.events(PREPARED)]
        digests = [digest for details in known for of, digest in _runs(details) if of == run]
        if not digests:
            return None
        texts = {of: plain for details in known for of, plain in _mapping(details, "preparations").items()}
        found = Preparation.from_json(texts[digests[-1]])
        _check(found)
    except ConfigError as error:
        raise StoreError(f"{results.path}: {error}: update optrun") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise StoreError(f"{results.path}: what was kept for prediction is damaged") from None
    return found


def _key(document: Mapping[str, Any]) -> str:
    key = data_key(document)
    # Of a plugin that is not loaded it is not known.
    is_seeded = document["problem"]["name"] in problems and follows_seed(document["problem"])
    return f"{key} {document['seed']}" if is_seeded else key


def _run_key(key: str, fingerprint: str) -> str:
    return hashlib.sha256(f"{key} {fingerprint}".encode()).hexdigest()[:32]


def _digest(preparation: Preparation) -> tuple[str, Any]:
    plain = preparation.to_json()
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:32], plain


def _runs(details: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(run, str(digest)) for run, digest in _mapping(details, "runs").items()]


def _mapping(details: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = details.get(name)
    return found if isinstance(found, dict) else {}


_KINDS = get_args(Kind)


def _check(preparation: Preparation) -> None:
    """Raise ValueError unless the parts of a preparation that was read fit together."""
    shape, scaling, target = preparation.shape, preparation.scaling, preparation.target
    arrays = [] if scaling is None else [scaling.shift, scaling.scale, scaling.exponent]
    of_target = [] if target.scaling is None else [target.scaling.shift, target.scaling.scale]
    if not (
        shape
        and all(type(size) is int and size > 0 for size in shape)
        and (not preparation.columns or shape == (len(preparation.names),))
        and all(array.shape == shape and np.isfinite(array).all() for array in arrays)
        and all(array.shape == () and np.isfinite(array) for array in of_target)
        and all(scaling.scale.all() for scaling in (scaling, target.scaling) if scaling is not None)
        and all(map(_fits, preparation.columns))
        and preparation.decimal in (None, ".", ",")
        and isinstance(preparation.has_thousands, bool)
        and target.of in _KINDS
        and isinstance(target.name, str)
        and all(type(each) in (int, str) for each in target.classes)
        and len(set(target.classes)) == len(target.classes)
        and len(target.weights) in (0, len(target.classes))
        and all(isinstance(each, float | int) for each in target.weights)
    ):
        raise ValueError


def _fits(column: Treatment) -> bool:
    is_plain = isinstance(column.name, str) and isinstance(column.indicator, bool)
    if isinstance(column, Number):
        return is_plain and (column.fill is None or isinstance(column.fill, float | int))
    words = column.values
    return (
        is_plain
        and column.of in _KINDS
        and all(isinstance(each, str) for each in words)
        and (column.fill is None or column.fill in words)
    )
