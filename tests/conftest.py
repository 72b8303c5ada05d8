"""What all tests share."""

import os

import numpy as np
import pytest

from optrun.kernels import auto_engine
from optrun.registry import load_plugin
from tests.kernels.engines import ENGINES, ON_EVERY_ENGINE


def pytest_configure(config: pytest.Config) -> None:
    # Loops that Numba compiles are kept for the next run of the tests, and not among the user's own.
    os.environ["XDG_CACHE_HOME"] = os.environ["LOCALAPPDATA"] = str(config.rootpath / ".pytest_cache")
    # CI installs torch, so that a parity test that finds none there has not been run.
    if os.environ.get("OPTRUN_TESTS_NEED_TORCH"):
        import torch  # noqa: F401
    # What is registered before the tests are collected is tested as what is shipped.
    if plugin := os.environ.get("OPTRUN_TESTS_PLUGIN"):
        load_plugin(plugin)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(params=ON_EVERY_ENGINE)
def engine(request, monkeypatch):
    """What `auto` stands for: a contract that asks for it is kept by every engine."""
    monkeypatch.setattr(auto_engine, "AutoEngine", ENGINES[request.param])
    return request.param


@pytest.fixture(autouse=True)
def _in_empty_directory(tmp_path, monkeypatch):
    """Runs go to `runs/` of the working directory."""
    monkeypatch.chdir(tmp_path)
