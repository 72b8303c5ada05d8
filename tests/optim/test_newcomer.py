"""An optimizer that is added is one class in one file, and is tested as all others the moment it is registered."""

import os
import re
import subprocess
import sys
from collections import Counter
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


class NewcomerOfTensors(Optimizer):
    """Descent by the normalised gradient of every tensor.

    Example:

        optimizer: {name: NewcomerOfTensors, lr: 0.1}
        scheduler: {name: CosineAnnealingLR, T_max: 3000}
    """

    per_tensor = True

    @staticmethod
    def update(p: Any, g: Any, t: Any, /, velocity: Any, *, lr: NonNegative = 1e-3,
               momentum: NonNegative = 0.9) -> None:
        velocity[:] = momentum * velocity + g / maximum(norm(g), 1e-12)
        p -= lr * velocity
'''


BROKEN = ELEMENTWISE.replace("Newcomer", "WrongNewcomer").replace(
    "where(t == 1, 1.0, rate / (1 + fade))", "rate / (1 + fade)"
)


@pytest.mark.full
def test_a_new_optimizer_goes_through_the_whole_suite_and_a_broken_one_does_not(tmp_path):
    plugin = tmp_path / "newcomer.py"
    plugin.write_text(ELEMENTWISE + PER_TENSOR + BROKEN, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-k", "Newcomer", "-p", "no:cacheprovider", *SUITES],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OPTRUN_TESTS_PLUGIN": str(plugin)},
        capture_output=True,
        text=True,
        check=False,
    )
    ended = re.findall(r"^(PASSED|FAILED) \S+?::(\w+)\[.*?(\w*Newcomer\w*)", done.stdout, re.MULTILINE)
    failed = {(test, name) for result, test, name in ended if result == "FAILED"}
    assert {name for _, name in failed} == {"WrongNewcomer"}, done.stdout
    assert any("reaches_the_optimum" in test for test, _ in failed)
    passed = Counter(name for result, _, name in ended if result == "PASSED")
    assert passed["Newcomer"] > 25
    assert passed["NewcomerOfTensors"] > 20
