"""Batches: shuffled, drawn with replacement, or always the same."""

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays
from optrun.errors import ConfigError
from optrun.problems import SoftmaxRegression

OPTIONS = {"data": "blobs(samples=50)", "test_fraction": 0.0}
RUN = {
    "problem": {"name": "softmax_regression", "data": "iris", "batch_size": 16},
    "optimizer": {"name": "SGD", "lr": 0.1},
    "steps": 20,
}


def build(sampling):
    return SoftmaxRegression(Arrays(), **OPTIONS, batch_size=8, sampling=sampling)


def test_fixed_batches_are_the_samples_in_their_order():
    problem = build("fixed")
    batches = problem.batches([3, 4, 3])
    expected = [[list(range(at, min(at + 8, 50)))] for at in range(0, 50, 8)]
    for epoch in (0, 5):
        assert [batches[7 * epoch + i].tolist() for i in range(7)] == expected


def test_batches_with_replacement_are_full_and_uniform():
    """The distinct samples of a batch are N (1 - (1 - 1/N)ⁿ) on average, and each sample comes equally often."""
    problem, epochs = build("replacement"), 400
    assert problem.steps_per_epoch == 7
    drawn = np.array([problem.batches([5])[t][0] for t in range(7 * epochs)])
    assert drawn.shape == (7 * epochs, 8)
    counts = np.bincount(drawn.ravel(), minlength=50)
    expected = drawn.size / 50
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 85.4  # the 0.1 % quantile for 49 degrees of freedom
    distinct = np.array([len(set(batch)) for batch in drawn.tolist()])
    assert distinct.mean() == pytest.approx(
        50 * (1 - (1 - 1 / 50) ** 8), abs=5 * distinct.std() / np.sqrt(len(drawn))
    )
    # The same sample in two following batches is as frequent as by chance: they are independent.
    repeated = (drawn[1:] == drawn[:-1]).mean()
    assert repeated == pytest.approx(1 / 50, abs=5 * np.sqrt(0.02 * 0.98 / drawn.size))


def test_the_seed_decides_what_is_drawn_with_replacement_alone():
    one, other = (build("replacement").batches([seed])[3].tolist() for seed in (1, 2))
    assert one != other
    assert build("replacement").batches([1])[3].tolist() == one
    assert build("replacement").batches([2, 1])[3].tolist() == [*other, *one]


GROWING = {"batch_milestones": [1, 2], "batch_gamma": 3}


@pytest.mark.parametrize("sampling", ["shuffle", "replacement", "fixed"])
def test_batches_grow_at_milestones(sampling):
    """Of 50 samples 7 batches of 8, then 3 of 24, and all 50 where 72 would be more; an epoch has each sample once."""
    problem = SoftmaxRegression(Arrays(), **OPTIONS, batch_size=8, sampling=sampling, **GROWING)
    assert [problem.steps_in(epochs) for epochs in range(5)] == [0, 7, 10, 11, 12]
    grown, constant = problem.batches([3, 4]), build(sampling).batches([3, 4])
    lasts = {"replacement": (8, 24)}.get(sampling, (2, 2))
    sizes = [*[8] * 6, lasts[0], 24, 24, lasts[1], 50, 50]
    assert [grown[t].shape[1] for t in range(12)] == sizes
    assert all(np.array_equal(grown[t], constant[t]) for t in range(7))
    if sampling != "replacement":
        epochs = [
            np.concatenate([grown[t][0] for t in steps]) for steps in (range(7), range(7, 10), [10], [11])
        ]
        assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
        assert np.array_equal(epochs[1], epochs[3]) == (sampling == "fixed")
    assert np.array_equal(grown[8], problem.batches([3, 4])[8])  # whatever was asked for before


def test_a_batch_that_grows_is_resumed_and_counts_epochs(tmp_path):
    problem = {**RUN["problem"], **GROWING}
    whole = optrun.run({**RUN, "problem": problem}, save=False)
    optrun.run({**RUN, "problem": problem, "steps": 9}, directory=tmp_path / "half")
    resumed = optrun.resume(tmp_path / "half", steps=20)
    assert resumed.params["weight"].tobytes() == whole.params["weight"].tobytes()
    counted = optrun.run({**RUN, "problem": problem, "steps": None, "epochs": 3}, save=False)
    assert len(counted.curves["loss"]) == 8 + 3 + 1
    by_epoch = {"name": "StepLR", "step_size": 1, "interval": "epoch"}
    with pytest.raises(ConfigError, match="the batch grows: count steps"):
        optrun.run({**RUN, "problem": problem, "scheduler": by_epoch}, save=False)
    for wrong, said in (
        ({"batch_milestones": [2, 2]}, "must increase"),
        ({"batch_size": None}, "needs a batch_size"),
    ):
        with pytest.raises(ConfigError, match=f"batch_milestones {said}"):
            optrun.run({**RUN, "problem": {**problem, **wrong}}, save=False)


@pytest.mark.parametrize("more", [{"sampling": "replacement"}, {"sampling": "fixed"}, GROWING])
def test_runs_of_a_sweep_are_those_that_they_are_alone(more, tmp_path):
    swept = {
        **RUN,
        "problem": {**RUN["problem"], **more},
        "sweep": {"parameters": {"optimizer.lr": [0.05, 0.1]}, "repeats": 3},
    }
    for run in optrun.sweep(swept, directory=tmp_path / "sweep", jobs=1).runs:
        alone = optrun.run(run.config, save=False)
        assert run.curves["loss"].tobytes() == alone.curves["loss"].tobytes()
        assert run.params["weight"].tobytes() == alone.params["weight"].tobytes()


def test_a_config_without_the_option_is_the_one_of_before():
    plain = optrun.run(RUN, save=False)
    assert "sampling" not in plain.config["problem"]
    shuffled = optrun.run({**RUN, "problem": {**RUN["problem"], "sampling": "shuffle"}}, save=False)
    assert "sampling" not in shuffled.config["problem"]
    assert shuffled.curves["loss"].tobytes() == plain.curves["loss"].tobytes()


@pytest.mark.parametrize("sampling", ["replacement", "fixed"])
def test_without_batches_there_is_nothing_to_sample(sampling):
    with pytest.raises(ConfigError, match=f"sampling: {sampling} needs a batch_size"):
        SoftmaxRegression(Arrays(), **OPTIONS, sampling=sampling)
