"""Pages in a headless Chromium without network."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
TEN_THOUSAND = {
    "name": "</script><script>document.title = 'injected'</script>",
    "problem": {"name": "quadratic", "noise": 0.5},
    "optimizer": "SGD",
    "steps": 5,
    "sweep": {
        "method": "random",
        "trials": 1000,
        "repeats": 10,
        "parameters": {
            "problem.condition": [10, 100],
            "optimizer.name": ["SGD", "Adam"],
            "optimizer.lr": {"loguniform": [1e-4, 1e-1]},
            "optimizer.weight_decay": {"uniform": [0, 1e-2]},
        },
    },
}
"""A sweep of 10,000 runs, whose report has every chart."""


@dataclass(frozen=True)
class Opened:
    """What has become of a page."""

    dom: str
    console: list[str]
    requests: list[str]
    """What the page asked the network for."""


def open_page(page: Path, folder: Path, height: int = 1000) -> Opened:
    """Open a page in a window of so many pixels, wait until it is at rest, and return what has become of it."""
    log = folder / "requests.json"
    # Virtual time goes on as soon as nothing is left to do.
    at_rest = ["--virtual-time-budget=5000", f"--window-size=1300,{height}"]
    done = _chromium(folder, f"--log-net-log={log}", *at_rest, "--dump-dom", page.as_uri())
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    started = [each["params"] for each in events if "initiator" in each.get("params", {})]
    # What Chromium asks for itself has no page as its origin.
    asked = [str(each["url"]) for each in started if each["initiator"] != "not an origin"]
    return Opened(done.stdout, _console(done), asked)


def print_page(page: Path, folder: Path) -> tuple[Path, list[str]]:
    """Print a page; return the PDF, and what is in the console."""
    printed = folder / "page.pdf"
    done = _chromium(folder, f"--print-to-pdf={printed}", page.as_uri())
    return printed, _console(done)


def _chromium(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    # Of a name that cannot be looked up nothing can be loaded.
    command += [f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=True, timeout=100)


def _console(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what the page or its policy says in the console."""
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]
