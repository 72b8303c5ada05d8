"""What the tests would miss: `python -m tests.mutants --seed 0 --count 300` changes a line at a time and runs tests.

    --trace         first run all tests, and keep which lines each executes: once, again after a change (needs coverage)
    --base REV      on what these tests miss, run those of a revision, too

Each mutant is a line of optrun, in a copy of the tree: an operator, a constant or a branch is another one, or a
statement is gone. Only tests that execute it are run, the fastest first, then those of its file and of its folder,
for SECONDS in all. What none of them fails is printed with the line: a test is missing, or the line says nothing.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.mutations import ROOT, Mutant, drawn

TRACED = ROOT / ".pytest_cache" / "traced.json"
SECONDS = 15.0
FEW = 30
LOADED = ["jsonschema", "numba", "numpy", "pydantic", "rich", "scipy", "torch", "typer", "yaml"]
LIMIT = 240


class Tracer:
    """A plugin of pytest that keeps which lines each test executes, how long it takes, and whether it passes."""

    def __init__(self) -> None:
        import coverage

        self.coverage = coverage.Coverage(data_file=None, include=["*/optrun/*"], config_file=False)
        self.coverage.start()
        self.tests: dict[str, float] = {}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverage.switch_context(nodeid)
        self.began = time.process_time() + sum(os.times()[2:4])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.tests[report.nodeid] = time.process_time() + sum(os.times()[2:4]) - self.began

    def write(self) -> None:
        self.coverage.stop()
        data, lines = self.coverage.get_data(), {}
        for file in data.measured_files():
            name = str(Path(file).relative_to(ROOT))
            lines[name] = {line: of for line, of in data.contexts_by_lineno(file).items() if any(of)}
        TRACED.parent.mkdir(exist_ok=True)
        TRACED.write_text(json.dumps({"tests": self.tests, "lines": lines}))


def chosen(mutant: Mutant, traced: dict[str, Any]) -> list[str]:
    """Return the tests for a mutant, as many as last SECONDS."""
    seconds, lines = traced["tests"], traced["lines"].get(mutant.file, {})
    near = lines.get(str(mutant.line), [])
    of_file = {test for of in lines.values() for test in of}
    beside = [test for test in seconds if test.startswith(f"tests/{Path(mutant.file).parts[1]}/")]
    found, total = [], 0.0
    for some in (near, of_file, beside):
        for test in sorted(some, key=lambda each: seconds.get(each, 0.0)):
            if test in seconds and test not in found and total + seconds[test] <= SECONDS:
                found.append(test)
                total += seconds[test]
    return found


def fails(tests: list[str], tree: Path, mutant: Mutant | None = None) -> bool:
    """Return whether a test fails in a tree with a mutant; the fastest few are asked before the others are loaded."""
    if not tests:
        return False
    if mutant is None:
        return not passes(tests, tree)
    target = tree / mutant.file
    source = target.read_text(encoding="utf-8")
    target.write_text(mutant.applied(source), encoding="utf-8")
    for cached in (target.parent / "__pycache__").glob(f"{target.stem}.*.pyc"):
        cached.unlink()
    try:
        return not all(passes(some, tree) for some in (tests[:FEW], tests[FEW:]) if some)
    finally:
        target.write_text(source, encoding="utf-8")


def passes(tests: list[str], tree: Path) -> bool:
    """Return whether tests pass in time, in a process that has imported what they import, but nothing of the tree."""
    child = os.fork()
    if not child:
        os.setsid()
        os.chdir(tree)
        quiet = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(quiet, number)
        sys.path.insert(0, str(tree))
        for name in [each for each in sys.modules if each.partition(".")[0] == "tests"]:
            del sys.modules[name]
        sys.dont_write_bytecode = True
        os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
        code = 1
        try:
            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
        finally:
            os._exit(code)
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        done, raw = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(raw) == 0
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def copy_of(folder: str, revision: str | None) -> Path:
    """Return a copy of the tree, with the tests of a revision."""
    tree = Path(folder, revision or "now")
    ignored = shutil.ignore_patterns(".*", "runs", "__pycache__")
    shutil.copytree(ROOT, tree, ignore=ignored)
    if revision:
        shutil.rmtree(tree / "tests")
        archive = subprocess.run(
            ["git", "archive", revision, "tests"], cwd=ROOT, check=True, capture_output=True
        )
        subprocess.run(["tar", "x"], cwd=tree, input=archive.stdout, check=True)
    subprocess.run([sys.executable, "-m", "compileall", "-q", "optrun", "tests"], cwd=tree, check=True)
    return tree


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--trace", nargs="*", metavar="TESTS")
    parser.add_argument("--base")
    given = parser.parse_args()
    if given.trace is not None:
        tracer = Tracer()
        pytest.main(["-q", "-p", "no:cacheprovider", "--full", *given.trace], plugins=[tracer])
        tracer.write()
        return
    traced = json.loads(TRACED.read_text())
    for name in filter(find_spec, LOADED):
        import_module(name)
    missed: list[Mutant] = []
    with tempfile.TemporaryDirectory() as folder:
        now = copy_of(folder, None)
        base = copy_of(folder, given.base) if given.base else None
        by_base = 0
        for mutant in drawn(given.seed, 3):
            assert not fails(chosen(mutant, traced), now), "tests fail without a mutant: --trace first"
        for mutant in drawn(given.seed, given.count):
            tests = chosen(mutant, traced)
            if fails(tests, now, mutant):
                continue
            missed.append(mutant)
            files = sorted({each.partition("::")[0] for each in tests})
            is_base_sharper = base is not None and fails(files, base, mutant) and not fails(files, base)
            by_base += is_base_sharper
            line = (ROOT / mutant.file).read_text(encoding="utf-8").splitlines()[mutant.line - 1].strip()
            print(
                f"{mutant.file}:{mutant.line}: {line} → {mutant.text}" + is_base_sharper * " (base: killed)",
                flush=True,
            )
    print(
        f"{given.count - len(missed)} killed, {len(missed)} survived"
        + f", {by_base} of them killed by {given.base}" * bool(base)
    )


if __name__ == "__main__":
    main()
