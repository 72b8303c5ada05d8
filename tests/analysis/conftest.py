"""Small runs to look at."""

import pytest

import optrun


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
