import pytest

from tests.gpu import stand_in
from tests.gpu.compiled_c import needs_a_compiler


@pytest.fixture
def transfers(monkeypatch):
    """A stand-in for CuPy, and how often values have gone to it and come back."""
    needs_a_compiler()
    yield stand_in.installed(monkeypatch)
    stand_in.removed()
