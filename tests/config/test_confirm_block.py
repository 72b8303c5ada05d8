"""The block `sweep.confirm`, written as another type than a mapping."""

import pytest

from optrun.config import ConfigErrors
from optrun.config.sweep.resolve import sweep_from_mapping

CONFIG = {"problem": "sphere", "optimizer": "SGD", "steps": 2}


@pytest.mark.parametrize(
    ("confirm", "said"),
    [
        (8, r"must be a mapping \(got 8\); it is written {seeds: 8}"),
        (True, r"must be a mapping \(got true\); it is written {}, for its defaults"),
        ("yes", r"must be a mapping \(got 'yes'\)"),
    ],
)
def test_a_confirmation_that_is_no_mapping_comes_with_how_it_is_written(confirm, said):
    with pytest.raises(ConfigErrors, match=f"sweep.confirm: {said}"):
        sweep_from_mapping({**CONFIG, "sweep": {"confirm": confirm}}, ())
