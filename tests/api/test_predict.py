"""Predictions of stored runs: the model as plain NumPy computes it, figures to the bit, and what is refused."""

import csv
import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest

import optrun
from optrun.errors import ConfigError, OptrunWarning, StoreError
from optrun.problems.data import Target
from optrun.problems.data.new_samples import NewSamples, known_targets
from optrun.registry import problems
from optrun.store import Store
from optrun.store.event_names import PREPARED
from tests.cli.looking import call
from tests.missing import without
from tests.registries import restore_after

__all__ = ["call"]

COLOURS = ("blue", "green", "red")


def rows_of(count, seed=0):
    """Return rows with two numbers, a colour, a part, a kind of three, and a price."""
    draws = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        length, width = draws.normal(1.0, 2.0), draws.normal(50.0, 9.0)
        colour = COLOURS[draws.integers(3)]
        score = length + (width - 50) / 9 + (colour == "red")
        kind = "ash" if score < 0.5 else "elm" if score < 2 else "oak"
        part = ("train", "train", "train", "test")[i % 4]
        rows.append([length, width, colour, part, kind, 1000 + 100 * score])
    return rows


NAMES = ["length", "width", "colour", "part", "kind", "price"]


def write(path, rows, names=NAMES):
    places = [NAMES.index(name) for name in names]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *([row[i] for i in places] for row in rows)])
    return str(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "all.csv", rows_of(80))
    write(tmp_path / "test.csv", [row for row in rows_of(80) if row[3] == "test"])
    return tmp_path


def train(problem, **more):
    """Run a problem on the table, store it, and read it back."""
    target = problem.pop("target", "kind")
    table = {
        "data": "./all.csv",
        "split": "part",
        "target": target,
        "features": ["length", "width", "colour"],
    }
    config = {
        "problem": {**table, **problem},
        "optimizer": {"name": "Adam", "lr": 0.05},
        "steps": 30,
        "dtype": "float64",
        **more,
    }
    return optrun.load_run(optrun.run(config).path)


def plain_outputs(run, rows):
    """Return the outputs ``[N, o]`` as the stored preparation of the run says, by NumPy alone, and its target."""
    with Store.open(run.path) as store:
        (event,) = store.events(PREPARED)
    (card,) = event.details["preparations"].values()
    return forward(card, run.params, run.config["problem"].get("activation"), rows), card["target"]


def forward(card, params, activation, rows):
    features = np.array([[row[0], row[1], *(float(row[2] == each) for each in COLOURS)] for row in rows])
    assert [each["name"] for each in card["columns"]] == NAMES[:3]
    assert card["columns"][2]["values"] == list(COLOURS)
    if card["scaling"] is not None:
        features = (features - card["scaling"]["shift"]) / card["scaling"]["scale"]
    layers = max((int(name[5]) for name in params if name.startswith("layer")), default=0)
    names = [f"layer{i}." for i in range(1, layers + 1)] or [""]
    function = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}.get(activation)
    for i, name in enumerate(names):
        features = features @ params[f"{name}weight"] + params.get(f"{name}bias", 0.0)
        if i < len(names) - 1:
            features = function(features)
    return features


@pytest.mark.parametrize(
    "problem",
    [
        {"name": "mlp", "hidden": [7, 5]},
        {"name": "mlp", "hidden": [6], "activation": "tanh", "bias": False, "batch_size": 8},
        {"name": "softmax_regression", "standardize": False, "class_weight": "balanced"},
    ],
)
def test_classes_are_those_of_plain_numpy(folder, problem):
    run = train(problem)
    new = rows_of(20, seed=1)
    path = write(folder / "new.csv", new, ["colour", "width", "length"])
    outputs, target = plain_outputs(run, new)
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    assert run.classes == ("ash", "elm", "oak") == tuple(target["classes"])
    np.testing.assert_allclose(run.predict_proba(path), shares, rtol=1e-12, atol=1e-15)
    assert run.predict(path).tolist() == [target["classes"][i] for i in outputs.argmax(axis=1)]


def test_two_classes_have_a_probability_each_and_numbers_are_in_their_units(folder):
    for row in (rows := rows_of(80)):
        row[4] = "yes" if row[4] == "oak" else "no"
    write(folder / "all.csv", rows)
    new = rows_of(20, seed=1)
    path = write(folder / "new.csv", new, ["colour", "width", "length"])
    run = train({"name": "logistic_regression"})
    outputs, _ = plain_outputs(run, new)
    one = 1 / (1 + np.exp(-outputs[:, 0]))
    np.testing.assert_allclose(run.predict_proba(path), np.stack([1 - one, one], 1), rtol=1e-12)
    run = train({"name": "linear_regression", "target": "price"})
    outputs, target = plain_outputs(run, new)
    price = outputs[:, 0] * target["scaling"]["scale"] + target["scaling"]["shift"]
    np.testing.assert_allclose(run.predict(path), price, rtol=1e-12)
    with pytest.raises(ConfigError, match="no probabilities"):
        run.predict_proba(path)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("problem", "metrics"),
    [
        ({"name": "mlp", "hidden": [7], "l2": 0.1, "class_weight": {"oak": 3}}, ["f1_macro", "log_loss"]),
        ({"name": "softmax_regression", "batch_size": 8}, ["brier"]),
        ({"name": "linear_regression", "target": "price"}, ["rmse", "r2"]),
    ],
)
def test_figures_on_the_test_samples_are_those_of_the_run_to_the_bit(folder, problem, metrics, dtype):
    run = train(dict(problem), dtype=dtype, evaluate={"metrics": metrics}, average="swa")
    found = run.evaluate("test.csv", metrics=metrics)
    assert found.figures == {name: run.summary[f"test_{name}"] for name in found.figures}
    assert set(metrics) < set(found.figures)
    found = run.evaluate("test.csv", metrics=metrics, average=True)
    assert found.figures == {name: run.summary[f"average_test_{name}"] for name in found.figures}


def test_denormals_are_zeros_as_in_the_run(folder):
    # After the only step each sample is 95 on its side, and its loss, e⁻⁹⁵, denormal.
    rows = [
        [(-1) ** (i // 4), *row[1:4], ("no", "yes")[i // 4 % 2], row[5]] for i, row in enumerate(rows_of(80))
    ]
    write(folder / "all.csv", rows)
    write(folder / "test.csv", [row for row in rows if row[3] == "test"])
    problem = {"name": "logistic_regression", "features": ["length"]}
    run = train(problem, optimizer={"name": "SGD", "lr": 190.0}, steps=1, dtype="float32")
    figures = run.evaluate("test.csv").figures
    assert figures == {name: run.summary[f"test_{name}"] for name in figures}


def test_exported_parameters_and_their_card_are_all_it_takes(folder, call):
    run = train({"name": "mlp", "hidden": [7], "activation": "tanh"}, record={"params": [0]})
    new = rows_of(20, seed=1)
    path = write(folder / "new.csv", new, ["colour", "width", "length"])
    assert call("export", run.path, "--what", "params", "-o", "p.npz").code == 0
    with np.load("p.npz", allow_pickle=False) as read:
        card = json.loads(read["card"].item())
        params = {name[7:]: read[name] for name in read.files if name.startswith("step30/")}
    assert card["config"] == run.config
    assert card["figures"] == run.summary
    outputs = forward(card["preparation"], params, card["config"]["problem"]["activation"], new)
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(run.predict_proba(path), shares, rtol=1e-12, atol=1e-15)
    safetensors = pytest.importorskip("safetensors")
    assert call("export", run.path, "--what", "params", "-o", "p.safetensors").code == 0
    with safetensors.safe_open("p.safetensors", "np") as read:
        assert json.loads(read.metadata()["card"]) == card
        found = {name: read.get_tensor(name) for name in read.keys()}  # noqa: SIM118
    assert found.keys() == {*run.params, *(f"step0/{name}" for name in run.params)}
    for name, values in run.params.items():
        assert found[name].dtype == values.dtype
        assert found[name].tobytes() == params[name].tobytes() == values.tobytes()
        assert found[f"step0/{name}"].tobytes() == run.params_at(0)[name].tobytes()
    assert call("export", run.path, "-o", "again.safetensors").code == 0
    assert (folder / "again.safetensors").read_bytes() == (folder / "p.safetensors").read_bytes()
    assert call("export", run.path, "--what", "curves", "-o", "p.safetensors").code == 2


def test_without_safetensors_the_message_installs_it(folder, call, monkeypatch):
    run = optrun.run({"problem": "rosenbrock", "optimizer": "SGD", "steps": 2})
    without(monkeypatch, "safetensors")
    code, _, err = call("export", run.path, "--what", "params", "-o", "p.safetensors")
    assert (code, "pip install safetensors" in err) == (3, True)


@pytest.mark.full
@pytest.mark.parametrize(
    ("ending", "package"), [("parquet", "pyarrow"), ("xlsx", "openpyxl"), ("json", "json")]
)
def test_predictions_are_written_in_the_formats_of_exports(folder, call, ending, package):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip(package)
    run = train({"name": "mlp", "hidden": [4]})
    assert call("predict", run.path, "test.csv", "-o", f"p.{ending}").code == 0
    read = {"parquet": pandas.read_parquet, "xlsx": pandas.read_excel, "json": pandas.read_json}[ending]
    found = read(f"p.{ending}")
    assert list(found) == ["line", "predicted", *(f"probability_{name}" for name in run.classes)]
    assert found["line"].tolist() == list(range(2, 22))
    assert found["predicted"].tolist() == run.predict("test.csv").tolist()
    np.testing.assert_allclose(found.iloc[:, 2:], run.predict_proba("test.csv"), rtol=1e-9)


@pytest.mark.full
def test_samples_come_as_data_frames_arrays_and_files_of_arrays(folder):
    pandas = pytest.importorskip("pandas")
    run = train({"name": "mlp", "hidden": [4]})
    frame = pandas.read_csv("all.csv")
    assert run.predict(frame).tolist() == run.predict("all.csv").tolist()
    frame["colour"] = frame["colour"].astype("category")
    assert run.evaluate(frame).figures == run.evaluate("all.csv").figures
    with pytest.raises(ConfigError, match="'colour'.*words|colour are words"):
        run.predict(np.zeros((2, 3)))
    config = {"problem": {"name": "softmax_regression", "data": "iris"}, "optimizer": "Adam", "steps": 3}
    memory = optrun.run(config, save=False)
    samples = np.random.default_rng(0).normal(size=(5, 4))
    np.savez("new.npz", X=samples)
    np.savez("labelled.npz", X=samples, y=memory.predict(samples))
    assert (
        memory.predict(samples).tolist()
        == optrun.load_run(optrun.run(config).path).predict("new.npz").tolist()
    )
    sweep = optrun.sweep({**config, "sweep": {"repeats": 2}}, save=False)
    assert sweep.runs[0].predict_proba(samples).tobytes() == memory.predict_proba(samples).tobytes()
    assert memory.evaluate("labelled.npz").figures["accuracy"] == 1
    assert memory.evaluate(samples, memory.predict(samples)).confusion.sum() == 5
    with pytest.raises(ConfigError, match=r"shape \(3,\)"):
        memory.predict(samples[:, :3])


def test_a_model_trained_on_arrays_takes_the_columns_of_a_data_frame_in_order_and_no_file_of_a_table(folder):
    pandas = pytest.importorskip("pandas")
    config = {"problem": {"name": "softmax_regression", "data": "iris"}, "optimizer": "Adam", "steps": 3}
    run = optrun.run(config, save=False)
    samples = np.random.default_rng(0).normal(size=(5, 4))
    frame = pandas.DataFrame(samples, columns=["a", "b", "c", "d"])
    assert run.predict(frame).tolist() == run.predict(samples).tolist()
    with pytest.raises(ConfigError, match=r"shape \(3,\)"):
        run.predict(frame[["a", "b", "c"]])
    with pytest.raises(ConfigError, match="an array of numbers, as in training, is expected, not object"):
        run.predict(frame.assign(a="x"))
    with pytest.raises(ConfigError, match=r"'test.csv' is a table, .* arrays of shape \(4,\)"):
        run.predict("test.csv")


def test_the_command_names_all_that_lacks_and_tells_what_it_does_not_use(folder, call):
    run = train({"name": "mlp", "hidden": [4]})
    new = rows_of(12, seed=1)
    new[0][2] = "violet"
    path = write(folder / "new.csv", new, ["price", "colour", "width", "length"])
    code, out, err = call("predict", str(run.path), path)
    assert code == 0
    assert out.splitlines()[0].split() == ["line", "kind", "ash", "elm", "oak"]
    assert len(out.splitlines()) == 11
    assert "not used: 'price'" in err
    unknown = (
        "1 cell of 'colour' has a word that no training sample has, such as 'violet': all features of the column "
        "are 0 there"
    )
    assert f"note: {unknown}\n" in err
    assert "2 more samples" in err
    code, out, err = call("predict", str(run.path), "gone.csv")
    assert (code, out, err) == (2, "", "data: 'gone.csv': no such file\n")
    code, out, err = call("predict", str(run.path), path, "-o", "p.csv")
    with open("p.csv") as file:
        found = list(csv.DictReader(file))
    with pytest.warns(OptrunWarning, match=f"^{unknown}$") as said:
        classes = run.predict(path).tolist()
    assert [each.filename for each in said] == [__file__]
    with pytest.warns(OptrunWarning, match=f"^{unknown}$"):
        shares = run.predict_proba(path)
    with pytest.warns(OptrunWarning, match=f"^{unknown}$"):
        run.evaluate(path, classes)
    assert [row["predicted"] for row in found] == classes
    assert [float(row["probability_elm"]) for row in found] == shares[:, 1].tolist()
    code, out, _ = call("predict", str(run.path), path, "--json")
    assert (json.loads(out)["predicted"], json.loads(out)["unknown"]) == (classes, {"colour": 1})
    call("predict", str(run.path), path, "-o", "p.npz")
    assert np.load("p.npz")["predicted"].tolist() == classes
    rows = [f"{row[0]:.1f};{row[1]:.1f};{row[2]}".replace(".", ",") for row in new[1:]]
    (folder / "semicolons.csv").write_text("length;width;colour\n" + "\n".join(rows))
    for decimal, says in (([], 0), (["--decimal", ","], 0), (["--decimal", "."], 2), (["--decimal", ";"], 2)):
        code, out, err = call("predict", str(run.path), "semicolons.csv", *decimal)
        assert code == says, err
        assert err.startswith(
            "decimal: must be '.' or ','"
            if ";" in decimal
            else "note: read as separated by ;, decimal commas\n"
            if not says
            else "data: 'length' has 11 words"
        )
    code, out, _ = call("predict", str(run.path), "semicolons.csv", "--json")
    assert json.loads(out)["understood"] == ["separated by ;", "decimal commas"]
    path = write(folder / "bad.csv", new, ["price", "colour"])
    code, _, err = call("predict", str(run.path), path)
    assert code == 2
    assert "'length'" in err
    assert "'width'" in err
    code, _, err = call("evaluate", str(run.path), "new.csv")
    assert code == 2
    assert "no target 'kind'" in err
    code, out, _ = call("evaluate", str(run.path), "test.csv", "--metrics", "f1_macro", "--json")
    assert np.sum(json.loads(out)["confusion"]) == 20
    code, _, err = call("evaluate", str(run.path), "test.csv", "--metrics", "rmse")
    assert code == 2
    assert "rmse does not suit" in err


def test_neither_data_nor_plugins_are_touched(folder, call):
    run = train({"name": "mlp", "hidden": [4]})
    expected = run.predict("test.csv").tolist()
    (folder / "all.csv").unlink()
    assert optrun.load_run(run.path).predict("test.csv").tolist() == expected
    with closing(sqlite3.connect(run.path / "results.sqlite")) as db, db:
        db.execute("DELETE FROM events WHERE kind = 'prepared'")
    with pytest.raises(StoreError, match=r"an older optrun ran it.*optrun run "):
        optrun.load_run(run.path).predict("test.csv")
    plain = optrun.run({"problem": "rosenbrock", "optimizer": "SGD", "steps": 2})
    code, _, err = call("predict", str(plain.path), "test.csv")
    assert code == 2
    assert "rosenbrock predicts nothing" in err
    plain.record.config["problem"]["name"] = "strange"
    with pytest.raises(ConfigError, match="--plugin FILE"):
        plain.predict("test.csv")


def test_columns_without_names_are_those_of_training(folder):
    rows = [f"{row[0]:.1f};{row[1]:.1f};{row[4]}".replace(".", ",") for row in rows_of(40)]
    (folder / "plain.csv").write_text("\n".join(rows))
    (folder / "one.csv").write_text(rows[0].rpartition(";")[0])
    problem = {"name": "softmax_regression", "data": "./plain.csv", "header": False}
    run = optrun.run({"problem": problem, "optimizer": "Adam", "steps": 3}, save=False)
    assert run.predict("one.csv").tolist() == run.predict("plain.csv").tolist()[:1]
    assert run.evaluate("plain.csv").samples == 40
    with pytest.raises(ConfigError, match=r"'gone\.csv': no such file"):
        run.predict("gone.csv")


def test_a_plugin_is_loaded_only_where_it_is_asked_for(folder, call):
    plugin = folder / "mine.py"
    plugin.write_text(
        "from pathlib import Path\n"
        "from optrun.problems.networks import MLP\n"
        "Path('executed').touch()\n\n\n"
        "class MyNetwork(MLP):\n"
        "    '''Mine.'''\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        restore_after(patch, problems)
        problem = {"name": "my_network", "data": "./all.csv", "target": "kind", "drop": ["part"]}
        config = {"problem": problem, "optimizer": "Adam", "steps": 2}
        path = optrun.run(config, plugins=[str(plugin)]).path
    (folder / "executed").unlink()
    code, _, err = call("predict", path, "test.csv")
    assert (code, "'my_network' is of a plugin" in err) == (2, True)
    assert call("export", path, "--what", "params", "-o", "mine.npz").code == 0
    assert not (folder / "executed").exists()
    with pytest.MonkeyPatch.context() as patch:
        restore_after(patch, problems)
        other = plugin.rename("other.py")  # a file is loaded once
        assert call("predict", path, "test.csv", "--plugin", other).code == 0
    assert (folder / "executed").exists()


def test_rows_that_training_left_out_are_left_out(folder, call):
    rows = rows_of(80)
    rows[2][0] = rows[7][2] = ""
    write(folder / "all.csv", rows)
    for problem in ({"name": "softmax_regression"}, {"name": "linear_regression", "target": "price"}):
        run = train({**problem, "missing": "drop"})
        found = run.evaluate("all.csv")
        assert (found.samples, found.left_out) == (78, 2)
        write(folder / "complete.csv", [row for row in rows if "" not in row])
        assert run.evaluate("complete.csv").figures == found.figures
        with pytest.raises(ConfigError, match=r"'length' lacks 1 value \(line 4\).*leave out such rows"):
            run.predict("all.csv")
        code, out, err = call("predict", run.path, "all.csv", "-o", "p.csv")
        assert (code, out) == (0, "p.csv\n")
        assert "2 rows with missing cells left out, as of training by missing: drop (lines 4, 9)" in err
        with open("p.csv") as file:
            found = list(csv.DictReader(file))
        assert [int(row["line"]) for row in found] == [i for i in range(2, 82) if i not in (4, 9)]
        assert [row["predicted"] for row in found] == list(map(str, run.predict("complete.csv").tolist()))


def test_the_file_of_the_samples_is_not_written_over(folder, call):
    run, before = train({"name": "softmax_regression"}), (folder / "test.csv").read_text()
    code, _, err = call("predict", run.path, "test.csv", "-o", "./test.csv")
    assert (code, (folder / "test.csv").read_text()) == (2, before)
    assert "test.csv has the samples: give another file" in err


@pytest.mark.parametrize(
    ("name", "target", "said"),
    [
        ("linear_regression", "price", "the target 'abc' in line 5 is no number"),
        ("softmax_regression", "kind", r"no class 'abc' \(line 5\)"),
    ],
)
def test_a_bad_target_is_named_with_its_line(folder, name, target, said):
    run = train({"name": name, "target": target})
    rows = rows_of(9)
    rows[3][4] = rows[3][5] = "abc"
    with pytest.raises(ConfigError, match=said):
        run.evaluate(write(folder / "bad.csv", rows))


@pytest.mark.parametrize(
    ("name", "target", "targets"),
    [("softmax_regression", "kind", ["ash", "oak"]), ("linear_regression", "price", [1, 0])],
)
def test_samples_that_are_none_or_not_finite_are_refused(folder, name, target, targets):
    section = {"name": name, "data": "./all.csv", "target": target, "features": ["length", "width"]}
    run = optrun.run({"problem": section, "optimizer": "Adam", "steps": 3}, save=False)
    (folder / "empty.csv").write_text(",".join(NAMES) + "\n")
    for none in (np.zeros((0, 2)), "empty.csv"):
        with pytest.raises(ConfigError, match="there is no sample"):
            run.predict(none)
    np.savez("two.npz", X=[[1, 2], [3, 4]])
    assert run.predict("two.npz").tolist() == run.predict([[1, 2], [3, 4]]).tolist()
    with pytest.raises(ConfigError, match=r"'width' is not finite \(row 2\)"):
        run.evaluate(np.array([[1, 2], [3, -np.inf]]), targets)


def test_booleans_are_the_words_of_a_table():
    new = NewSamples(np.zeros((2, 1)), np.array([True, False]))
    target = Target("y", ("False", "True"), of="booleans")
    assert known_targets(new, target)[1].tolist() == [1, 0]
