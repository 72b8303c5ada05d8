"""The advice on a misspelt key or name is the right one, over everything that a config can say."""

from collections.abc import Iterator
from typing import Any

import pytest

from optrun import registry
from optrun.config import Bounds, ConfigErrors, Record, RunConfig, Stop, from_mapping
from optrun.config.model.expect import FIGURES
from optrun.config.model.run import metric_names
from optrun.errors import fold

REGISTRIES = {
    "problem": registry.problems,
    "optimizer": registry.optimizers,
    "scheduler": registry.schedulers,
}
SMALL: dict[str, Any] = {"problem": "rosenbrock", "optimizer": "SGD", "steps": 1}


def slips(word: str) -> Iterator[str]:
    """Return the word with one letter dropped, doubled or swapped."""
    for i, letter in enumerate(word):
        yield word[:i] + word[i + 1 :]
        yield word[:i] + letter + word[i:]
        yield word[:i] + word[i + 1 : i + 2] + letter + word[i + 2 :]


def cases() -> Iterator[tuple[dict[str, Any], str, list[str]]]:
    """Yield configs with ▸ where a word belongs, the place of the word, and the words that could stand there."""
    yield {**SMALL, "▸": 1}, "", RunConfig.known_keys()
    yield {**SMALL, "expect": {"▸": {"max": 1}}}, "expect", list(FIGURES)
    yield {**SMALL, "expect": {"x": {"▸": 1}}}, "expect.x", list(Bounds.model_fields)
    yield {**SMALL, "record": {"▸": 1}}, "record", list(Record.model_fields)
    yield {**SMALL, "stop": {"▸": 1}}, "stop", list(Stop.model_fields)
    yield {**SMALL, "record": {"metrics": ["▸"]}}, "record.metrics.0", metric_names()
    yield {**SMALL, "dtype": "▸"}, "dtype", ["float32", "float64"]
    for section, classes in REGISTRIES.items():
        yield {**SMALL, section: "▸"}, f"{section}.name", list(classes)
        for name in classes:
            cls = classes.find(name)
            keys = ["name", *cls.options(), *getattr(cls, "tuples", {})]
            yield {**SMALL, section: {"name": name, "▸": 1}}, section, keys


@pytest.mark.full
def test_at_least_95_in_100_slips_are_understood() -> None:
    right, wrong = 0, []
    for config, place, words in cases():
        for word in words:
            for slip in {slip for slip in slips(word) if slip and fold(slip) not in map(fold, words)}:
                if f"Did you mean {word!r}?" in _advice(config, place, slip):
                    right += 1
                else:
                    wrong.append((slip, word))
    assert right > 2000
    assert right / (right + len(wrong)) >= 0.95, wrong


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({"weight_decay": 1}, "weight_decay: unknown key. Did you mean 'optimizer.weight_decay'?"),
        ({"LR": 1}, "LR: unknown key. Did you mean 'optimizer.lr'?"),
        (
            {"stop": {"metrics": ["lr"]}},
            "stop.metrics: unknown key. Did you mean 'record.metrics' or 'evaluate.metrics'?",
        ),
        ({"record": {"patience": 3}}, "record.patience: unknown key. Did you mean 'stop.patience'?"),
        ({"evaluate": {"metrics": ["f1"]}}, "(got 'f1'). Did you mean 'f1_macro'?"),
        ({"evaluate": {"metrics": ["auc"]}}, "(got 'auc'). Did you mean 'roc_auc'?"),
        (
            {"optimizer": {"name": "SGD", "learning_rate": 1}},
            "optimizer.learning_rate: unknown key. Did you mean 'lr'?",
        ),
        ({"ema": 0.9}, "ema: unknown key. Did you mean 'average'?"),
        ({"every": 1}, "every: unknown key. Known here: name, problem, "),  # it belongs to three sections
    ],
)
def test_a_key_is_sent_to_the_one_place_where_it_belongs(given: dict[str, Any], advice: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        from_mapping({**SMALL, **given})
    assert advice in str(caught.value)


def _advice(config: dict[str, Any], place: str, slip: str) -> str:
    with pytest.raises(ConfigErrors) as caught:
        from_mapping(_filled(config, slip))
    path = place if place.endswith((".name", ".0")) or place == "dtype" else f"{place}.{slip}".lstrip(".")
    return next(issue.message for issue in caught.value.issues if issue.path == path)


def _filled(value: Any, slip: str) -> Any:
    if isinstance(value, dict):
        return {slip if key == "▸" else key: _filled(each, slip) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, slip) for each in value]
    return slip if value == "▸" else value


def test_a_schedule_of_what_a_group_has_alone_is_led_there():
    groups = [{"params": "x", "name": "AdamW"}]
    config = {**SMALL, "optimizer": {"name": "SGD", "param_groups": groups}}
    with pytest.raises(ConfigErrors) as caught:
        from_mapping({**config, "schedules": {"beta2": "LinearLR"}})
    (issue,) = caught.value.issues
    assert issue.path == "schedules.beta2"
    assert issue.message == "is of AdamW alone: it goes into schedules of optimizer.param_groups.0"
    groups[0]["schedules"] = {"beta2": "LinearLR"}
    assert from_mapping(config).optimizer.param_groups[0].schedules


def test_a_key_that_is_wrong_is_one_mistake():
    with pytest.raises(ConfigErrors) as caught:
        from_mapping({**SMALL, "problem": {"name": "rosenbrock", "init": {"normal": [0, 1]}}})
    (issue,) = caught.value.issues
    assert (issue.path, issue.message[:32]) == ("problem.init.normal", "must be 'uniform' (got 'normal')")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"gradient": ["cautious"]},
            "optimizer.gradient.0.name: 'cautious' is no gradient transform: it is an update transform, list it under "
            "optimizer.update",
        ),
        (
            {"wrap": ["EMA"]},
            "optimizer.wrap.0.name: 'EMA' is no wrapper: it is an average, its place is average",
        ),
        (
            {"name": "SAM"},
            "optimizer.name: 'SAM' is no optimizer: it is a wrapper, list it under optimizer.wrap",
        ),
        (
            {"gradient": [{"clipNorm": {"max_norm": 1}}]},
            "optimizer.gradient.0.clipNorm: is the name of a gradient transform, no key: write {name: ClipNorm}, and "
            "its options beside the name",
        ),
        (
            {"clip_norm": 1},
            "optimizer.clip_norm: unknown key. Did you mean 'optimizer.gradient: [{name: ClipNorm}]'?",
        ),
        (
            {"max_grad_norm": 1},
            "optimizer.max_grad_norm: unknown key. Did you mean 'optimizer.gradient: [{name: ClipNorm}]'?",
        ),
        (
            {"lookahead": True},
            "optimizer.lookahead: unknown key. Did you mean 'optimizer.wrap: [{name: Lookahead}]'?",
        ),
    ],
)
def test_what_an_optimizer_is_composed_of_is_led_to_its_place(changes, said):
    with pytest.raises(ConfigErrors) as caught:
        from_mapping({**SMALL, "optimizer": {"name": "SGD", **changes}})
    assert [f"{issue.path}: {issue.message}" for issue in caught.value.issues] == [said]
