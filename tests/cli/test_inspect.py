"""The commands that look at runs, as a user meets them."""

import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.store import RunState, Status, Store
from tests.cli.looking import call, run

__all__ = ["call", "run"]

DIVERGING = ("problem=rosenbrock", "optimizer=SGD", "optimizer.lr=1", "scheduler=null")


def killed():
    """Return a run whose process is gone: nobody holds its lock, and it says that it is running."""
    with Store.create(
        Path("runs"), "gone", config_yaml="", runs=[({"name": "gone", "steps": 9}, 0)]
    ) as store:
        store.commit(
            curves={0: {"step": [0, 1], "loss": [2.0, 1.0], "lr": [0.1, 0.1]}},
            states={0: RunState(status=Status.RUNNING, steps=2)},
        )
        return store.path


def test_ls_lists_runs_newest_first_and_tells_the_killed(call, run):
    first, second, third = run(), run(*DIVERGING), killed()
    done = call("ls")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [third.name, second.name, first.name]
    assert [line.split()[1] for line in lines[1:]] == ["killed", "diverged", "completed"]
    assert f"next: optrun resume {third}" in done.err
    assert "\x1b" not in done.out + done.err
    assert max(map(len, lines)) == max(len(line.rstrip()) for line in lines)


def test_ls_chooses_by_status_and_number(call, run):
    for _ in range(3):
        run()
    run(*DIVERGING)
    assert len(call("ls", "--status", "completed", "-n", "2").out.splitlines()) == 3
    assert "--limit 0" in call("ls", "-n", "2").err
    listed = json.loads(call("ls", "--json", "--status", "diverged").out)
    assert [each["status"] for each in listed] == ["diverged"]
    assert {"path", "run", "config", "steps", "summary", "created"} <= listed[0].keys()
    assert len(json.loads(call("ls", "--json").out)) == 4
    wrong = call("ls", "--status", "divergd")
    assert (wrong.code, wrong.out) == (2, "")
    assert "Did you mean 'diverged'" in wrong.err


def test_ls_without_runs_is_no_error_but_a_missing_directory_is(call):
    assert call("ls").code == 0
    assert call("ls", "nowhere").code == 2


def test_a_broken_directory_is_listed_and_hides_nothing(call, run):
    path = run()
    Path("runs/bad").mkdir()
    Path("runs/bad/config.yaml").write_text("")
    done = call("ls")
    assert done.code == 0
    assert "bad" in done.out
    assert "broken" in done.out
    assert path.name in done.out


@pytest.mark.parametrize("name", ["latest", "{id}", "{path}", "{prefix}"])
def test_show_describes_a_run_however_it_is_named(call, run, name):
    path = run()
    text = name.format(id=path.name, path=path, prefix=path.name[:-3])
    done = call("show", text)
    assert done.code == 0
    for part in (
        "completed after 30 steps",
        "test_accuracy",
        "lr: 0.01",
        "numpy",
        "created",
        "results.sqlite",
    ):
        assert part in done.out
    assert f"next: optrun curves {path}" in done.err
    document = json.loads(call("show", text, "--json").out)
    assert document["status"] == "completed"
    assert document["config"]["optimizer"]["lr"] == 0.01


def test_show_of_a_store_that_knows_no_version_names_none(call, tmp_path):
    golden = Path(__file__).parents[1] / "store" / "golden" / "format-1" / "run"
    done = call("show", shutil.copytree(golden, tmp_path / "old"))
    environment = done.out.partition("\nenvironment\n")[2].splitlines()
    assert environment[:2] == ["  python 3.11.7, numpy 2.4.6", "  a processor, Linux 6.1 x86_64"]


def test_show_names_the_version_of_optrun(call, run):
    assert f"  optrun {optrun.__version__}, python " in call("show", run()).out


def test_show_of_a_killed_run_says_how_to_go_on(call):
    path = killed()
    done = call("show", path)
    assert "killed at step 2: its process is gone" in done.out
    assert f"next: optrun resume {path}" in done.err


def test_curves_draws_loss_and_lr_of_several_runs(call, run):
    one, other = run(), run("optimizer.lr=1e-1")
    done = call("curves", one, other, "--width", "80")
    lines = done.out.splitlines()
    assert "A lr=0.01   B lr=0.1" in lines
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if re.match("loss|lr", line)] == ["loss", "lr"]
    assert "test_loss" in call("curves", one, "--evaluations").out
    assert ("next: optrun plot" in done.err) is (find_spec("matplotlib") is not None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["curves"], "name a run"),
        (["curves", "latest", "-m", "grad_nrom"], "no curve 'grad_nrom'"),
        (["curves", "latest", "-m", "los"], "Did you mean 'loss'"),
        (["curves", "lastest"], "Did you mean 'latest'"),
        (["curves", "--schedule"], "name a config"),
        (["curves", "--schedule", "small.yaml", "optimizer.lrr=1"], "Did you mean 'lr'"),
        (["plot", "latest", "-o", "a.jpg"], ".png"),
        (["diff", "latest", "nope"], "nope"),
        (["watch", "nope"], "nope"),
        (["export", "nope"], "nope"),
    ],
)
def test_a_mistake_is_exit_2_and_one_clear_message(call, run, arguments, message):
    run()
    done = call(*arguments)
    assert done.code == 2
    assert message in done.err
    assert not done.out
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("lacks", "command"),
    [
        ("loss", "show"),
        ("lr", "show"),
        ("loss", "curves"),
        ("lr", "plot"),
        ("lr", "watch"),
        ("loss", "export"),
    ],
)
def test_curves_without_what_every_run_has_are_damage(call, lacks, command):
    curves = {name: [2.0, 1.0] for name in ("loss", "lr") if name != lacks}
    with Store.create(Path("runs"), "odd", config_yaml="", runs=[({"name": "odd"}, 0)]) as store:
        store.commit(
            curves={0: {"step": [0, 1], **curves}}, states={0: RunState(status=Status.COMPLETED, steps=2)}
        )
    done = call(command, store.path, *(["-o", "a.svg"] if command == "plot" else []))
    assert done.code == 2
    assert "damaged: its curves lack the loss or the lr" in done.err
    assert not Path("a.svg").exists()


def test_a_schedule_is_drawn_before_anything_runs(call, run):
    run()
    done = call("curves", "--schedule", "small.yaml", "optimizer.lr=0.5")
    assert done.code == 0
    assert "lr" in done.out
    assert "next: optrun run small.yaml optimizer.lr=0.5" in done.err
    assert len(list(Path("runs").glob("2*"))) == 1


def test_plot_writes_a_picture_and_its_name(call, run):
    pytest.importorskip("matplotlib")
    run()
    assert call("plot", "latest", "-o", "curves.svg") == (0, "curves.svg\n", "")
    assert Path("curves.svg").read_text().startswith("<?xml")


def test_diff_shows_where_runs_part(call, run):
    one, same, other = run(), run(), run("optimizer.lr=3e-2")
    assert "identical" in call("diff", one, same).out
    assert call("diff", one, same, "--exit-code").code == 0
    done = call("diff", one, other)
    assert done.code == 0
    assert call("diff", one, other, "--exit-code").code == 1
    assert re.search(r"optimizer\.lr +0\.01 +0\.03", done.out)
    # Row 0 is before the first update, so the rate alone differs there.
    assert re.search(r"loss +from step 1:", done.out)
    assert re.search(r"lr +from step 0: A 0.01, B 0.03;", done.out)
    found = json.loads(call("diff", one, other, "--json").out)
    assert found["config"] == {"optimizer.lr": [0.01, 0.03]}
    assert {each["name"]: each["first_step"] for each in found["curves"]}["loss"] == 1


def test_export_takes_a_run_as_the_others_do(call, run):
    run()
    assert call("export", "latest", "-o", "curves.csv") == (0, "curves.csv\n", "")
    assert call("export", "latest", "-o", "curves.npz").code == 0
    with np.load("curves.npz", allow_pickle=False) as file:
        assert "loss" in file.files
    assert Path("curves.csv").read_text().startswith("run,seed,status,step,loss,lr\n0,")


@pytest.mark.parametrize(
    ("flags", "titles"), [([], ["lr"]), (["--log"], ["lr (log)"]), (["--linear"], ["lr"])]
)
def test_rates_have_one_axis_wherever_they_are_drawn(call, flags, titles):
    with Store.create(Path("runs"), "r", config_yaml="", runs=[({"name": "r"}, 0)]) as store:
        t = np.linspace(0, 1, 101)
        rates = 1 + np.cos(np.pi * t) + 1e-9
        store.commit(curves={0: {"step": np.arange(101), "loss": 1 + t, "lr": rates}})
        path = store.path
    for metric in ("loss", "lr"):
        lines = call("curves", path, "-m", metric, *flags).out.splitlines()
        heads = [
            line.split("  ")[0] + " (log)" * ("(log)" in line) for line in lines if line.startswith("lr")
        ]
        assert heads == titles


def test_latest_is_resolved_once(call, run, monkeypatch):
    paths = [run(), run(), run()]
    found = iter([paths[0], paths[1], paths[2], paths[2]])
    monkeypatch.setattr("optrun.cli.views.curves.find_numbered", lambda _: (next(found), None))
    done = call("curves", "latest", "latest")
    assert paths[0].name in done.out
    assert paths[1].name in done.out


def test_figures_of_an_average_stand_behind_those_of_the_parameters(call, run):
    plain = run()
    assert "average" not in call("ls").out + call("show", str(plain)).out
    averaged = run("average=EMA", "average.decay=0.5")
    shown = [line.split() for line in call("show", str(averaged)).out.splitlines() if "   average " in line]
    assert [line[:3:2] for line in shown] == [
        [name, "average"]
        for name in ("final_loss", "train_accuracy", "train_loss", "test_accuracy", "test_loss")
    ]
    figures = json.loads(call("show", str(averaged), "--json").out)["summary"]
    assert shown[-1][1:4:2] == [f"{figures[name]:.6g}" for name in ("test_loss", "average_test_loss")]
    first, second = call("ls").out.splitlines()[1:]
    assert f"{figures['average_loss']:.4g}" in first.split()
    assert len(second.split()) == len(first.split()) - 1
    listed = json.loads(call("ls", "--json").out)
    averages = [each["summary"].get("average_loss") for each in listed]
    assert averages == [figures["average_loss"], None]


TYPES = {"string": str, "string or null": (str, type(None)), "integer": int, "object": dict}


@pytest.mark.parametrize("lr", ["1e-2", "1e300"])
def test_a_run_has_the_keys_and_types_of_the_guide_in_every_command(call, run, lr):
    run()
    page = (Path(optrun.__file__).parent / "guide" / "stores.md").read_text()
    section = page.split("## A run as JSON")[1].split("## ")[0]
    keys = {key: TYPES[kind] for key, kind in re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", section, re.M)}
    assert list(keys) == ["run", "path", "status", "reason", "steps", "seed", "summary", "config"]
    printed = json.loads(call("run", "small.yaml", f"optimizer.lr={lr}", "-o", "a/r", "--json").out)
    assert printed["status"] == ("completed" if lr == "1e-2" else "diverged")
    call("sweep", "small.yaml", f"optimizer.lr={lr},2e-2", "-o", "s", "-q")
    alike = [
        [
            printed,
            json.loads(call("show", "a/r", "--json").out),
            *json.loads(call("ls", "a", "--json").out),
            *json.loads(call("ls", "a/r", "--json").out),
            json.loads(call("resume", "a/r", "--json").out),
        ],
        [json.loads(call("show", "s:0", "--json").out), json.loads(call("ls", "s", "--json").out)[0]],
        [json.loads(call("run", "small.yaml", "--no-save", "--json").out)],
    ]
    for documents in alike:
        for document in documents:
            assert list(document)[: len(keys)] == list(keys)
            assert all(isinstance(document[key], kind) for key, kind in keys.items())
            assert {key: document[key] for key in keys} == {key: documents[0][key] for key in keys}
    assert [len(each) for each in alike] == [5, 2, 1]
    assert alike[2][0]["run"] is None
