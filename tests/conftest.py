"""What all tests share."""

import os
import signal
import zlib
from collections import Counter

import numpy as np
import pytest

import optrun
from optrun.kernels import auto_engine
from optrun.kernels.numpy_engine import NumpyEngine
from optrun.plugins import load_plugin
from tests.kernels.engines import ON_EVERY_ENGINE, NewCompiled

MANY = 24
"""Cases of a test beyond which the short run has a third of them, always the same."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run every test, also those that are marked as full")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: left out where neither --full nor a test file is given")
    # Loops that Numba compiles are kept for the next run of the tests, and not among the user's own.
    os.environ["XDG_CACHE_HOME"] = os.environ["LOCALAPPDATA"] = str(config.rootpath / ".pytest_cache")
    # Each worker begins with half of the files, whose fixtures it makes once; one that is done takes over from others.
    if getattr(config.option, "dist", "no") == "load":
        config.option.dist = "worksteal"
    # Else each worker would rewrite all tests anew, and hundreds of commands under test compile all of optrun.
    if getattr(config.option, "numprocesses", None):
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # A shell starts what runs in the background with SIGINT ignored, and nohup anything with SIGHUP ignored: the
    # commands under test would inherit that.
    for name, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)
    # CI installs torch, so that a parity test that finds none there has not been run.
    if os.environ.get("OPTRUN_TESTS_NEED_TORCH"):
        import torch  # noqa: F401
    # What is registered before the tests are collected is tested as what is shipped.
    if plugin := os.environ.get("OPTRUN_TESTS_PLUGIN"):
        load_plugin(plugin)


def is_short(config: pytest.Config) -> bool:
    if hasattr(config, "workerinput"):  # pytest-xdist gives its workers the test folders as arguments
        return config.workerinput["short"]
    return not config.getoption("full") and config.args_source is not config.ArgsSource.ARGS


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    node.workerinput["short"] = is_short(node.config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if is_short(config):
        chosen = in_short(items)
        left = set(items).difference(chosen)
        config.hook.pytest_deselected(items=list(left))
        items[:] = chosen


def in_short(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests of the short run: of those with many cases a third, but every case of parity with torch."""
    short = [item for item in items if not item.get_closest_marker("full")]
    cases = Counter(item.nodeid.partition("[")[0] for item in short)
    return [
        item
        for item in short
        if cases[item.nodeid.partition("[")[0]] <= MANY
        or "test_parity.py" in item.nodeid
        or zlib.crc32(item.nodeid.encode()) % 3 == 0
    ]


def pytest_unconfigure(config: pytest.Config) -> None:
    if is_short(config) and not config.option.collectonly and not hasattr(config, "workerinput"):
        config.get_terminal_writer().line(
            "This was the short run; python -m pytest -n 2 --full runs every test."
        )


@pytest.fixture
def small():
    """Return a function that runs a small config and returns its path."""

    def run(*overrides, **options):
        config = {
            "name": "small",
            "problem": {"name": "rosenbrock"},
            "optimizer": {"name": "SGD", "lr": 1e-4},
            "steps": 20,
        }
        return optrun.run(config, overrides=overrides, **options).path

    return run


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(params=ON_EVERY_ENGINE)
def engine(request, monkeypatch):
    """What `auto` stands for: a contract that asks for it is kept by every engine."""
    chosen = {"numpy": NumpyEngine, "numba": NewCompiled}[request.param]
    monkeypatch.setattr(auto_engine, "AutoEngine", chosen)
    return request.param


@pytest.fixture(scope="session")
def _empty(tmp_path_factory):
    """Directories that tests have left empty, for the next ones."""
    return []


@pytest.fixture(autouse=True)
def _in_empty_directory(request, tmp_path_factory, _empty, monkeypatch):
    """Runs go to `runs/` of the working directory, which is tmp_path where a test asks for that."""
    if "tmp_path" in request.fixturenames:
        monkeypatch.chdir(request.getfixturevalue("tmp_path"))
        yield
        return
    here = _empty.pop() if _empty else tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    yield
    if not os.listdir(here):
        _empty.append(here)
