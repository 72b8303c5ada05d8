"""What takes many steps, or imports much, has room for its frames; that they run faster is no matter of a test."""

import pytest

from optrun.__main__ import main
from optrun.frames import SLOTS, roomy
from optrun.training.trainer import Trainer


@pytest.mark.parametrize("function", [main, Trainer.run])
def test_it_has_room(function):
    assert function.__code__.co_stacksize == SLOTS


def test_a_roomy_function_does_what_it_did():
    @roomy
    def function(x, *more, y=2):
        return x, more, y

    assert function(1, 3, y=4) == (1, (3,), 4)
    assert function(1) == (1, (), 2)
