"""Every mistake is answered with its place, its path and what was meant."""

import os
from pathlib import Path

import pytest

from optrun.config import ConfigErrors, from_mapping, load, parse
from optrun.kernels import ENGINES

pytestmark = pytest.mark.usefixtures("fakes")

METRICS = "'loss' or 'lr' or 'grad_norm' or 'update_norm' or 'param_norm' or 'momentum' or 'weight_decay'"
KNOWN = (
    "Known here: name, problem, optimizer, scheduler, schedules, average, steps, epochs, seed, seeds, dtype, backend, "
    "engine, record, evaluate, checkpoint, stop, expect, extends, sweep, map"
)

# Each issue's place is marked with ▸ in the text, in the order of the issues.
MISTAKES = {
    "problem: bowl\noptimizer: {name: SGD, ▸weight_decy: 1}\nsteps: 1": [
        "optimizer.weight_decy: unknown key. Did you mean 'weight_decay'?",
    ],
    "problem: bowl\noptimizer: ▸Adm\nsteps: 1": [
        "optimizer.name: unknown optimizer 'Adm'. Did you mean 'Adam'?",
    ],
    "problem: bowl\noptimizer:\n  name: ▸7\n  lr: 1\nsteps: 1": [
        "optimizer.name: must be the name of an optimizer (got 7)",
    ],
    "problem: bowl\noptimizer: ▸{lr: 1}\nsteps: 1": [
        "optimizer.name: missing",
    ],
    "problem: bowl\noptimizer: ▸{weight_decay: 1, weight_decy: ▸2}\nsteps: 1": [
        "optimizer.name: missing",
        "optimizer.weight_decy: no optimizer has this key. Did you mean 'weight_decay'?",
    ],
    "problem: {▸nmae: bowl}\noptimizer: SGD\nsteps: 1": [
        "problem.nmae: unknown key. Did you mean 'name'?",
    ],
    "problem: bowl\noptimizer: ▸[SGD]\nsteps: 1": [
        "optimizer: must be the name of an optimizer, or a mapping with 'name' (got ['SGD'])",
    ],
    "problem: ▸net\noptimizer: SGD\nsteps: 1": [
        "problem.data: missing",
    ],
    "▸problem: bowl\nsteps: 1": [
        "optimizer: missing",
    ],
    "problem: bowl\n▸optimzer: SGD\nsteps: 1": [
        "optimzer: unknown key. Did you mean 'optimizer'?",
    ],
    "▸problem: bowl\noptimizer: SGD": [
        "steps: missing: how long is the run? Give steps or epochs",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\nepochs: ▸2": [
        "epochs: steps and epochs are both set: turn one off (steps=null)",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\n▸lr: 1": [
        "lr: unknown key. Did you mean 'optimizer.lr'?",
    ],
    "problem: bowl\noptimizer: {name: SGD, ▸steps: 3}\nsteps: 1": [
        "optimizer.steps: unknown key. Did you mean 'steps' at the top level?",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\n▸patience: 3": [
        "patience: unknown key. Did you mean 'stop.patience'?",
    ],
    "problem: bowl\noptimizer: {name: SGD, ▸zzz: 1}\nsteps: 1": [
        "optimizer.zzz: unknown key. Known here: name, lr, momentum, weight_decay, nesterov, gradient, update, "
        "wrap, decay, param_groups",
    ],
    "problem: bowl\noptimizer: {name: SGD, lr: ▸-1}\nsteps: 1": [
        "optimizer.lr: must be ≥ 0 (got -1)",
    ],
    "problem: bowl\noptimizer: {name: Adam, beta1: ▸1.5}\nsteps: 1": [
        "optimizer.beta1: must be < 1 (got 1.5)",
    ],
    "problem: bowl\noptimizer: {name: Adam, betas: [0.9, ▸2]}\nsteps: 1": [
        "optimizer.betas.1: must be < 1 (got 2)",
    ],
    "problem: bowl\noptimizer: {name: Adam, betas: ▸[0.9]}\nsteps: 1": [
        "optimizer.betas: must be a list of 2: [beta1, beta2] (got [0.9])",
    ],
    "problem: bowl\noptimizer: {name: Adam, betas: ▸[0.9, 0.9], beta2: 0.9}\nsteps: 1": [
        "optimizer.betas: betas and beta2 are both set: choose one",
    ],
    "problem: bowl\noptimizer: {name: SGD, lr: ▸.nan, momentum: ▸.inf}\nsteps: 1": [
        "optimizer.lr: must be finite (got .nan)",
        "optimizer.momentum: must be finite (got .inf)",
    ],
    "problem: bowl\noptimizer: {name: SGD, lr: ▸true, nesterov: ▸1}\nsteps: 1": [
        "optimizer.lr: must be a number (got true)",
        "optimizer.nesterov: must be true or false (got 1)",
    ],
    "problem: bowl\noptimizer: {name: SGD, lr: ▸'1e-3', momentum: ▸1_0, nesterov: ▸no}\nsteps: 1": [
        "optimizer.lr: must be a number (got '1e-3'); '1e-3' is a string here: remove the quotes",
        "optimizer.momentum: must be a number (got '1_0'); '1_0' is a string here: write 10",
        "optimizer.nesterov: must be true or false (got 'no'); 'no' is a string here: write false",
    ],
    "problem: bowl\noptimizer:\n  name: SGD\n  lr: ▸0,01\n  momentum: ▸1,000\nsteps: ▸10,000": [
        "optimizer.lr: must be a number (got '0,01'); a number has a decimal point and no other mark: write 0.01",
        "optimizer.momentum: must be a number (got '1,000'); a number has a decimal point and no other mark: "
        "write 1000 or 1.000",
        "steps: must be an integer (got '10,000'); a number has a decimal point and no other mark: write 10000",
    ],
    "problem: bowl\noptimizer: {name: SGD, lr: 0,▸01}\nsteps: 1": [
        "optimizer.01: 0,01 is a value and a key here: a number has a decimal point, 0.01",
    ],
    "problem: bowl\noptimizer: {name: SGD, lr: 0, ▸01}\nsteps: 1": [
        "optimizer.01: a key must be a string: write '01' in quotes",
    ],
    "problem: {name: bowl, dim: ▸2..5}\noptimizer: SGD\nsteps: 1\nseed: ▸0..3": [
        "problem.dim: must be an integer (got '2..5'); to sweep over values write {range: [2, 6]} "
        "under sweep.parameters",
        "seed: must be an integer (got '0..3'); to have several, give a sweep repeats: 4, "
        "or seed=0,1,2 to its command",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\nseed: ▸[0, 1]": [
        "seed: must be an integer (got [0, 1]); to have several, give a sweep repeats: 4, "
        "or seed=0,1,2 to its command",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\nrecord: ▸[loss]\nevaluate: ▸10\ncheckpoint: ▸30s": [
        "record: must be a mapping such as {every: 10, metrics: [grad_norm]} (got ['loss'])",
        "evaluate: must be a mapping such as {every: 100} (got 10)",
        "checkpoint: must be a mapping such as {every: 30s} (got '30s')",
    ],
    "problem: bowl\noptimizer: {name: SGD, lr: ▸null}\nsteps: 1": [
        "optimizer.lr: must be a number (got null); leave the key out, or write its default",
    ],
    "problem: bowl\noptimizer: {name: SGD, nesterov: ▸true}\nsteps: 1": [
        "optimizer.nesterov: needs momentum",
    ],
    "problem: bowl\noptimizer: {name: SGD, param_groups: [▸{lr: 1}, {params: a, ▸lrr: 2}]}\nsteps: 1": [
        "optimizer.param_groups.0.params: missing",
        "optimizer.param_groups.1.lrr: unknown key. Did you mean 'lr'?",
    ],
    "problem: bowl\noptimizer: {name: SGD, param_groups: [{params: a, nesterov: ▸true}]}\nsteps: 1": [
        "optimizer.param_groups.0.nesterov: needs momentum",
    ],
    "problem: bowl\noptimizer: {name: SGD, param_groups: [{params: a, ▸wrap: [Lookahead]}]}\nsteps: 1": [
        "optimizer.param_groups.0.wrap: unknown key. Did you mean 'optimizer.wrap'?",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\nschedules: {problem.batch_size: ▸{name: StepLR, step_size: 9}}": [
        "schedules.problem.batch_size: has no schedule: the batch grows at the epochs problem.batch_milestones",
    ],
    "problem: {name: net, data: d, hidden: ▸64}\noptimizer: SGD\nsteps: 1": [
        "problem.hidden: must be a list (got 64); a list is written [64]",
    ],
    "problem: {name: net, data: ▸5, hidden: [1, ▸0]}\noptimizer: SGD\nsteps: 1": [
        "problem.data: must be a string (got 5); put it in quotes",
        "problem.hidden.1: must be ≥ 1 (got 0)",
    ],
    "problem: {name: net, data: d, activation: ▸rleu}\noptimizer: SGD\nsteps: 1": [
        "problem.activation: must be 'relu' or 'tanh' or 'gelu' (got 'rleu'). Did you mean 'relu'?",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\nscheduler:\n  name: SequentialLR\n"
    "  schedulers: [▸StepLR, {name: ▸RangLR}, ▸3]\n  milestones: [2, ▸2.5]": [
        "scheduler.schedulers.0.step_size: missing",
        "scheduler.schedulers.1.name: unknown scheduler 'RangLR'. Did you mean 'RangeLR'?",
        "scheduler.schedulers.2: must be the name of a scheduler, or a mapping with 'name' (got 3)",
        "scheduler.milestones.1: must be an integer (got 2.5)",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\n"
    "scheduler: {name: SequentialLR, schedulers: [{name: RangeLR, base: 1}], milestones: ▸[2, 1]}": [
        "scheduler.milestones: must rise",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\nscheduler: {name: RangeLR, base: ▸x}": [
        "scheduler.base: must be a number or a list (got 'x')",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\nscheduler: {name: RangeLR, base: [1, ▸x]}": [
        "scheduler.base.1: must be a number (got 'x')",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: ▸0.5\nseed: ▸-1\ndtype: ▸float23\nengine: ▸nupmy\nbackend: ▸1": [
        "steps: must be an integer (got 0.5)",
        "seed: must be ≥ 0 (got -1)",
        "dtype: must be 'float32' or 'float64' (got 'float23'). Did you mean 'float32'?",
        f"engine: must be {' or '.join(map(repr, ENGINES))} (got 'nupmy'). Did you mean 'numpy'?",
        "backend: must be 'numpy' or 'cupy' (got 1)",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\nbackend: cupy\nengine: ▸numpy": [
        "engine: the numpy engine runs on the numpy backend, not on cupy: set backend to numpy, or engine to auto",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\nengine: ▸cupy": [
        "engine: the cupy engine runs on the cupy backend, not on numpy: set backend to cupy, or engine to auto",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: ▸1e300": [
        "steps: must be an integer (got 1e+300)",
    ],
    "problem: bowl\noptimizer: {name: Adam, ▸lrr: 1, betas: ▸[0.9]}\nsteps: 1": [
        "optimizer.lrr: unknown key. Did you mean 'lr'?",
        "optimizer.betas: must be a list of 2: [beta1, beta2] (got [0.9])",
    ],
    "problem: bowl\noptimizer: {name: SGD, lr: ▸[0.1, 0.2]}\nsteps: 1": [
        "optimizer.lr: must be a number (got [0.1, 0.2]); to try several, list them under sweep.parameters, or write "
        "1e-3,1e-2 in a sweep",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\nname: ▸''": [
        "name: must not be empty",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\nrecord: {metrics: [▸los, ▸grad_nrom]}": [
        f"record.metrics.0: must be {METRICS} (got 'los'). Did you mean 'loss'?",
        f"record.metrics.1: must be {METRICS} (got 'grad_nrom'). Did you mean 'grad_norm'?",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\ncheckpoint: {every: 30}\nstop: {time: ▸30, ▸tim: 1}": [
        "stop.time: must be a duration such as 500ms, 30s, 5m or 1h30m (got 30)",
        "stop.tim: unknown key. Did you mean 'time'?",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\ncheckpoint: {every: ▸30 s}": [
        "checkpoint.every: must be a duration such as 500ms, 30s, 5m or 1h30m (got '30 s')",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\ncheckpoint: {every: ▸[1]}": [
        "checkpoint.every: must be an integer or a duration such as 30s or null (got [1])",
    ],
    "problem: bowl\noptimizer: SGD\nsteps: 1\nrecord: ▸null\nstop: ▸3": [
        "record: must be a mapping such as {every: 10, metrics: [grad_norm]} (got null); "
        "leave the key out, or write {}",
        "stop: must be a mapping such as {target: 1e-6, patience: 100} (got 3)",
    ],
    "▸- problem": [
        "a config is a mapping of keys to values",
    ],
    "▸just text": [
        "a config is a mapping of keys to values",
    ],
}

UNREADABLE = {
    "▸": [
        "the config is empty",
    ],
    "▸# nothing\n": [
        "the config is empty",
    ],
    "a: [1, 2\nb▸: 3\n": [
        "a comma or ']' is missing (it starts at line 1)",
    ],
    "a: {b: 1\n▸": [
        "a comma or '}' is missing (it starts at line 1)",
    ],
    "a:\n▸\tb: 1\n": [
        "a tab cannot indent YAML: use spaces",
    ],
    "a:\n  b: 1\n▸\tc: 2\n": [
        "a tab cannot indent YAML: use spaces",
    ],
    "a: 'x\n▸": [
        "a quote is not closed (it starts at line 1)",
    ],
    "a: ▸@x\n": [
        "a value cannot start with this character; quote it",
    ],
    "- a\n▸b: 1\n": [
        "a list item that starts with '- ' is expected here (it starts at line 1)",
    ],
    "a: 1\n▸---\nb: 2\n": [
        "a second document: a config is one document, without '---' inside",
    ],
    "a: ▸\x00\n": [
        "the character U+0000 is not allowed in YAML: is this a text file?",
    ],
    "a: 1\nb: ▸\x1b[0m\n": [
        "the character U+001B is not allowed in YAML: is this a text file?",
    ],
    "a: " + "[" * 31 + "▸" + "[" * 9: [
        "nested deeper than 32 levels",
    ],
    "▸" + "k" * 300 + ": 1": [
        "a key of 300 characters",
    ],
    "▸▸▸▸a: 1\n▸b: 2\n▸a: 3\n▸1: 4\n▸<<: {c: 5}\n? ▸[d]\n: 6\nn: ▸1e999\nu: ▸*u\nt: ▸!x y": [
        f"a: unknown key. {KNOWN}",
        "problem: missing",
        "optimizer: missing",
        "steps: missing: how long is the run? Give steps or epochs",
        f"b: unknown key. {KNOWN}",
        "a: duplicate key (first at line 1)",
        "1: a key must be a string: write '1' in quotes",
        "<<: merge keys (<<) are not part of YAML 1.2: write the keys out",
        "?: a key must be a string",
        "n: the number 1e999 is too large for a float",
        "u: nothing before this is marked &u, so *u stands for nothing",
        "t: the tag !x means nothing in a config: remove it",
    ],
    "▸▸steps: ▸&a [▸*a]\n": [
        "problem: missing",
        "optimizer: missing",
        "steps: must be an integer (got [null])",
        "steps.0: nothing before this is marked &a, so *a stands for nothing",
    ],
    "steps: 1\n▸steps: [\n▸": [
        "steps: duplicate key (first at line 1)",
        "a value is expected here",
    ],
}


@pytest.mark.parametrize(("marked", "expected"), [*MISTAKES.items(), *UNREADABLE.items()])
def test_a_mistake_has_its_place_and_says_what_was_meant(marked: str, expected: list[str]) -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse(marked.replace("▸", ""), "f.yaml")
    places = [
        f"{line}:{column - earlier}"
        for line, text in enumerate(marked.split("\n"), 1)
        for earlier, column in enumerate(i for i, char in enumerate(text, 1) if char == "▸")
    ]
    assert str(caught.value).splitlines() == [
        f"f.yaml:{place}: {message}" for place, message in zip(places, expected, strict=True)
    ]


def test_the_issues_can_be_read_by_a_program() -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse("problem: bowl\noptimizer: {name: SGD, lr: -1}\nsteps: 1", "f.yaml")
    (issue,) = caught.value.issues
    assert (issue.file, issue.line, issue.column, issue.path) == ("f.yaml", 2, 28, "optimizer.lr")
    assert caught.value.field == "optimizer.lr"


def test_plain_values_have_paths_alone() -> None:
    with pytest.raises(ConfigErrors) as caught:
        from_mapping({"problem": "bowl", "optimizer": {"name": "SGD", "lrr": 1}, "steps": "1"})
    assert str(caught.value).splitlines() == [
        "<config>: optimizer.lrr: unknown key. Did you mean 'lr'?",
        "<config>: steps: must be an integer (got '1'); '1' is a string here: remove the quotes",
    ]
    looped: dict[str, object] = {}
    looped["a"] = looped
    for bad, message in (
        ({"a": {1: 2}}, "<config>: a: a key must be a string (got 1)"),
        ({"a": [{2, 3}]}, "<config>: a.0: a config holds plain values, not set"),
        ({"a": "\ud800"}, "<config>: a: '\\ud800' holds a character that no text has"),
        ({"a\ud800": 1}, "<config>: a key must be a string (got 'a\\ud800')"),
        (looped, "nested deeper than 32 levels"),
    ):
        with pytest.raises(ConfigErrors) as caught:
            from_mapping(bad)  # type: ignore[arg-type]
        assert str(caught.value).endswith(message)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits_mlp.yaml").write_text("")
    Path("folder").mkdir()
    Path("latin.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    Path("utf16.yaml").write_bytes("a: 1".encode("utf-16"))
    Path("huge.yaml").write_bytes(b"#" * (2**20 + 1))
    Path("zip.yaml").write_bytes(b"PK\x03\x04" + bytes(range(32)))
    for name, message in {
        "digits_mpl.yaml": "digits_mpl.yaml: no such file or directory. Did you mean 'digits_mlp.yaml'?",
        "nowhere/at/all.yaml": "nowhere/at/all.yaml: no such file or directory",
        "folder": "folder: is a directory",
        "latin.yaml": "latin.yaml:2:4: byte 0xe9 is not UTF-8 text",
        "utf16.yaml": "utf16.yaml:1:1: byte 0xff is not UTF-8 text",
        "huge.yaml": "huge.yaml:1:1: larger than 1 MiB: is this a config?",
        "zip.yaml": "zip.yaml:1:3: the character U+0003 is not allowed in YAML: is this a text file?",
    }.items():
        with pytest.raises(ConfigErrors) as caught:
            load(name)
        assert str(caught.value) == message


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no device that never ends")
def test_a_file_without_an_end() -> None:
    with pytest.raises(ConfigErrors, match="larger than 1 MiB"):
        load("/dev/zero")
