"""Maps from Python: what the command makes, as arrays and as a figure."""

import numpy as np
import pytest

import optrun
from optrun.config import ConfigErrors
from optrun.errors import ConfigError
from tests.cli.looking import call

__all__ = ["call"]

CONFIG = {
    "problem": "himmelblau",
    "optimizer": {"name": "SGD", "lr": 0.01},
    "steps": 100,
    "map": {
        "x": {"problem.start.0": {"linspace": [-4, 4, 5]}},
        "y": {"problem.start.1": {"linspace": [-4, 4, 3]}},
    },
}


def test_a_map_is_that_of_the_command(tmp_path, call):
    pytest.importorskip("matplotlib")
    made = []
    found = optrun.map(CONFIG, overrides=["map.color=minimum"], observe=lambda *each: made.append(each))
    assert made == [(15, 15)]
    assert found.path is None
    assert not list(tmp_path.iterdir())
    (tmp_path / "map.yaml").write_text(str({**CONFIG, "map": {**CONFIG["map"], "color": "minimum"}}))
    assert call("map", "map.yaml").code == 0
    with np.load("map.npz") as held:
        np.testing.assert_array_equal(found.x, held["x"])
        np.testing.assert_array_equal(found.values, held["value"])
        np.testing.assert_array_equal(found.minima, held["minima"])
        np.testing.assert_array_equal(found.statuses, held["statuses"][held["status"]])
    again = optrun.map("map.yaml", file="map.npz", observe=lambda *each: pytest.fail("nothing is left"))
    figure = again.plot(title="basins", dpi=50)
    assert figure.axes[0].get_xlabel() == "x[0]"
    assert repr(again) == "Map(15 runs, minimum over problem.start.0 and problem.start.1)"


def test_what_is_no_map_is_refused():
    with pytest.raises(ConfigErrors, match="no map is here"):
        optrun.map({key: value for key, value in CONFIG.items() if key != "map"})
    with pytest.raises(ConfigError, match="not list"):
        optrun.map([])
