"""The border to users' code: whatever a plugin raises fails its run, and whatever it prints goes to stderr."""

import json
import signal
import sys
import xml.etree.ElementTree as ElementTree
from io import StringIO
from pathlib import Path

import pytest

import optrun
from optrun.errors import PluginError, RunFailedError
from optrun.plugin_code import guarded, output_of_caller, output_on_stderr, traceback_of
from optrun.problems import Beale
from optrun.store import Store
from tests.forked import python

RAISING = """\
import sys
from optrun.errors import StoreError
from optrun.problems import Problem

print("imported")


class Bowl(Problem):
    def __init__(self, arrays, *, at: float = 0.0, error: str = "None"):
        print("built")
        super().__init__(arrays)
        self.at, self.error = at, error

    @property
    def shapes(self):
        return {"x": (1,)}

    def initial(self, seed):
        return {"x": [1.0]}

    def loss_and_grad(self, params, grads, batch):
        print("stepped")
        if self.at == 1:
            raise eval(self.error)
        grads["x"][...] = params["x"]
        return params["x"][:, 0] ** 2 / 2

    def evaluate(self, params):
        print("evaluated")
        return {"loss": params["x"][:, 0] ** 2 / 2}
"""
LINE = next(number for number, line in enumerate(RAISING.splitlines(), 1) if "raise eval" in line)
CONFIG = "problem: {name: bowl}\noptimizer: {name: SGD, lr: 0.1}\nsteps: 3\nname: bowl\n"
ERRORS = {
    "SystemExit(0)": "SystemExit: 0",
    "GeneratorExit()": "GeneratorExit",
    "KeyboardInterrupt()": "KeyboardInterrupt",
    "BrokenPipeError(32, 'gone')": "BrokenPipeError: [Errno 32] gone",
    "TimeoutError('no answer')": "TimeoutError: no answer",
    "StoreError('not mine')": "StoreError: not mine",
    "StopIteration('no more')": "StopIteration: no more",
}


def call(*arguments):
    return python("-m", "optrun", *arguments)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "bowl.py").write_text(RAISING)
    (tmp_path / "bowl.yaml").write_text(CONFIG)
    return tmp_path


@pytest.mark.full
@pytest.mark.parametrize("error", ["SystemExit(0)", "BrokenPipeError(32, 'gone')"])
def test_a_run_whose_plugin_raises_has_failed_at_the_line_of_the_plugin(error, files):
    given = ("bowl.yaml", "problem.at=1", f'problem.error="{error}"', "--plugin", "bowl.py", "-o", "one")
    done = call("--debug", "run", *given, "--junit", "r.xml")
    reason = f"{ERRORS[error]} ({files / 'bowl.py'}:{LINE}, after step 0)"
    assert done.returncode == 1
    assert f"\n{reason}" in done.stderr
    assert "Traceback" in done.stderr
    (case,) = ElementTree.parse("r.xml").iter("testcase")
    assert case.find("error").get("message") == reason
    shown = call("show", "one")
    assert f"bowl: failed after 0 steps: {reason}" in shown.stdout
    assert "raise eval(self.error)" in shown.stdout.split("\ntraceback\n")[1].split("\nconfig\n")[0]


@pytest.mark.full
@pytest.mark.parametrize("options", [("-j", "1"), ("-j", "2"), ("-x", "dask", "-j", "1")], ids=" ".join)
def test_in_a_sweep_those_runs_fail_alone_and_stdout_stays_json(options, files):
    if "dask" in options:
        pytest.importorskip("distributed")
    swept = {"problem.at": [0, 1], "problem.error": list(ERRORS)}
    (files / "many.yaml").write_text(f"{CONFIG}sweep: {json.dumps({'parameters': swept})}\n")
    done = call("--debug", "sweep", "many.yaml", "--plugin", "bowl.py", "-o", "many", "--json", *options)
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert found["statuses"] == {"completed": len(ERRORS), "failed": len(ERRORS)}
    place = f"({files / 'bowl.py'}:{LINE}, after step 0)"
    assert [each["reason"] for each in found["failed"]] == [f"{said} {place}" for said in ERRORS.values()]
    assert {"imported", "built", "stepped", "evaluated"} <= set(done.stderr.split())
    assert "raise eval(self.error)" in done.stderr
    first = found["failed"][0]
    with Store.open(Path("many")) as store:
        assert "raise eval(self.error)" in store.traceback(first["run"])
    shown = call("show", "many")
    assert f"1 failed: {first['reason']}\n" in shown.stdout
    assert f"next: optrun show many:{first['run']}\n" in shown.stderr


@pytest.mark.full
def test_what_a_plugin_prints_is_no_part_of_json(files):
    done = call("run", "bowl.yaml", "--plugin", "bowl.py", "--json")
    assert json.loads(done.stdout)["status"] == "completed"
    assert {"imported", "built", "stepped", "evaluated"} <= set(done.stderr.split())


@pytest.mark.full
@pytest.mark.parametrize("command", ["validate", "run", "sweep"])
def test_a_plugin_that_ends_python_at_import_is_named(command, files):
    (files / "tool.py").write_text("import sys\nsys.exit(0)\n")
    done = call(command, "bowl.yaml", "--plugin", "tool.py", "--junit", "r.xml")
    assert done.returncode == 2
    assert done.stderr.startswith(f"plugin 'tool.py': SystemExit: 0 ({files / 'tool.py'}:2)")


@pytest.mark.parametrize("method", ["initial", "shapes", "batches"])
def test_what_is_raised_before_the_first_step_is_an_error_of_the_plugin(method, monkeypatch):
    def leave(*_):
        raise SystemExit(0)

    monkeypatch.setattr(Beale, method, property(leave) if method == "shapes" else leave)
    with pytest.raises(PluginError, match=r"^beale: SystemExit: 0 \(.*test_plugin_code\.py:\d+\)$"):
        optrun.run({"problem": "beale", "optimizer": "SGD", "steps": 1}, save=False)


def test_the_end_of_an_iterator_is_named_with_its_line(monkeypatch):
    monkeypatch.setattr(Beale, "loss_and_grad", lambda *_: next(iter(())))
    with pytest.raises(RunFailedError, match=r"^StopIteration \(.*test_plugin_code\.py:\d+, after step 0\)$"):
        optrun.run({"problem": "beale", "optimizer": "SGD", "steps": 1}, save=False)


@pytest.mark.full
@pytest.mark.parametrize("closed", ["sys.stdout", "sys.stderr", "sys.__stdout__"])
def test_a_plugin_that_closes_streams_closes_none_of_optruns(closed, files):
    (files / "bowl.py").write_text(RAISING.replace('print("stepped")', f"{closed}.close()"))
    done = call("run", "bowl.yaml", "--plugin", "bowl.py", "--json")
    assert json.loads(done.stdout)["status"] == "completed"
    assert "evaluated" in done.stderr  # written after it
    assert "lost" not in done.stderr


@pytest.mark.parametrize(
    ("method", "returned", "complaint"),
    [
        ("evaluate", lambda params: {"loss": 0.5}, r"returns loss of type float, not .* \(1,\)"),
        ("evaluate", lambda params: {"loss": params["x"]}, r"returns loss of shape \(1, 2\), not .* \(1,\)"),
        ("evaluate", lambda params: {"rmse": params["x"][:, 0]}, "does not return a mapping with loss"),
        ("loss_and_grad", lambda *_: 0.5, r"returns a loss of type float, not .* \(1,\)"),
        ("loss_and_grad", lambda params, *_: params["x"], r"returns a loss of shape \(1, 2\), not .* \(1,\)"),
    ],
)
def test_what_a_problem_returns_has_one_number_for_each_lane(method, returned, complaint, monkeypatch):
    monkeypatch.setattr(Beale, method, lambda self, *given: returned(*given))
    with pytest.raises(RunFailedError, match=rf"{complaint}.*test_plugin_code\.py:\d+.*after step"):
        optrun.run({"problem": "beale", "optimizer": "SGD", "steps": 2}, directory="r")
    assert optrun.load_run("r").status == "failed"


@pytest.mark.parametrize("writeable", [True, False])
def test_what_a_problem_returns_may_be_the_same_buffer_each_time(writeable, monkeypatch):
    config = {
        "problem": "beale",
        "optimizer": {"name": "SGD", "lr": 1e-3},
        "steps": 9,
        "evaluate": {"every": 2, "metrics": ["param_norm"]},
        "average": "ema",
        "stop": {"patience": 3},
    }
    expected = optrun.run(config, save=False)
    buffers = {}

    def kept(key, values):
        buffer = buffers.setdefault(key, values.copy())
        buffer[...] = values
        view = buffer.view()
        view.flags.writeable = writeable
        return view

    for method in ("loss_and_grad", "evaluate"):
        real = getattr(Beale, method)

        def again(self, *given, real=real, method=method):
            values = real(self, *given)
            if method == "loss_and_grad":
                return kept(method, values)
            return {name: kept((method, name), figure) for name, figure in values.items()}

        monkeypatch.setattr(Beale, method, again)
    found = optrun.run(config, save=False)
    assert found.summary == expected.summary
    for of in ("curves", "evaluations"):
        for name, values in getattr(expected, of).items():
            assert getattr(found, of)[name].tobytes() == values.tobytes(), name


def test_a_real_interruption_is_none_of_the_plugins():
    with pytest.raises(KeyboardInterrupt), guarded("it"):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(PluginError, match="it: KeyboardInterrupt"), guarded("it"):
        raise KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_onlookers_have_the_stdout_of_their_caller(capsys):
    seen = []

    def look(now):
        seen.append(now)
        print("looked")

    optrun.run({"problem": "beale", "optimizer": "SGD", "steps": 3}, save=False, observe=look)
    assert seen
    assert capsys.readouterr().out == "looked\n" * len(seen)
    before = sys.stdout
    with output_on_stderr(), output_on_stderr():
        assert sys.stdout is sys.stderr
        with output_of_caller():
            assert sys.stdout is before
    assert sys.stdout is before


def test_streams_that_users_code_puts_in_place_of_optruns_are_gone_after_it():
    before = sys.stdout, sys.stderr
    with guarded("it"):
        sys.stdout, sys.stderr = StringIO(), StringIO()
        with output_of_caller():
            assert (sys.stdout, sys.stderr) == before
    try:
        assert (sys.stdout, sys.stderr) == before
    finally:
        sys.stdout, sys.stderr = before


def test_a_traceback_is_of_limited_size_and_valid_text():
    class Unprintable(Exception):
        def __str__(self):
            raise ValueError

    for error in (Unprintable(), ValueError("\udc80" * 100_000)):
        with pytest.raises(PluginError) as caught, guarded("it"):
            raise error
        assert len(str(caught.value).encode()) < 10_000
        assert len(traceback_of(caught.value).encode()) < 100_000


@pytest.mark.full
def test_what_to_type_next_has_the_plugins_that_it_needs(files):
    plugin = ("--plugin", "bowl.py")
    assert " --plugin bowl.py" in call("curves", "--schedule", "bowl.yaml", *plugin).stderr
    code = "raise SystemExit(0)" if sys.platform == "win32" else "os.kill(os.getpid(), 9)"
    (files / "bowl.py").write_text(f"import os\n{RAISING.replace('raise eval(self.error)', code)}")
    call("run", "bowl.yaml", "problem.at=1", "-o", "runs/killed", *plugin)
    resume = "optrun resume runs/killed --plugin bowl.py"
    for command in (("show", "runs/killed"), ("ls",), ("watch", "runs/killed")):
        assert f"next: {resume}\n" in call(*command).stderr
    done = call("resume", "runs/killed")
    assert done.returncode == 2
    assert done.stderr.endswith(f"it was started with plugins: {resume}\n")
