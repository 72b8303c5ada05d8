import pytest

from optrun.training import lane_tracker
from tests.gpu import stand_in
from tests.gpu.compiled_c import needs_a_compiler


@pytest.fixture
def transfers(monkeypatch):
    """A stand-in for CuPy, and how often values have gone to it and come back."""
    needs_a_compiler()
    yield stand_in.installed(monkeypatch)
    stand_in.removed()


@pytest.fixture
def step_by_step(monkeypatch):
    """Has runs make every step by itself, as they do where something observes it."""
    monkeypatch.setattr(lane_tracker, "leaps_of", lambda pack: None)
