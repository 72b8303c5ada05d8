"""Configs that come through a pipe belong to the working directory; what is no regular file is never waited for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from optrun.errors import OptrunError
from optrun.kernels import user_cache
from optrun.plugins import load_plugin
from optrun.problems.data import load

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")

CONFIG = "extends: base.yaml\nproblem: {name: linear_regression, data: d.csv}\n"


def optrun(*arguments: str, config: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "optrun", *arguments]
    return subprocess.run(command, input=config, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.full
@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_paths_in_a_piped_config_are_relative_to_the_working_directory(name):
    Path("d.csv").write_text("1,2\n2,4\n3,6\n4.5,8\n5,10\n")
    Path("base.yaml").write_text("optimizer: {name: SGD, lr: 0.1}\nsteps: 3\n")
    done = optrun("run", name, "--json", "--no-save", config=CONFIG)
    assert (done.returncode, '"completed"' in done.stdout) == (0, True), done.stderr
    assert optrun("validate", name, config="stps: 3").stderr.startswith(f"{name}:1:1: stps: unknown key")


@pytest.mark.full
def test_no_file_is_waited_for():
    for name in ("pipe.yaml", "pipe.py", "pipe.csv", "pipe"):
        os.mkfifo(name)
    named = optrun("validate", "-", config="extends: pipe.yaml\n")
    assert (named.returncode, "pipe.yaml: is not a file" in named.stderr) == (2, True)
    for refused in (lambda: load("./pipe.csv"), lambda: load_plugin("pipe.py")):
        with pytest.raises(OptrunError, match="not a regular file"):
            refused()
    assert user_cache.read(Path("pipe")) is None


@pytest.mark.full
@pytest.mark.skipif(not os.path.exists("/proc/kmsg"), reason="needs Linux's /proc")
def test_files_that_the_kernel_makes_up_are_empty():
    named = optrun("validate", "-", config="extends: /proc/kmsg\n")
    assert (named.returncode, "the config is empty" in named.stderr) == (2, True)
    os.symlink("/proc/kmsg", "k.csv")
    with pytest.raises(OptrunError):
        load("./k.csv")
