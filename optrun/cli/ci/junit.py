"""JUnit XML reports, which CI servers read."""

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from optrun.cli.ci.case import Case
from optrun.errors import ConfigError

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def check_writable(path: Path, inputs: Sequence[Path] = ()) -> None:
    """Create the directory of a report; ConfigError if the report cannot be written or would overwrite another file."""
    if os.path.realpath(path) in map(os.path.realpath, inputs):
        raise ConfigError(f"--junit: {path}: the report would replace this input")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
        start = path.read_bytes()[:5] if path.is_file() else b""
    except OSError as error:
        raise ConfigError(f"--junit: {path}: {(error.strerror or str(error)).lower()}") from error
    if start not in (b"", b"<?xml"):
        raise ConfigError(f"--junit: {path}: the file exists and is not a report")


def write(path: Path, suite: str, cases: Sequence[Case]) -> None:
    """Write the cases as one test suite."""
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.problem == "failure" for case in cases)),
        "errors": str(sum(case.problem == "error" for case in cases)),
        "skipped": str(sum(case.problem == "skipped" for case in cases)),
        "time": f"{sum(case.seconds for case in cases):.3f}",
    }
    root = ElementTree.Element("testsuites", counts)
    element = ElementTree.SubElement(root, "testsuite", {"name": suite, **counts})
    for case in cases:
        _add(element, case)
    ElementTree.indent(root)
    path.write_bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def _add(suite: ElementTree.Element, case: Case) -> None:
    names = {"classname": _text(case.group), "name": _text(case.name), "time": f"{case.seconds:.3f}"}
    element = ElementTree.SubElement(suite, "testcase", names)
    if case.problem:
        first = case.messages[0] if case.messages else case.outcome
        about = {"type": case.outcome, "message": _text(first)}
        ElementTree.SubElement(element, case.problem, about).text = _text("\n".join(case.messages))
    if case.metrics:
        lines = (f"{name} {value}" for name, value in case.metrics.items())
        ElementTree.SubElement(element, "system-out").text = _text("\n".join(lines))


def _text(text: str) -> str:
    return _NO_XML.sub("?", text)
