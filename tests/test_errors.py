"""What errors say that does not depend on where they are raised."""

import os
import sys
from pathlib import Path

import pytest

from optrun.errors import install


@pytest.mark.parametrize(
    ("executable", "typed"),
    [
        ("{here}/.venv/bin/python", ".venv/bin/python"),
        ("{here}/my venv/bin/python3", "'my venv/bin/python3'"),
        ("{above}/elsewhere/python", "{above}/elsewhere/python"),
        ("", "python"),
    ],
)
def test_what_is_missing_is_installed_beside_optrun(executable, typed, tmp_path, monkeypatch):
    here = tmp_path / "project"
    here.mkdir()
    monkeypatch.chdir(here)
    names = {"here": str(Path.cwd()), "above": str(Path.cwd().parent)}
    monkeypatch.setattr(sys, "executable", executable.format(**names))
    said = f"{typed.format(**names)} -m pip install matplotlib 'numba>=0.61' 'cupy-cuda12x[ctk]'"
    assert install("matplotlib", "numba>=0.61", "cupy-cuda12x[ctk]") == said


def test_a_working_directory_that_is_gone_is_no_hindrance(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    os.rmdir(gone)
    assert install("x") == f"{sys.executable} -m pip install x"
