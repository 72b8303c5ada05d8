"""What results depend on besides the config: the data, the code, and the machine."""

import json
import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from optrun.config import RunConfig
from optrun.config.identity import classes_of
from optrun.errors import ChangedError, OptrunWarning, StoreError
from optrun.registry import PathOrName
from optrun.sources import Source, source_of
from optrun.store import Checkpoint, Store
from optrun.store.event_names import CODE, DATA, MACHINE
from optrun.store.fingerprint import machine_changes
from optrun.training.pack import Pack


@dataclass(frozen=True)
class Identity:
    """Fingerprints of data by `data_key`, and sources of plugin classes by name."""

    data: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, Source] = field(default_factory=dict)

    @classmethod
    def of(cls, config: RunConfig, fingerprint: str | None) -> "Identity":
        """Return the identity of a config, given the fingerprint of its problem's data."""
        return cls.of_data([config.to_dict()], fingerprint or "") | cls({}, code_of(config))

    @classmethod
    def of_data(cls, documents: Iterable[Mapping[str, Any]], fingerprint: str) -> "Identity":
        """Return the identity of configs whose problems have the same data, given their fingerprint."""
        return cls({data_key(document): fingerprint for document in documents} if fingerprint else {})

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the data of one config, or of several that share them; None if there is none."""
        return next(iter(self.data.values()), None)

    def __or__(self, other: "Identity") -> "Identity":
        return Identity({**self.data, **other.data}, {**self.code, **other.code})

    @classmethod
    def from_details(cls, details: Mapping[str, Any]) -> "Identity":
        """Return the identity from `details`; KeyError, TypeError or AttributeError if these are damaged."""
        if not details.keys() & {"fingerprints", "sources"}:
            raise KeyError("fingerprints")
        data, code = details.get("fingerprints", {}), details.get("sources", {})
        sources = {name: Source(_text(of["file"]), _text(of["sha256"])) for name, of in code.items()}
        return cls({key: _text(digest) for key, digest in data.items()}, sources)

    def details(self) -> dict[str, Any]:
        """Return the details of an event."""
        sources = {name: source._asdict() for name, source in self.code.items()}
        data = {"fingerprints": dict(self.data)} if self.data else {}
        return data | ({"sources": sources} if sources else {})

    def events(self) -> dict[str, dict[str, Any]]:
        """Return the events to store, by kind."""
        data, code = Identity(self.data), Identity({}, self.code)
        return ({DATA: data.details()} if self.data else {}) | ({CODE: code.details()} if self.code else {})

    def part(self, config: Mapping[str, Any]) -> "Identity":
        """Return the part that concerns the run with this config."""
        key = data_key(config) if self.data else ""
        names = set(_names([part for name, part in config.items() if name != "name"])) if self.code else ()
        return Identity(
            {key: self.data[key]} if key in self.data else {},
            {name: source for name, source in self.code.items() if name.partition(" ")[2] in names},
        )

    def check(self, pack: Pack) -> None:
        """Raise ChangedError if a pack was built from other data or code, e.g. in a worker on another machine."""
        built = Identity.of(pack.configs[0], pack.problem.fingerprint)
        changed = list(changes(self, built))
        if changed:
            raise ChangedError(change_message(changed, "sweep", "name another directory with -o"))


@dataclass(frozen=True)
class Change:
    """One changed part, with its digests."""

    what: str
    before: str
    after: str


def code_of(config: RunConfig) -> dict[str, Source]:
    """Return the sources of the config's classes that are not part of optrun."""
    found = {name: source_of(cls) for name, cls in classes_of(config).items()}
    return {name: source for name, source in found.items() if source is not None}


def data_key(document: Mapping[str, Any]) -> str:
    """Return the key of a config's data: its problem, dtype and backend as JSON."""
    return json.dumps([document.get(name) for name in ("problem", "dtype", "backend")], sort_keys=True)


def identity_of_store(store: Store) -> Identity:
    """Return the identity recorded in a store; empty if an older version wrote it."""
    found = Identity()
    try:
        for event in (*store.events(DATA), *store.events(CODE)):
            found |= Identity.from_details(event.details)
    except (KeyError, TypeError, AttributeError):
        raise StoreError(f"{store.path}: the record of data and code is damaged") from None
    return found


def _names(value: Any) -> Iterator[str]:
    """Yield the values of all ``name`` keys within a part of a config."""
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        yield value["name"]
    below = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for each in below:
        yield from _names(each)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def changes(before: Identity, after: Identity) -> Iterator[Change]:
    """Yield the parts that differ; a part that either identity lacks does not count."""
    for key, olds in changed_data(before, after):
        yield Change(f"the data of {data_label(key)}", before.data[olds[0]], after.data[key])
    for name, source in after.code.items():
        was = before.code.get(name, source)
        if was.sha256 != source.sha256:
            yield Change(f"the code of {name} ({source.file})", was.sha256, source.sha256)


def changed_data(before: Identity, after: Identity) -> Iterator[tuple[str, list[str]]]:
    """Yield the key of each changed data set, with its keys before the change."""
    elsewhere: defaultdict[str, list[str]] = defaultdict(list)
    for key in before.data.keys() - after.data.keys():
        elsewhere[_anywhere(key)].append(key)
    for key, fingerprint in after.data.items():
        # The data of a moved project have another path.
        olds = [key] if key in before.data else sorted(elsewhere[_anywhere(key)])
        if olds and fingerprint not in (before.data[old] for old in olds):
            yield key, olds


def _parts(key: str) -> list[Any]:
    try:
        parts = json.loads(key)
    except ValueError:
        return []
    return parts if isinstance(parts, list) else []


def _problem(key: str) -> dict[str, Any]:
    problem, *_ = _parts(key) or [{}]
    return problem if isinstance(problem, dict) else {}


def _anywhere(key: str) -> str:
    """Return a `data_key` with paths reduced to file names."""
    plain = {
        name: os.path.basename(value) if isinstance(value, str) and PathOrName.is_path(value) else value
        for name, value in _problem(key).items()
    }
    return json.dumps([plain, *_parts(key)[1:]], sort_keys=True)


def data_label(key: str) -> str:
    """Return the problem and the file of a `data_key`, for messages."""
    problem = _problem(key)
    return " ".join(each for name in ("name", "data") if isinstance(each := problem.get(name), str))


def change_message(changed: list[Change], whole: str, instead: str) -> str:
    """Return the error message for changes that were not accepted."""
    what = " and ".join(dict.fromkeys(each.what for each in changed))
    is_one = len(changed) == 1 and changed[0].what.startswith("the code")
    have, old = ("has", "old one") if is_one else ("have", "old ones")
    return (
        f"{what} {have} changed since the {whole} began: restore the {old}, {instead}, "
        "or continue with --accept-changes"
    )


def note_machine_change(store: Store) -> dict[str, Any]:
    """Warn if this machine may give other bits than the previous one; return the event that records it."""
    *_, before, here = [{}, *store.environments()]
    changed = machine_changes(before, here)
    if not changed:
        return {}
    warnings.warn(machine_message(changed), OptrunWarning, stacklevel=3)
    return {MACHINE: {"changes": {name: list(pair) for name, pair in changed.items()}}}


def machine_message(changed: Mapping[str, tuple[str, str]]) -> str:
    """Return the warning for a change of machine."""
    what = "; ".join(f"{name} {after}, was {before}" for name, (before, after) in changed.items())
    return f"the last bits of results may differ from now on: {what}"


def with_fingerprint(checkpoint: Checkpoint, fingerprint: str | None) -> Checkpoint:
    """Return a checkpoint with the fingerprint of the data that were compared with, or accepted for, its own."""
    pack = checkpoint.meta.get("pack")
    if fingerprint is None or not isinstance(pack, dict):
        return checkpoint
    return Checkpoint(checkpoint.arrays, {**checkpoint.meta, "pack": {**pack, "problem": fingerprint}})
