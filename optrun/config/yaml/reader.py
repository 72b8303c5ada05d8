"""YAML text → a tree of values with their places, by the core schema of YAML 1.2.

PyYAML only parses here; what it would construct is never asked for. The events are taken one by one, so that
nesting, aliases and sizes are limited before anything is built, and reading goes on after most errors.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import yaml

from optrun.checks.scalars import Scalar, resolve, with_point
from optrun.config.yaml.errors import ConfigErrors, Issue, Place
from optrun.config.yaml.tree import MAX_DEPTH, MAX_NODES, Document, Path, YamlNode
from optrun.errors import ConfigError

MAX_BYTES = 2**20
MAX_KEY = 200
MAX_ISSUES = 100

TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE = "tag:yaml.org,2002:"
_TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
}
# What YAML allows, the other way round, compiles twenty times slower: at every start.
_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_LINE_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
_IN_WORDS = {
    "mapping values are not allowed in this context": "a second ': ' on a line, or a key that is indented "
    "differently from the keys above it; text that contains ': ' needs quotes",
    "found character that cannot start any token": "a value cannot start with this character; quote it",
    "did not find expected ',' or ']'": "a comma or ']' is missing",
    "did not find expected ',' or '}'": "a comma or '}' is missing",
    "did not find expected '-' indicator": "a list item that starts with '- ' is expected here",
    "did not find expected node content": "a value is expected here",
    "did not find expected key": "a key is expected here; is the indentation that of the keys above?",
    "could not find expected ':'": "a key without ': ' after it",
    "found unexpected end of stream": "a quote is not closed",
    "did not find expected <document start>": "nothing may follow the config here",
    # PyYAML 6.0.4 has a limit of its own, which flow collections reach before ours.
    "exceeded maximum nesting depth": TOO_DEEP,
}


def decode(raw: bytes, source: str) -> str:
    """Return the text of a file, or raise ConfigErrors where it is not UTF-8 text of a sane size."""
    place = Place(source, 1, 1)
    if len(raw) > MAX_BYTES:
        raise ConfigErrors([Issue.at(place, (), "larger than 1 MiB: is this a config?")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _place_of(source, raw[: error.start].decode("utf-8"))
        raise ConfigErrors(
            [Issue.at(place, (), f"byte 0x{raw[error.start]:02x} is not UTF-8 text")]
        ) from None


def read(text: str, source: str) -> "Document":
    """Return a YAML document, with the issues that leave the rest of it readable.

    Raises ConfigErrors where the rest cannot be read.
    """
    return _Reader(source).read(text)


@dataclass
class _Open:
    """A mapping or a list whose end is still to come."""

    place: Place
    anchor: str | None
    children: dict[str, YamlNode] | list[YamlNode]
    size: int = 1
    key: str | None = None
    key_place: Place | None = None
    keep: bool = True
    """Whether the value of the current key is wanted: a second value of a key is read and dropped."""


@dataclass
class _Reader:
    source: str
    issues: list[Issue] = field(default_factory=list)
    spoiled: set[Path] = field(default_factory=set)
    open: list[_Open] = field(default_factory=list)
    anchors: dict[str, YamlNode] = field(default_factory=dict)
    root: YamlNode | None = None
    last: Any = None
    """The scalar before."""

    def read(self, text: str) -> Document:
        if bad := _UNREADABLE.search(text):
            place = _place_of(self.source, text[: bad.start()])
            self._stop(
                place, f"the character U+{ord(bad[0]):04X} is not allowed in YAML: is this a text file?"
            )
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                self._take(event)
        except yaml.MarkedYAMLError as error:
            self._stop(*self._explained(error, text), path=())
        if self.root is None:
            self._stop(Place(self.source, 1, 1), "the config is empty")
        return Document(self.root, self.issues, self.spoiled)

    def _take(self, event: Any) -> None:
        place = Place(self.source, event.start_mark.line + 1, event.start_mark.column + 1)
        match event:
            case yaml.ScalarEvent():
                self._scalar(event, place)
            case yaml.AliasEvent():
                self._alias(event.anchor, place)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._begin(event, place)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                done = self.open.pop()
                self._add(YamlNode(done.children, done.place, size=done.size), done.anchor)
            case yaml.DocumentStartEvent() if self.root is not None:
                self._stop(place, "a second document: a config is one document, without '---' inside")

    def _begin(self, event: Any, place: Place) -> None:
        if len(self.open) == MAX_DEPTH:
            self._stop(place, TOO_DEEP, path=())
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        expected = _CORE + ("map" if is_mapping else "seq")
        if event.tag not in (None, expected):
            self._issue(place, _bad_tag(event.tag))
        self.open.append(_Open(place, event.anchor, {} if is_mapping else []))

    def _alias(self, anchor: Any, place: Place) -> None:
        if anchor not in self.anchors:
            self._issue(place, f"nothing before this is marked &{anchor}, so *{anchor} stands for nothing")
        self._add(self.anchors.get(anchor, YamlNode(None, place)), None)

    def _scalar(self, event: Any, place: Place) -> None:
        is_key = self._expects_key()
        value: Scalar = event.value
        try:
            if event.tag is not None:
                value = _tagged(event.tag, event.value)
            elif event.implicit[0]:
                value = resolve(event.value)
        except ConfigError as error:
            self._issue(place, str(error))
            value = None if not is_key else event.value
        if "\0" in event.value:
            self._issue(place, "no text holds the character U+0000")
        if is_key and event.value == "<<" and event.implicit[0]:
            self._issue(place, "merge keys (<<) are not part of YAML 1.2: write the keys out", "<<")
        elif is_key and not isinstance(value, str):
            self._issue(place, self._no_key(event), event.value)
        elif is_key and len(event.value) > MAX_KEY:
            self._stop(place, f"a key of {len(event.value):,} characters")
        self._add(YamlNode(event.value if is_key else value, place), event.anchor)
        self.last = event

    def _no_key(self, event: Any) -> str:
        """Return what is wrong with a key that is no string; `{lr: 0,01}` has one, 01."""
        written = f"{self.last.value if self.last else ''},{event.value}"
        if self.last and _is_next(self.last.end_mark, event.start_mark) and (number := with_point(written)):
            return f"{written} is a value and a key here: a number has a decimal point, {number}"
        return f"a key must be a string: write '{event.value}' in quotes"

    def _expects_key(self) -> bool:
        return bool(self.open) and isinstance(self.open[-1].children, dict) and self.open[-1].key is None

    def _add(self, node: YamlNode, anchor: str | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = node
        if not self.open:
            self.root = node
        elif self._expects_key():
            self._add_key(node)
        else:
            self._add_value(node)

    def _add_key(self, node: YamlNode) -> None:
        parent = self.open[-1]
        assert isinstance(parent.children, dict)
        parent.key = node.value if isinstance(node.value, str) else "?"
        parent.key_place = node.place
        parent.keep = isinstance(node.value, str) and parent.key not in parent.children
        if not isinstance(node.value, str):
            self._issue(node.place, "a key must be a string")
        elif not parent.keep:
            first = parent.children[parent.key].key
            assert first is not None
            self._note(node.place, self._path(), f"duplicate key (first at line {first.line})")

    def _add_value(self, node: YamlNode) -> None:
        parent = self.open[-1]
        parent.size += node.size
        if parent.size > MAX_NODES:
            self._stop(node.place, f"more than {MAX_NODES:,} values, aliases expanded")
        if isinstance(parent.children, list):
            parent.children.append(node)
        else:
            assert parent.key is not None
            if parent.keep:
                parent.children[parent.key] = replace(node, key=parent.key_place)
            parent.key = None

    def _path(self) -> Path:
        steps = (len(each.children) if isinstance(each.children, list) else each.key for each in self.open)
        return tuple(step for step in steps if step is not None)

    def _issue(self, place: Place, message: str, key: str | None = None) -> None:
        path = self._path() if key is None else (*self._path(), key)
        self._note(place, path, message)
        self.spoiled.add(path)

    def _note(self, place: Place, path: Path, message: str) -> None:
        if len(self.issues) == MAX_ISSUES:
            self._stop(place, f"more than {MAX_ISSUES} mistakes: the rest is not read", path=())
        self.issues.append(Issue.at(place, path, message))

    def _stop(self, place: Place, message: str, path: Path | None = None) -> NoReturn:
        issue = Issue.at(place, self._path() if path is None else path, message)
        raise ConfigErrors([*self.issues, issue]) from None

    def _explained(self, error: yaml.MarkedYAMLError, text: str) -> tuple[Place, str]:
        mark = error.problem_mark or error.context_mark
        assert mark is not None
        place = Place(self.source, mark.line + 1, mark.column + 1)
        problem = error.problem or "this is not YAML"
        if text[mark.index : mark.index + 1] == "\t":
            return place, "a tab cannot indent YAML: use spaces"
        started = error.context_mark.line if error.context_mark else mark.line
        since = f" (it starts at line {started + 1})" if started != mark.line else ""
        return place, _IN_WORDS.get(problem, problem) + since


def _is_next(end: Any, start: Any) -> bool:
    """Whether one character of the same line lies between two marks."""
    return bool(end.line == start.line and end.column + 1 == start.column)


def _tagged(tag: str, text: str) -> Scalar:
    if tag == _CORE + "str":
        return text
    name = tag.removeprefix(_CORE)
    if not tag.startswith(_CORE) or name not in _TYPES:
        raise ConfigError(_bad_tag(tag))
    value = resolve(text)
    if not isinstance(value, _TYPES[name]) or (isinstance(value, bool) and name != "bool"):
        raise ConfigError(f"{text!r} is no {name}")
    return float(value) if name == "float" and isinstance(value, int) else value


def _bad_tag(tag: str) -> str:
    return f"the tag {tag.replace(_CORE, '!!')} means nothing in a config: remove it"


def _place_of(source: str, before: str) -> Place:
    lines = _LINE_BREAK.split(before)
    return Place(source, len(lines), len(lines[-1]) + 1)
