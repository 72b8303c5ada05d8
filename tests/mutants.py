"""What the tests would miss: `python -m tests.mutants --seed 0 --count 300` changes a line at a time and runs tests.

    --trace         first run all tests, and keep which lines each executes: once, again after a change (needs coverage)
    --base REV      the tests of a revision, on the optrun that is here: to trace them, or to run on what these miss

Each mutant is a line of optrun, in a copy of the tree: an operator, a constant or a branch is another one, or a
statement is gone. Only tests that execute it are run, the fastest first, then those with the name of its class, of
its file and of its folder, for SECONDS in all. What none of them fails is printed with the line: a test is missing,
or the line says nothing.
"""

import argparse
import json
import os
import re
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

KEPT = ROOT / ".pytest_cache"
SECONDS = 15.0
FEW = 30
LOADED = ["jsonschema", "numba", "numpy", "pydantic", "rich", "scipy", "torch", "typer", "yaml"]
LIMIT = 240


class Tracer:
    """A plugin of pytest that keeps which lines each test executes, how long it takes, and whether it passes."""

    def __init__(self, tree: Path) -> None:
        import coverage

        self.tree = tree
        self.coverage = coverage.Coverage(data_file=None, include=["*/optrun/*"], config_file=False)
        self.coverage.start()
        self.tests: dict[str, float] = {}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverage.switch_context(nodeid)
        self.began = time.process_time() + sum(os.times()[2:4])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.tests[report.nodeid] = time.process_time() + sum(os.times()[2:4]) - self.began

    def write(self, file: Path) -> None:
        self.coverage.stop()
        data, lines = self.coverage.get_data(), {}
        for source in data.measured_files():
            name = str(Path(source).relative_to(self.tree))
            lines[name] = {line: of for line, of in data.contexts_by_lineno(source).items() if any(of)}
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"tests": self.tests, "lines": lines}))


class Only:
    """A plugin of pytest that runs some tests of the files it is given, in an order.

    Alone a file may have other parameters than among all: what then is not there is left out.
    """

    def __init__(self, tests: list[str]) -> None:
        self.place = {test: number for number, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        there = [item for item in items if item.nodeid in self.place]
        items[:] = sorted(there, key=lambda item: self.place[item.nodeid])


def traced_by(revision: str | None) -> Path:
    """Return the file with what the tests of a revision, or those that are here, execute."""
    return KEPT / f"traced-{revision or 'now'}.json"


def chosen(mutant: Mutant, traced: dict[str, Any]) -> list[str]:
    """Return the tests for a mutant, as many as last SECONDS."""
    seconds, lines = traced["tests"], traced["lines"].get(mutant.file, {})
    near = lines.get(str(mutant.line), [])
    # A rule is traced once: the tests of the others that it is given to do not execute its lines again.
    above = "\n".join((ROOT / mutant.file).read_text(encoding="utf-8").splitlines()[: mutant.line])
    classes = re.findall(r"^class (\w+)", above, re.MULTILINE)
    named = [test for test in seconds if classes and re.search(rf"\b{classes[-1]}\b", test)]
    of_file = {test for of in lines.values() for test in of}
    beside = [test for test in seconds if test.startswith(f"tests/{Path(mutant.file).parts[1]}/")]
    found, total = [], 0.0
    for some in (near, named, of_file, beside):
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
            files = sorted({test.partition("::")[0] for test in tests})
            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *files], plugins=[Only(tests)]))
        finally:
            os._exit(code)
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        done, raw = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(raw) in (0, int(pytest.ExitCode.NO_TESTS_COLLECTED))
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def every_test(tree: Path) -> list[str]:
    """Return the option that runs what a user's run leaves out, where the tests of a tree have one."""
    return ["--full"] * ('"--full"' in (tree / "tests" / "conftest.py").read_text(encoding="utf-8"))


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
        with tempfile.TemporaryDirectory() as folder:
            tree = copy_of(folder, given.base)
            os.chdir(tree)
            sys.path[0] = str(tree)
            for name in [each for each in sys.modules if each.partition(".")[0] == "tests"]:
                del sys.modules[name]
            os.environ["PYTHONPATH"] = str(tree)
            tracer = Tracer(tree)
            # Files of a base that import what is no longer there have no test that can judge.
            usual = [*every_test(tree), "--continue-on-collection-errors"]
            pytest.main(["-q", "-p", "no:cacheprovider", *usual, *given.trace], plugins=[tracer])
            tracer.write(traced_by(given.base))
        return
    for name in filter(find_spec, LOADED):
        import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        missed = survivors(drawn(given.seed, given.count), copy_of(folder, None), traced_by(None))
        print(f"{given.count - len(missed)} killed, {len(missed)} survived", flush=True)
        if given.base:
            by_neither = survivors(missed, copy_of(folder, given.base), traced_by(given.base))
            print(f"{len(missed) - len(by_neither)} of them killed by {given.base}")


def survivors(mutants: list[Mutant], tree: Path, file: Path) -> list[Mutant]:
    """Return the mutants that no test of a tree fails, and print each as it is found."""
    traced = json.loads(file.read_text())
    for mutant in mutants[:3]:
        assert not fails(chosen(mutant, traced), tree), "tests fail without a mutant: --trace first"
    found = []
    for mutant in mutants:
        if not fails(chosen(mutant, traced), tree, mutant):
            found.append(mutant)
            line = (ROOT / mutant.file).read_text(encoding="utf-8").splitlines()[mutant.line - 1].strip()
            print(f"{mutant.file}:{mutant.line}: {line} → {mutant.text}", flush=True)
    return found


if __name__ == "__main__":
    main()
