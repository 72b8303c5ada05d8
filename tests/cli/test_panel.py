"""What a run looks like while it goes on: the panel, the bar, plain lines, and what is left of them."""

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios

import numpy as np
import pytest
from rich.console import Console

from optrun.cli.live import run_panel
from optrun.cli.live.run_panel import Curve, View, frame
from optrun.cli.live.throughput import clock
from optrun.config import from_mapping
from optrun.training.trainer import Progress

LONG = """\
problem: {name: rosenbrock}
optimizer: {name: SGD, lr: 1e-4}
scheduler: {name: CosineAnnealingLR, T_max: 100000000}
steps: 100000000
"""
CONFIG = {
    "name": "long-name",
    "problem": "rosenbrock",
    "optimizer": "Adam",
    "scheduler": {"name": "StepLR", "step_size": 1000},
    "steps": 5000,
    "stop": {"target": 1e-9, "patience": 300, "time": "10m", "divergence": 1e6},
}


def at(step, loss=1.0, rows=None, **changes):
    values = {
        "step": step,
        "steps": 5000,
        "loss": loss,
        "lr": 0.1,
        "alive": 1,
        "seconds": 61.0,
        "evaluation": (100, {"loss": 0.5, "train_loss": 0.5, "test_accuracy": 0.25}),
        "rows": lambda: rows,
    }
    return Progress(**values | changes)


def rows(loss, first=0):
    step = np.arange(first, first + len(loss))
    return {"step": step, "loss": np.asarray(loss, float), "lr": np.full(len(loss), 0.1)}


def printed(view, now, width, height, rate=100.0):
    console = Console(width=width, height=height, file=io.StringIO())
    picture = frame(view, now, rate, width, height)
    console.print(picture)
    return console.file.getvalue().rstrip("\n").split("\n"), len(picture.renderables)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (100, 20), (120, 40), (200, 100)])
@pytest.mark.parametrize("loss", [[], [1.0], [np.nan, np.inf], np.geomspace(1, 1e-8, 3000), [0.0] * 50])
def test_a_frame_fits_the_terminal_whatever_the_curve(size, loss):
    view = View(from_mapping(CONFIG))
    view.add(rows(loss))
    lines, count = printed(view, at(max(len(loss) - 1, 0), rows=rows(loss)), *size)
    assert count < size[1]
    assert max(map(len, lines)) <= size[0]
    assert lines[0].startswith("long-name  ·  rosenbrock  ·  Adam  ·  StepLR")


def test_a_frame_says_where_the_run_stands_and_what_ends_it():
    view = View(from_mapping(CONFIG))
    view.add(rows([3.0, 1.0, 2.0, 2.5]))
    lines, _ = printed(view, at(1000, 2.5), 120, 30)
    text = "\n".join(lines)
    assert "20%  step 1,000 of 5,000  100 steps/s  0:40 left" in text
    assert re.search(r"loss 2.5 +best 1 at step 1 +lr 0.1 +time 1:01", text)
    assert re.search(r"evaluated at 100: +test_accuracy 0.25 +train_loss 0.5", text)
    assert "target 1e-09 · patience 999 of 300 · time 1:01 of 10:00 · divergence 1e+06" in text


def test_the_view_takes_each_row_once_over_commits_and_keeps_the_spikes(rng):
    loss = rng.random(100_000) + 1.0
    loss[12_345], loss[77_777] = 50.0, 0.25
    view, committed = View(from_mapping(CONFIG)), 0
    for end in range(700, 100_001, 700):
        view.add({name: values[committed:end] for name, values in rows(loss).items()})
        committed = end if end % 2100 == 0 else committed
    view.add({name: values[committed:] for name, values in rows(loss).items()})
    assert view.best == (0.25, 77_777)
    curve = view.loss
    assert len(curve.step) <= run_panel.POINTS
    assert (np.diff(curve.step) > 0).all()
    assert (curve.low.min(), curve.high.max()) == (0.25, 50.0)
    # As fine at its beginning as at its end.
    assert np.diff(curve.step).max() <= 2 * np.median(np.diff(curve.step))
    widest = curve.step[curve.high.argmax()]
    assert widest <= 12_345 < widest + 100_000 / run_panel.POINTS * 4


def test_a_loss_that_is_zero_once_keeps_its_log_axis():
    curve = Curve()
    curve.extend(np.arange(1000), np.append(np.geomspace(1, 1e-9, 999), 0.0))
    assert curve.drawn("loss", 1000, 60, 10)[0].strip() == "loss (log)"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (61.4, "1:01"), (3599.6, "1:00:00"), (7325, "2:02:05")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text


class Terminal:
    """A run on a terminal of its own, and all that it writes there."""

    def __init__(self, *arguments, size=(80, 24), **environment):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        clean = {
            key: value
            for key, value in os.environ.items()
            if key not in ("CI", "NO_COLOR", "COLUMNS", "LINES")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "optrun", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=clean | {"TERM": "xterm-256color", "PYTHONUNBUFFERED": "1"} | environment,
            start_new_session=True,
        )
        os.close(theirs)
        self.text = ""

    def read_until(self, pattern):
        while not re.search(pattern, self.text):
            self.text += os.read(self.ours, 1 << 16).decode(errors="replace")

    def rest(self):
        try:
            while data := os.read(self.ours, 1 << 16):
                self.text += data.decode(errors="replace")
        except OSError:  # the terminal is closed
            os.close(self.ours)
        return self.process.wait()


@pytest.fixture
def long(tmp_path):
    (tmp_path / "long.yaml").write_text(LONG)
    return "long.yaml"


@pytest.mark.full
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.full)]
)
def test_an_interrupted_panel_leaves_the_terminal_as_it_was(long, sent, code):
    terminal = Terminal("run", long)
    terminal.read_until(r"steps/s")
    terminal.process.send_signal(sent)
    assert terminal.rest() == code
    shown, _, after = terminal.text.rpartition("\x1b[?2026l")
    assert "loss" in shown
    assert "\x1b[?1049h" not in shown  # no screen of its own, so nothing to come back from
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")
    _, erased, after = after.rpartition("\x1b[2K")
    assert erased
    assert "optrun resume runs/" in after
    assert "┤" not in after


@pytest.mark.full
def test_a_killed_panel_leaves_a_visible_cursor(long):
    terminal = Terminal("run", long)
    terminal.read_until(r"steps/s(?s:.*)\x1b\[\?2026l")
    terminal.process.kill()
    terminal.rest()
    assert terminal.text.rfind("\x1b[?25h") > terminal.text.rfind("\x1b[?25l")


@pytest.mark.full
def test_an_error_comes_after_the_panel(long, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import os\n"
        "from optrun.problems import Rosenbrock\n"
        "class Faulty(Rosenbrock):\n"
        '    """Fails when told to."""\n'
        "    def loss_and_grad(self, params, grads, batch):\n"
        "        if os.path.exists('fail'):\n"
        "            raise RuntimeError('as told')\n"
        "        return super().loss_and_grad(params, grads, batch)\n"
    )
    terminal = Terminal("run", long, "problem=faulty", "--plugin", "mine.py")
    terminal.read_until("steps/s")
    (tmp_path / "fail").touch()
    assert terminal.rest() == 1
    assert "RuntimeError: as told" in terminal.text.rpartition("\x1b[2K")[2]
    assert "Traceback" not in terminal.text


@pytest.mark.full
def test_a_small_terminal_gets_a_bar(long):
    terminal = Terminal("run", long, size=(50, 10))
    terminal.read_until("loss [0-9]")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.rest() == 130
    assert "┤" not in terminal.text


@pytest.mark.full
@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(["--progress", "plain"], {}), ([], {"TERM": "dumb"}), ([], {"CI": "true"})],
)
def test_elsewhere_there_are_plain_lines(long, arguments, environment):
    terminal = Terminal("run", long, *arguments, **environment)
    terminal.read_until(r"step \d+/100000000  loss .*  lr .*  [\d,]+ steps/s\r\n")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.rest() == 130
    assert "\x1b" not in terminal.text


@pytest.mark.full
@pytest.mark.parametrize("arguments", [["--progress", "off"], ["-q"], ["--json"]])
def test_quiet_shows_no_progress(long, arguments):
    # The plain lines would begin after a fifth of a second.
    terminal = Terminal("run", long, "steps=8000", "scheduler=null", *arguments)
    assert terminal.rest() == 0
    assert "steps/s" not in terminal.text


@pytest.mark.full
def test_a_resumed_panel_shows_the_whole_curve(long):
    terminal = Terminal("run", long, "-o", "cut")
    terminal.read_until("steps/s")
    terminal.process.send_signal(signal.SIGINT)
    terminal.rest()
    again = Terminal("resume", "cut")
    again.read_until("best .* at step")
    again.process.send_signal(signal.SIGINT)
    assert again.rest() == 130
    plain = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", again.text)
    assert re.search(r"\n +0 +\d", plain)  # where the axis begins


def test_figures_of_an_average_stand_behind_those_of_the_parameters():
    metrics = {"loss": 1.0, "test_loss": 0.5, "average_loss": 1.0, "average_test_loss": 0.25}
    lines, _ = printed(
        View(from_mapping(CONFIG | {"average": "EMA"})), at(200, evaluation=(100, metrics)), 100, 24
    )
    assert any("evaluated at 100:  test_loss 0.5 average 0.25" in line for line in lines)
    assert lines[0].endswith("StepLR  ·  ema")
    none_yet = {"loss": 1.0, "average_loss": float("nan")}
    lines, _ = printed(View(from_mapping(CONFIG)), at(200, evaluation=(0, none_yet)), 100, 24)
    assert not [line for line in lines if "average" in line]
