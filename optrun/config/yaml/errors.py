"""What is wrong with a config: every issue of it at once, each with its place."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from optrun.errors import ConfigError, printable


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written: in a file (line and column, from 1) or in an override or mapping (neither)."""

    source: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing to mend, with its place and its path in the config, such as ``scheduler.milestones.1``."""

    file: str
    line: int | None
    column: int | None
    path: str
    message: str

    @classmethod
    def at(cls, place: Place, path: Sequence[str | int], message: str) -> "Issue":
        """Return the issue at a place."""
        return cls(place.source, place.line, place.column, ".".join(map(str, path)), message)

    def __str__(self) -> str:
        place = Place(self.file, self.line, self.column)
        # Only indented lines, such as those of a list, remain lines.
        message = [" ".join(part.splitlines()) for part in self.message.split("\n  ")]
        lines = [": ".join(part for part in (str(place), self.path, message[0]) if part), *message[1:]]
        return "\n  ".join(map(printable, lines))


def in_order(issues: Sequence[Issue], first: str) -> list[Issue]:
    """Return the issues as they stand: file by file, `first` before the others, and overrides at the end."""
    return sorted(
        issues,
        key=lambda issue: (
            issue.line is None,
            issue.line is not None and (issue.file != first, issue.file, issue.line, issue.column or 0),
        ),
    )


def condensed(issues: Sequence[Issue], *, more: bool = False) -> list[Issue]:
    """Return issues that differ in the value alone, such as ``(got -1)``, as one that counts the others.

    ``more`` is whether there may be others that nobody has looked at.
    """
    alike: dict[tuple[Any, ...], list[Issue]] = {}
    for issue in issues:
        said = re.sub(r"\(got .*\)", "", issue.message)
        alike.setdefault((issue.file, issue.line, issue.column, issue.path, said), []).append(issue)
    return [
        replace(first, message=f"{first.message} … and {'at least ' * more}{_others(len(rest))}")
        if rest
        else first
        for first, *rest in alike.values()
    ]


def _others(count: int) -> str:
    return f"{count:,} other value{'s' * (count != 1)}"


class ConfigErrors(ConfigError):
    """Everything that is wrong with a config, one line per issue."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        super().__init__("\n".join(map(str, issues)), field=issues[0].path)
        self.issues = list(issues)

    def __reduce__(self) -> tuple[type["ConfigErrors"], tuple[list[Issue]]]:
        return ConfigErrors, (self.issues,)
