"""An optimizer that is added is one class in one file, and is tested as all others the moment it is registered."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SUITES = (
    "tests/optim/test_contract.py",
    "tests/optim/test_examples.py",
    "tests/training/test_pack.py",
    "tests/config/test_config_shipped.py",
)

ELEMENTWISE = '''
from typing import Any

from optrun.optim import Optimizer
from optrun.ops import lerp, sign, where
from optrun.registry import Decay, NonNegative, Number


class Newcomer(Optimizer):
    """Sign descent with momentum and a rate that falls with every step.

    Example:

        optimizer: {name: Newcomer, lr: 0.02}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, exp_avg: Any, rate: Number, *, lr: NonNegative = 1e-3, beta: Decay = 0.9,
               fade: NonNegative = 0.0, weight_decay: NonNegative = 0.0, nesterov: bool = False) -> None:
        g = g + weight_decay * p
        rate[:] = where(t == 1, 1.0, rate / (1 + fade))
        exp_avg[:] = lerp(exp_avg, g, 1 - beta)
        p -= lr * rate * sign(lerp(g, exp_avg, beta) if nesterov else exp_avg)
'''

PER_TENSOR = '''
from typing import Any

from optrun.optim import Optimizer
from optrun.ops import maximum, norm
from optrun.registry import NonNegative


class Newcomer(Optimizer):
    """Descent by the normalised gradient of every tensor.

    Example:

        optimizer: {name: Newcomer, lr: 0.1}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    per_tensor = True

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, velocity: Any, *, lr: NonNegative = 1e-3,
               momentum: NonNegative = 0.9) -> None:
        velocity[:] = momentum * velocity + g / maximum(norm(g), 1e-12)
        p -= lr * velocity
'''


def contract(plugin: Path, source: str, *suites: str) -> subprocess.CompletedProcess[str]:
    """Run the contract suite for the optimizer in a file of this source."""
    plugin.write_text(source, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "Newcomer", "-p", "no:cacheprovider", *suites],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OPTRUN_TESTS_PLUGIN": str(plugin)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.full
@pytest.mark.parametrize(
    ("source", "suites", "least"),
    [(ELEMENTWISE, SUITES, 40), (PER_TENSOR, SUITES[:2], 20)],
    ids=["elementwise", "per tensor"],
)
def test_a_new_optimizer_goes_through_the_whole_suite(source, suites, least, tmp_path):
    done = contract(tmp_path / "newcomer.py", source, *suites)
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0, done.stdout
    assert passed
    assert int(passed[1]) > least


@pytest.mark.full
def test_a_broken_one_does_not(tmp_path):
    wrong = ELEMENTWISE.replace(
        "rate[:] = where(t == 1, 1.0, rate / (1 + fade))", "rate[:] = rate / (1 + fade)"
    )
    done = contract(tmp_path / "newcomer.py", wrong, "tests/optim/test_examples.py")
    assert done.returncode == 1
    assert "reaches_the_optimum" in done.stdout
