"""What all tests share."""

import os

import numpy as np
import pytest

from optrun.registry import load_plugin


def pytest_configure() -> None:
    # CI installs torch, so that a parity test that finds none there has not been run.
    if os.environ.get("OPTRUN_TESTS_NEED_TORCH"):
        import torch  # noqa: F401
    # What is registered before the tests are collected is tested as what is shipped.
    if plugin := os.environ.get("OPTRUN_TESTS_PLUGIN"):
        load_plugin(plugin)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _in_empty_directory(tmp_path, monkeypatch):
    """Runs go to `runs/` of the working directory."""
    monkeypatch.chdir(tmp_path)
