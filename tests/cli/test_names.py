"""Names: what there is, and what each of it is."""

import inspect
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from optrun.arrays import Arrays
from optrun.cli.views.describe import names
from optrun.config import parse, read
from optrun.config.model.run import metric_names
from optrun.config.sweep.resolve import swept
from optrun.problems.vectors import VectorProblem
from optrun.registry import REGISTRIES, methods, metrics, prediction_metrics, problems
from tests.cli.looking import call, run
from tests.pairs import few_in_short

__all__ = ["call", "run"]

MEASURED = (metrics, prediction_metrics)
CLASSES = [(each.kind, name) for each in REGISTRIES if each not in MEASURED for name in each]


@pytest.mark.parametrize(("kind", "name"), few_in_short(CLASSES, 4))
def test_show_tells_every_option_with_bounds_default_and_place(call, kind, name):
    done = call("show", name)
    assert done.code == 0
    assert done.out.startswith(f"{name} ({kind})\n")
    described = json.loads(call("show", name, "--json").out)
    cls = next(registry for registry in REGISTRIES if registry.kind == kind).find(name)
    assert described["options"].keys() == cls.options().keys()
    for option in cls.options().values():
        (row,) = [line for line in done.out.splitlines() if re.match(rf"{option.name}  ", line)]
        for bound in option.bounds:
            assert str(bound) in row
        assert ("required" in row) is option.required
    assert re.search(r"Defined in \S+\.py:\d+", done.out)
    assert "\x1b" not in done.out


@pytest.mark.parametrize("name", few_in_short(zip(problems), 8))
def test_show_tells_where_runs_of_a_function_start(call, name):
    done, described = call("show", name).out, json.loads(call("show", name, "--json").out)
    cls = problems.find(name)
    if not issubclass(cls, VectorProblem) or cls.options()["start"].required:
        assert "Usual start" not in done
        assert "usual_start" not in described
        return
    assert described["usual_start"] == cls(Arrays(dtype="float64")).start.tolist()
    (told,) = re.findall(r"^Usual start: \((.*)\)$", done, re.MULTILINE)
    np.testing.assert_allclose([*map(float, told.split(", "))], described["usual_start"], rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "name"),
    few_in_short((each for each in CLASSES if each[0] not in ("scheduler", "sweep method")), 4),
)
def test_the_yaml_of_show_is_a_config(call, kind, name):
    kind = "optimizer" if kind.endswith(("transform", "wrapper")) else kind
    stub = call("show", name).out.split(f"\n\n{kind}:\n")[1]
    others = {"problem": "rosenbrock", "optimizer": "SGD"}
    other = "\n".join(f"{section}: {name}" for section, name in others.items() if section != kind)
    if "…" not in stub:
        parse(f"{kind}:\n{stub}{other}\nsteps: 1\n")


@pytest.mark.parametrize("name", few_in_short(zip(methods), 2))
def test_the_yaml_of_show_is_a_sweep(call, name):
    stub = re.sub("….*", "5", call("show", name).out.split("\n\nsweep:\n")[1])
    trials = "  trials: 3\n" * (methods.find(name).trials is True)
    varied = f"{trials}  parameters: {{optimizer.lr: [1, 2]}}\n"
    swept(read(f"problem: rosenbrock\noptimizer: SGD\nsteps: 9\nsweep:\n{stub}{varied}", "f.yaml"))


def test_data_sets_and_metrics_are_names_too(call):
    stubs = {
        "digits": "data: digits",
        "grad_norm": "metrics: [grad_norm]",
        "f1_macro": "F1_c = 2 tp_c / (2 tp_c + fp_c + fn_c)",
        "rmse": "Lower is better. Of a regression: train_rmse, val_rmse, test_rmse.",
    }
    for name, stub in stubs.items():
        done = call("show", name)
        assert done.code == 0
        assert stub in done.out
        assert json.loads(call("show", name, "--json").out)["name"] == name
    listed = call("list", "metrics").out
    assert all(name in listed for name in (*metric_names(), *prediction_metrics))


def test_list_prints_every_name_once_and_cuts_nothing_in_a_pipe(call):
    done = call("list")
    words = [line.split()[0] for line in done.out.splitlines() if line.startswith(" ")]
    assert sorted(words) == sorted(names())
    for table in json.loads(call("list", "--json").out).values():
        for sentence in table.values():
            assert sentence in done.out


def test_transforms_are_listed_with_the_key_that_takes_them(call):
    table = json.loads(call("list", "transforms", "--json").out)["transforms"]
    assert table["ClipNorm"].startswith("gradient: Scale")
    assert table["Cautious"].startswith("update: Take")


def test_a_name_goes_before_the_beginning_of_a_run(call, run):
    path = run()
    path.rename(path.with_name("adam-first"))
    assert call("show", "adam").out.startswith("Adam (optimizer)")
    assert call("show", "adam-f").out.startswith("small: completed")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Adm", "Did you mean 'Adam'"),
        ("digit", "Did you mean 'digits'"),
        ("Numba", "engine=auto|numpy|numba|cupy"),
        ("engines", "optrun doctor lists what is installed"),
        ("smal-rum", "Did you mean 'small-run'"),
    ],
)
def test_what_is_unknown_is_looked_for_among_names_and_runs(call, run, name, message):
    path = run()
    path.rename(path.with_name("small-run"))
    done = call("show", name)
    assert done.code == 2
    assert message in done.err


@pytest.mark.parametrize("name", ["WSD", "goldstein_price"])
def test_lines_of_a_formula_stay_lines(call, name):
    cls = next(each for each in REGISTRIES if name in each).find(name)
    (formula,) = [block for block in inspect.getdoc(cls).split("\n\n") if "\n   " in block]
    assert f"\n\n{formula}\n\n" in call("show", name).out


def test_a_class_without_a_docstring_is_not_described_by_that_of_its_base(call, tmp_path):
    (tmp_path / "mute.py").write_text(
        "from optrun.optim import Optimizer\n\n\nclass Mute(Optimizer):\n    @staticmethod\n"
        "    def update(p, g, t, /, *, lr: float = 1e-3):\n        p -= lr * g\n"
    )
    shown = subprocess.run(
        [sys.executable, "-m", "optrun", "show", "Mute", "--plugin", str(tmp_path / "mute.py")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.startswith("Mute (optimizer)\n\noption")
