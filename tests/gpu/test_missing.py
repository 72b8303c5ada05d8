"""What a run with `backend: cupy` says where there is no CuPy, or no device."""

import sys

import pytest

from optrun.arrays import Arrays
from optrun.errors import MissingExtraError, install
from tests.cli.test_cli import call
from tests.gpu import stand_in

CONFIG = "problem: rosenbrock\noptimizer: Adam\nsteps: 3\nbackend: cupy\n"

NO_CUPY = "the cupy backend needs CuPy: {install}"
NO_DEVICE = "the cupy backend needs a CUDA device: the driver is too old"


@pytest.fixture(autouse=True)
def _forgotten():
    stand_in.removed()
    yield
    stand_in.removed()


@pytest.fixture
def no_cupy(monkeypatch):
    # Not None, for which Python says that the import was halted.
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [_Nowhere(), *sys.meta_path])


class _Nowhere:
    """Finds no CuPy, whatever is installed."""

    def find_spec(self, name, path=None, target=None):
        if name == "cupy":
            raise ModuleNotFoundError("No module named 'cupy'", name="cupy")


@pytest.fixture
def no_device(monkeypatch):
    module = stand_in.module()

    def count():
        raise stand_in.CUDARuntimeError("the driver is too old")

    module.cuda.runtime.getDeviceCount = count
    monkeypatch.setitem(sys.modules, "cupy", module)


@pytest.mark.parametrize(("missing", "message"), [("no_cupy", NO_CUPY), ("no_device", NO_DEVICE)])
def test_a_missing_backend_is_exit_3_and_the_message_what_is_missing(missing, message, request, tmp_path):
    request.getfixturevalue(missing)
    message = message.format(install=install("cupy-cuda12x[ctk]"))
    (tmp_path / "gpu.yaml").write_text(CONFIG)
    with pytest.raises(MissingExtraError) as raised:
        Arrays("cupy").zeros(1, 1)
    assert str(raised.value) == message
    done = call("run", "gpu.yaml")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.strip() == message
    assert not (tmp_path / "runs").exists()


def test_no_device_at_all_is_said_too(no_device):
    sys.modules["cupy"].cuda.runtime.getDeviceCount = lambda: 0
    with pytest.raises(MissingExtraError, match="needs a CUDA device: there is none"):
        Arrays("cupy").zeros(1, 1)


def test_a_cupy_that_cannot_be_imported_is_not_called_missing(monkeypatch):
    monkeypatch.delitem(sys.modules, "cupy", raising=False)

    class Broken(_Nowhere):
        def find_spec(self, name, path=None, target=None):
            if name == "cupy":
                raise ImportError("libcuda.so.1 is broken")

    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(MissingExtraError, match="CuPy cannot be imported: libcuda.so.1 is broken"):
        Arrays("cupy").zeros(1, 1)


def test_the_command_line_runs_on_the_device_and_gives_the_results_of_the_cpu(transfers, tmp_path):
    (tmp_path / "gpu.yaml").write_text(CONFIG.replace("steps: 3", "steps: 100"))
    for backend in ("numpy", "cupy"):
        done = call("run", "gpu.yaml", f"backend={backend}", f"name={backend}")
        assert done.returncode == 0, done.stderr
    curves = [call("curves", name, "--json").stdout for name in ("numpy", "cupy")]
    assert curves[0] == curves[1].replace("cupy", "numpy")
    assert stand_in.launched["trajectory"]
    assert call("doctor").returncode == 0
