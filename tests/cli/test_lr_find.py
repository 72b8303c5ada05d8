"""The command `lr-find`: its words, its JSON, its picture, and that it leaves nothing behind."""

import json
import re
import signal
from pathlib import Path

import pytest

import optrun
from optrun.optim import SGD
from optrun.registry import optimizers
from tests.cli.looking import call
from tests.registries import restore_after

__all__ = ["call"]

CONFIG = """\
problem: {name: quadratic, dim: 3, noise: 0.3}
optimizer: {name: SGD, lr: 1e-2}
steps: 20
"""


def test_it_says_which_rate_to_take_and_keeps_nothing(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "noisy.yaml").write_text(CONFIG)
    found = optrun.lr_find("noisy.yaml", seeds=2)
    said = call("lr-find", "noisy.yaml", "-n", "2")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"{found}\n")
    assert len(re.findall(r"^★ ", said.out, re.M)) == 1
    assert re.search(rf"^★ +{found.recommended:.4g} ", said.out, re.M)
    told = json.loads(call("lr-find", "noisy.yaml", "-n", "2", "--json").out)
    assert told == json.loads(json.dumps(found.to_dict()))
    assert told["range"][0] <= told["recommended"] <= told["range"][1] < told["diverges_from"]
    assert str(found).splitlines()[0] in found._repr_html_()
    assert [each.name for each in tmp_path.iterdir()] == ["noisy.yaml"]
    assert (
        "--parameter scheduler.max_lr"
        in call("lr-find", "noisy.yaml", "scheduler={name: OneCycleLR, max_lr: 1, total_steps: 20}").err
    )
    for given, said in {
        ("-m", "final_los"): ("--metric final_los: quadratic has no figure", "Did you mean 'final_loss'?"),
        ("--parameter", "optimizer.lrr"): (
            "--parameter optimizer.lrr is None",
            "Did you mean 'optimizer.lr'?",
        ),
        ("--parameter", "optimizer.beta1", "optimizer=Adam"): (
            "--parameter optimizer.beta1: must be < 1",
            "",
        ),
    }.items():
        refused = call("lr-find", "noisy.yaml", *given)
        assert refused.code == 2
        assert refused.err.startswith(said[0])
        assert said[1] in refused.err
    assert call("lr-find", "noisy.yaml", "-o", "rates.txt").code == 2


def test_its_picture_marks_range_and_divergence(call, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "noisy.yaml").write_text(CONFIG)
    done = call("lr-find", "noisy.yaml", "-o", "rates.svg", "--seeds", "2")
    assert done.out.endswith("rates.svg\n")
    found = optrun.lr_find("noisy.yaml", seeds=2)
    figure = found.plot(title="rates")
    low, high = found.range
    labels = [each.get_text() for each in figure.legends[0].get_texts()]
    assert labels == [
        "median of 2 seeds",
        "one seed",
        f"within 5 %: {low:.4g} to {high:.4g}",
        f"diverges from {found.diverges_from:.4g} on",
        f"recommended: {found.recommended:.4g}",
    ]
    for label in labels:
        assert label in (tmp_path / "rates.svg").read_text()
    again = optrun.lr_find("noisy.yaml", overrides=["optimizer.lr=1e4"], seeds=1)
    assert again.plot().axes[0].get_xscale() == "log"


@pytest.mark.parametrize("command", [("noise", "c.yaml", "-n", "3"), ("lr-find", "c.yaml")])
def test_an_interruption_is_no_failure(command, call, monkeypatch):
    restore_after(monkeypatch, optimizers)

    class Interrupting(SGD):
        """SGD, in which one presses Ctrl-C."""

        def step(self, closure=None):
            signal.raise_signal(signal.SIGINT)
            return super().step(closure)

    Path("c.yaml").write_text("problem: beale\noptimizer: Interrupting\nsteps: 50\n")
    done = call(*command)
    assert done.code == 128 + signal.SIGINT
    assert "runs have not ended" in done.err
