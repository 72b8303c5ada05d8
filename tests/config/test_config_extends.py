"""A config that builds on others: what is merged, what is replaced, and every mistake at the place of its file."""

import os
from pathlib import Path
from typing import Any

import pytest

from optrun.config import ConfigErrors, RunConfig, from_mapping, load, parse
from optrun.config.extends import MAX_FILES

pytestmark = pytest.mark.usefixtures("fakes")

BASE = """\
problem: {name: net, data: digits, hidden: [64, 64]}
optimizer: {name: Adam, lr: 1e-2, betas: [0.8, 0.99]}
scheduler: {name: StepLR, step_size: 10}
steps: 100
record: {every: 5, metrics: [grad_norm]}
stop: {target: 1e-3, patience: 9}
"""


def extending(variant: str, **files: str) -> RunConfig:
    """Return the config in a file that extends others, by default one called base."""
    for name, text in {"base": BASE, **files, "variant": variant}.items():
        Path(f"{name}.yaml").write_text(text)
    return load("variant.yaml")


def refused(variant: str, **files: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        extending(variant, **files)
    return str(caught.value).splitlines()


def test_mappings_are_merged_and_everything_else_is_replaced() -> None:
    config = extending("extends: base.yaml\nproblem: {hidden: [8]}\nstop: {target: 1}\nsteps: 7\n")
    assert (config.name, config.steps) == ("variant", 7)
    assert config.problem.options["hidden"] == [8]
    assert config.problem.options["data"] == "digits"
    assert (config.stop.target, config.stop.patience) == (1.0, 9)
    assert config.record.every == 5
    assert config.optimizer.options["beta1"] == 0.8


def test_without_anything_of_its_own_it_is_the_base() -> None:
    config = extending("extends: base.yaml\n")
    assert config.to_dict() == {**parse(BASE).to_dict(), "name": "variant"}
    assert "extends" not in config.to_yaml()


@pytest.mark.parametrize("nothing", ["null", "[]", "~", ""])
def test_nothing_to_extend(nothing: str) -> None:
    assert extending(f"{BASE}extends: {nothing}\n").steps == 100


def test_later_files_win_and_the_own_values_win_over_all() -> None:
    config = extending(
        "extends: [base.yaml, fast.yaml, long.yaml]\nseed: 3\n",
        fast="optimizer: {lr: 1}\nsteps: 1\nseed: 1\n",
        long="steps: 2\nseed: 2\n",
    )
    assert (config.optimizer.options["lr"], config.steps, config.seed) == (1.0, 2, 3)


def test_null_turns_off_what_the_base_turns_on() -> None:
    assert extending("extends: base.yaml\nscheduler: null\n").scheduler is None
    config = extending("extends: base.yaml\nsteps: null\nepochs: 3\n")
    assert (config.steps, config.epochs) == (None, 3)


@pytest.mark.parametrize("written", ["{name: adam, eps: 1}", "{eps: 1}"])
def test_options_of_the_same_optimizer_are_merged(written: str) -> None:
    options = extending(f"extends: base.yaml\noptimizer: {written}\n").optimizer.options
    assert (options["lr"], options["eps"]) == (1e-2, 1.0)


def test_a_bare_name_is_a_mapping_with_a_name() -> None:
    assert extending("extends: base.yaml\noptimizer: ADAM\n").optimizer.options["lr"] == 1e-2
    files = {"base": "problem: bowl\noptimizer: SGD\nsteps: 1\n"}
    config = extending("extends: base.yaml\noptimizer: {lr: 5}\n", **files)
    assert (config.optimizer.name, config.optimizer.options["lr"]) == ("SGD", 5.0)


@pytest.mark.parametrize("written", ["SGD", "{name: SGD}"])
def test_another_optimizer_replaces_the_one_of_the_base_whole(written: str) -> None:
    config = extending(f"extends: base.yaml\noptimizer: {written}\n")
    assert config.optimizer == from_mapping({"problem": "bowl", "optimizer": "SGD", "steps": 1}).optimizer


def test_the_name_of_the_run_replaces_nothing_but_itself() -> None:
    config = extending("extends: named.yaml\nname: mine\n", named=BASE + "name: theirs\n")
    assert (config.name, config.steps) == ("mine", 100)


def test_paths_are_relative_to_the_file_that_holds_them(tmp_path: Path) -> None:
    for folder in ("lab", "shared/deep"):
        Path(folder).mkdir(parents=True)
    Path("shared/deep/base.yaml").write_text(BASE.replace("digits", "../data.csv"))
    Path("shared/middle.yaml").write_text("extends: deep/base.yaml\n")
    Path("lab/a.yaml").write_text("extends: ../shared/middle.yaml\n")
    assert load("lab/a.yaml").problem.options["data"] == str(tmp_path / "shared/data.csv")
    Path("lab/b.yaml").write_text("extends: ../shared/middle.yaml\nproblem: {data: ./own.csv}\n")
    assert load("lab/b.yaml").problem.options["data"] == str(tmp_path / "lab/own.csv")
    assert load("lab/b.yaml", ["problem.data=./x.csv"]).problem.options["data"] == str(tmp_path / "x.csv")


def test_a_file_may_be_reached_by_two_ways() -> None:
    config = extending(
        "extends: [l.yaml, r.yaml]\n", l="extends: base.yaml\nseed: 1\n", r="extends: base.yaml\n"
    )
    assert config.seed == 1


def test_overrides_come_last() -> None:
    extending("extends: base.yaml\nsteps: 7\n")
    assert load("variant.yaml", ["steps=9", "optimizer.betas.1=0.5"]).steps == 9
    assert load("variant.yaml", ["optimizer.betas.1=0.5"]).optimizer.options["beta2"] == 0.5


@pytest.mark.parametrize("text", ["${env:HOME}", "$HOME", "${optimizer.lr}"])
def test_a_config_is_data(text: str) -> None:
    assert extending(f"extends: base.yaml\nname: '{text}'\n").name == text


MISTAKES: list[tuple[str, dict[str, str], list[str]]] = [
    (
        "extends: bas.yaml\n",
        {},
        ["variant.yaml:1:10: extends: bas.yaml: no such file or directory. Did you mean 'base.yaml'?"],
    ),
    (
        "extends: [base.yaml, 3]\n",
        {},
        ["variant.yaml:1:22: extends: must be a path, or a list of paths (got 3)"],
    ),
    (
        "extends: {a: b}\n",
        {},
        ["variant.yaml:1:10: extends: must be a path, or a list of paths (got a mapping)"],
    ),
    (
        'extends: "a\\0b"\n',
        {},
        [
            "variant.yaml:1:10: extends: no text holds the character U+0000",
            "variant.yaml:1:10: extends: must be a path, or a list of paths (got 'a\\x00b')",
        ],
    ),
    ("extends: ..\n", {}, ["variant.yaml:1:10: extends: ..: is not a file"]),
    ("extends: /dev/zero\n", {}, ["variant.yaml:1:10: extends: /dev/zero: is not a file"]),
    (
        "extends: variant.yaml\n",
        {},
        ["variant.yaml:1:10: extends: a cycle: variant.yaml → variant.yaml"],
    ),
    (
        "extends: a.yaml\n",
        {"a": "\nextends: b.yaml", "b": "extends: ./variant.yaml"},
        ["b.yaml:1:10: extends: a cycle: variant.yaml → a.yaml → b.yaml → variant.yaml"],
    ),
    (
        "extends: a.yaml\nsteps: 1\nsteps: 2\n",
        {"a": "a: [1\n"},
        [
            "variant.yaml:3:1: steps: duplicate key (first at line 2)",
            "a.yaml:2:1: a comma or ']' is missing (it starts at line 1)",
        ],
    ),
    (
        "extends: [base.yaml, a.yaml]\nsed: 1\n",
        {"a": "optimizer: {lrr: 1}\nseed: no\n"},
        [
            "variant.yaml:2:1: sed: unknown key. Did you mean 'seed'?",
            "a.yaml:1:13: optimizer.lrr: unknown key. Did you mean 'lr'?",
            "a.yaml:2:7: seed: must be an integer (got 'no')",
        ],
    ),
    (
        "extends: a.yaml\n",
        {"a": "- 1\n"},
        ["variant.yaml:1:10: extends: a.yaml: a config is a mapping of keys to values"],
    ),
    (
        "extends: base.yaml\nepochs: 1\n",
        {},
        [
            "variant.yaml:2:9: epochs: steps and epochs are both set: turn one off (steps=null); "
            "steps is at base.yaml:4:8"
        ],
    ),
    (
        "extnds: base.yaml\nproblem: bowl\noptimizer: SGD\nsteps: 1\n",
        {},
        ["variant.yaml:1:1: extnds: unknown key. Did you mean 'extends'?"],
    ),
    (
        "extends: base.yaml\nproblem: {extends: base.yaml}\n",
        {},
        ["variant.yaml:2:11: problem.extends: unknown key. Did you mean 'extends' at the top level?"],
    ),
]


@pytest.mark.parametrize(("variant", "files", "expected"), MISTAKES)
def test_a_mistake_has_its_place_in_the_file_that_holds_it(
    variant: str, files: dict[str, str], expected: list[str]
) -> None:
    assert refused(variant, **files) == expected


def test_a_file_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def denied(path: Any, *arguments: Any, **options: Any) -> Any:
        if os.fspath(path) == "base.yaml":
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", denied)
    assert refused("extends: base.yaml\n") == ["variant.yaml:1:10: extends: base.yaml: permission denied"]


def test_a_pipe_is_not_waited_for() -> None:
    os.mkfifo("pipe.yaml")
    assert refused("extends: pipe.yaml\n") == ["variant.yaml:1:10: extends: pipe.yaml: is not a file"]


def test_files_that_multiply_are_stopped() -> None:
    files = {f"f{i}": f"extends: [f{i + 1}.yaml, f{i + 1}.yaml]\n" for i in range(30)}
    (line,) = refused("extends: f0.yaml\n", **files, f30="seed: 1\n")
    assert line.endswith(f"extends: more than {MAX_FILES} files")


@pytest.mark.full
def test_large_files_are_counted_together() -> None:
    rows = ", ".join(["1"] * 6000)
    large = {name: f"{name}: [{rows}]\n" for name in ("a", "b")}
    lines = refused("extends: [a.yaml, b.yaml]\n", **large)
    assert lines == ["variant.yaml:1:1: extends: more than 10,000 values in all files together"]


def test_only_a_file_can_extend() -> None:
    message = "extends: only a file can extend others: there is none here to look beside"
    with pytest.raises(ConfigErrors) as caught:
        from_mapping({"extends": "base.yaml"})
    assert str(caught.value) == f"<config>: {message}"
    with pytest.raises(ConfigErrors) as caught:
        parse("extends: base.yaml")
    assert str(caught.value) == f"<config>:1:10: {message}"


@pytest.mark.parametrize("override", ["extends=base.yaml", "extends.0=base.yaml"])
def test_an_override_cannot_extend(override: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse(BASE, overrides=[override])
    assert "a file extends others, an override cannot: write it into the file" in str(caught.value)


def test_a_cycle_is_seen_however_its_path_is_spelled() -> None:
    Path("sub").mkdir()
    (line,) = refused("extends: sub/../variant.yaml\n")
    assert line == "variant.yaml:1:10: extends: a cycle: variant.yaml → sub/../variant.yaml"
