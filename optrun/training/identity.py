"""What the results of a run depend on beside its config: data, code, and what of a machine changes bits."""

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from optrun.config import RunConfig
from optrun.config.identity import classes_of
from optrun.errors import ChangedError, OptrunWarning, StoreError
from optrun.registry import PathOrName
from optrun.sources import Source, source_of
from optrun.store import Checkpoint, Store
from optrun.store.fingerprint import machine_changes
from optrun.training.pack import Pack

DATA = "data"
"""The event that tells the fingerprints of the data on which runs are, or are in addition."""

CODE = "code"
"""The event that tells the sources of the classes of which runs are made, or are in addition."""

ACCEPTED = "accepted"
"""The event that tells with which other data or code a run went on."""

MACHINE = "machine"
"""The event that tells on which other machine a run went on."""

KINDS = (DATA, CODE)
"""Events in which an identity is kept."""


@dataclass(frozen=True)
class Identity:
    """Fingerprints of data by their `data_key`, and sources by the classes that they are of."""

    data: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, Source] = field(default_factory=dict)

    @classmethod
    def of(cls, config: RunConfig, fingerprint: str | None) -> "Identity":
        """Return the identity of a config whose problem has this fingerprint."""
        data = {data_key(config.to_dict()): fingerprint} if fingerprint else {}
        return cls(data, code_of(config))

    @property
    def fingerprint(self) -> str | None:
        """The one of the data, where they are those of one config; None where there is none."""
        return next(iter(self.data.values()), None)

    def __or__(self, other: "Identity") -> "Identity":
        return Identity({**self.data, **other.data}, {**self.code, **other.code})

    def events(self) -> dict[str, dict[str, Any]]:
        """Return it as events of a store."""
        sources = {name: source._asdict() for name, source in self.code.items()}
        return ({DATA: {"fingerprints": dict(self.data)}} if self.data else {}) | (
            {CODE: {"sources": sources}} if sources else {}
        )

    def check(self, pack: Pack) -> None:
        """Raise ChangedError where a pack has been built of other data or code: where results are made."""
        built = Identity.of(pack.configs[0], pack.problem.fingerprint)
        changed = list(changes(self, built))
        if changed:
            raise ChangedError(_sentence(changed, "sweep", "name another directory with -o"))


@dataclass(frozen=True)
class Change:
    """What has changed, and its digests."""

    what: str
    before: str
    after: str


def code_of(config: RunConfig) -> dict[str, Source]:
    """Return the sources of the classes of a config that are not optrun's own."""
    found = {name: source_of(cls) for name, cls in classes_of(config).items()}
    return {name: source for name, source in found.items() if source is not None}


def data_key(document: Mapping[str, Any]) -> str:
    """Return what decides which data a run has."""
    return json.dumps([document.get(name) for name in ("problem", "dtype", "backend")], sort_keys=True)


def known(store: Store) -> Identity:
    """Return what a store tells of data and code; nothing of one that an older optrun wrote."""
    data: dict[str, str] = {}
    code: dict[str, Source] = {}
    try:
        for event in store.events(DATA):
            data |= {str(key): _text(digest) for key, digest in event.details["fingerprints"].items()}
        for event in store.events(CODE):
            code |= {
                str(name): Source(_text(of["file"]), _text(of["sha256"]))
                for name, of in event.details["sources"].items()
            }
    except (KeyError, TypeError, AttributeError):
        raise StoreError(f"{store.path}: what is noted of the data and the code is damaged") from None
    return Identity(data, code)


def known_of(store: Store, config: Mapping[str, Any]) -> Identity:
    """Return what a store tells of the data and the code of the run of this config."""
    found, names = known(store), set(_names(config))
    data = {key: of for key, of in found.data.items() if key == data_key(config)}
    return Identity(
        data or dict(list(found.data.items())[:1] if store.size == 1 else ()),
        {name: source for name, source in found.code.items() if name.partition(" ")[2] in names},
    )


def _names(value: Any) -> Iterator[str]:
    """Yield what is under a ``name`` within a config."""
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
    """Yield what differs; of what either does not know, nothing does."""
    elsewhere: dict[str, set[str]] = {}
    for key, fingerprint in before.data.items():
        elsewhere.setdefault(_anywhere(key), set()).add(fingerprint)
    for key, fingerprint in after.data.items():
        # A project that was moved has its data under another path.
        old = {before.data[key]} if key in before.data else elsewhere.get(_anywhere(key), {fingerprint})
        if fingerprint not in old:
            yield Change(f"the data of {_what(key)}", min(old), fingerprint)
    for name, source in after.code.items():
        was = before.code.get(name, source)
        if was.sha256 != source.sha256:
            yield Change(f"the code of {name} ({source.file})", was.sha256, source.sha256)


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
    """Return a `data_key` without the directories of its paths."""
    plain = {
        name: os.path.basename(value) if isinstance(value, str) and PathOrName.is_path(value) else value
        for name, value in _problem(key).items()
    }
    return json.dumps([plain, *_parts(key)[1:]], sort_keys=True)


def _what(key: str) -> str:
    problem = _problem(key)
    return " ".join(each for name in ("name", "data") if isinstance(each := problem.get(name), str))


def checked(store: Store, now: Identity, whole: str, instead: str, *, accept: bool) -> dict[str, Any]:
    """Return the events with which a store notes an identity: nothing where all of it is known.

    Raises ChangedError where data or code are others than those with which the ``whole`` began, unless that is
    accepted.
    """
    before = known(store)
    changed = list(changes(before, now))
    if changed and not accept:
        raise ChangedError(f"{store.path}: {_sentence(changed, whole, instead)}")
    new = Identity(
        {key: value for key, value in now.data.items() if before.data.get(key) != value},
        {name: source for name, source in now.code.items() if before.code.get(name) != source},
    )
    accepted = {ACCEPTED: {"changes": [vars(each) for each in changed]}} if changed else {}
    return new.events() | accepted


def _sentence(changed: list[Change], whole: str, instead: str) -> str:
    what = " and ".join(dict.fromkeys(each.what for each in changed))
    is_one = len(changed) == 1 and changed[0].what.startswith("the code")
    have, old = ("has", "old one") if is_one else ("have", "old ones")
    return (
        f"{what} {have} changed since the {whole} began: bring the {old} back, {instead}, "
        "or go on with --accept-changes"
    )


def note_machine(store: Store) -> dict[str, Any]:
    """Warn where this machine may give other bits than the one before; return the event that tells so."""
    *_, before, here = [{}, *store.environments()]
    changed = machine_changes(before, here)
    if not changed:
        return {}
    warnings.warn(machine_sentence(changed), OptrunWarning, stacklevel=3)
    return {MACHINE: {"changes": {name: list(pair) for name, pair in changed.items()}}}


def machine_sentence(changed: Mapping[str, tuple[str, str]]) -> str:
    """Return what is said of another machine."""
    what = "; ".join(f"{name} {after}, was {before}" for name, (before, after) in changed.items())
    return f"the last bits may differ from here on: {what}"


def on_data(checkpoint: Checkpoint, fingerprint: str | None) -> Checkpoint:
    """Return a checkpoint whose data have been compared, or accepted, as one of these data."""
    pack = checkpoint.meta.get("pack")
    if fingerprint is None or not isinstance(pack, dict):
        return checkpoint
    return Checkpoint(checkpoint.arrays, {**checkpoint.meta, "pack": {**pack, "problem": fingerprint}})
