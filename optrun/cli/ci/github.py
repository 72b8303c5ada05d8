"""GitHub Actions: annotations in pull requests, and job summaries."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from optrun.cli.ci.case import Case
from optrun.config.yaml.errors import Issue
from optrun.errors import printable

MOST = 10
"""The most annotations that GitHub shows per step."""

MARKS = {None: "✅", "failure": "❌", "error": "❌", "skipped": "➖"}


def in_actions() -> bool:
    """Whether this process runs in GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS", "").lower() not in ("", "0", "false")


def annotate(issues: Sequence[Issue]) -> None:
    """Print an annotation for each issue; those beyond MOST share one."""
    shown = issues if len(issues) <= MOST else issues[: MOST - 1]
    for issue in shown:
        properties = {"title": f"optrun: {issue.path}" if issue.path else "optrun"}
        if issue.line:
            place = {"file": _file(issue.file), "line": str(issue.line), "col": str(issue.column)}
            _print(place | properties, issue.message)
        else:
            _print(properties, str(issue))
    if len(shown) < len(issues):
        _print({"title": "optrun"}, f"and {len(issues) - len(shown)} more: see the log of this step")


def summarise(command: str, cases: Sequence[Case]) -> None:
    """Append a table of the cases, and their messages, to the job summary."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    lines = [f"### {command}", "", "| | case | outcome | metrics | seconds |", "|---|---|---|---|---:|"]
    for case in cases:
        metrics = ", ".join(f"{name} {value}" for name, value in case.metrics.items())
        cells = (MARKS[case.problem], *map(_cell, (case.name, case.outcome, metrics)), f"{case.seconds:.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    problems = [message for case in cases for message in case.messages]
    lines += ["", *(f"- {_cell(problem)}" for problem in problems), ""]
    with open(path, "a", encoding="utf-8", errors="replace") as summary:
        summary.write("\n".join(lines) + "\n")


def _print(properties: dict[str, str], message: str) -> None:
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    print(f"::error {written}::{_data(message)}", file=sys.stderr)


def _data(text: str) -> str:
    return printable(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _file(path: str) -> str:
    """Return a path relative to the root of the repository, as GitHub expects it, if it is inside."""
    root = os.environ.get("GITHUB_WORKSPACE")
    whole = Path(os.path.abspath(path))
    return whole.relative_to(root).as_posix() if root and whole.is_relative_to(root) else path


def _cell(text: str) -> str:
    """Escape a text for Markdown."""
    for special in "\\`*_{}[]<>#|~&$":
        text = text.replace(special, f"\\{special}")
    return printable(" ".join(text.split()))
