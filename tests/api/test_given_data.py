"""Samples that Python gives, as a data frame or as arrays, are those of a file that holds them."""

import numpy as np
import pytest

import optrun
from optrun.errors import ConfigError, MissingExtraError
from tests.missing import without

CONFIG = {
    "problem": {"name": "softmax_regression", "target": "kind"},
    "optimizer": {"name": "Adam", "lr": 0.1},
    "steps": 5,
    "dtype": "float64",
}
LINES = [f"{i % 7}.5,{('01', '1')[i % 2]},{'no' if i % 3 else 'yes'}" for i in range(30)]


@pytest.fixture
def frame(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.csv").write_text("\n".join(["length,code,kind", *LINES]))
    return pandas.read_csv("d.csv", dtype={"code": str})


def test_a_data_frame_is_its_file_to_a_run_that_goes_on(frame):
    pytest.importorskip("pyarrow")
    problem = {**CONFIG["problem"], "data": "./d.csv", "categories": ["code"]}
    expected = optrun.run({**CONFIG, "problem": problem, "steps": 8}, save=False)
    run = optrun.run(CONFIG, data=frame, overrides=["steps=5"])
    (file,) = (run.path.parent / "data").iterdir()
    assert run.config["problem"]["data"] == str(file.absolute())
    run = optrun.resume(run.path, steps=8)
    assert run.params["weight"].tobytes() == expected.params["weight"].tobytes()
    assert run.predict(frame).tolist() == expected.predict("d.csv").tolist()
    memory = optrun.run(CONFIG, data=frame, save=False, directory=None)
    assert memory.predict(frame).shape == (30,)
    assert [file] == [*file.parent.iterdir()]
    sweep = optrun.sweep({**CONFIG, "sweep": {"repeats": 2}}, data=frame, save=False)
    assert sweep.runs[0].summary == memory.summary


def test_arrays_are_samples_and_targets(frame):
    x, y = frame[["length"]].to_numpy(), frame["kind"]
    run = optrun.run({**CONFIG, "problem": "softmax_regression"}, data=(x, y), save=False)
    assert run.classes == ("no", "yes")
    assert run.evaluate(x, y).samples == 30


def test_what_is_no_table_is_refused(frame, monkeypatch):
    for wrong, said in [
        ("d.csv", r"pair of arrays \(X, y\) is expected, not 'd.csv'"),
        (frame[["length", "length"]], "several columns have one name"),
        ((np.zeros(3), np.zeros(3)), r"^data: \(X, y\): X: numbers"),
        (
            frame.assign(length=[{1: 2}] * len(frame)),
            "data frame: [^(]*; Conversion failed for column length",
        ),
    ]:
        with pytest.raises(ConfigError, match=said):
            optrun.run(CONFIG | {"problem": "softmax_regression"}, data=wrong, save=False)
    without(monkeypatch, "pyarrow")
    with pytest.raises(MissingExtraError, match=r"optrun\[data\]"):
        optrun.run(CONFIG, data=frame, save=False)
