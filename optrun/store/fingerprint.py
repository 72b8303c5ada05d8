"""The fingerprint of where a run was executed: other machines and other builds give other bits."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

GIT_SECONDS = 0.03


def environment() -> dict[str, Any]:
    """Return versions, machine, BLAS and git revision as JSON; what cannot be learnt is None.

    It never fails, and waits for git no longer than 30 ms.
    """
    processes = _start_git()
    found = {
        "optrun": _version("optrun"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": _version("numba"),
        # platform.platform() starts a process.
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_model(),
        "simd": _simd(),
        "blas": _blas(),
    }
    return found | {"git": _git(processes)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu_model() -> str | None:
    """Return the name of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None


def _simd() -> list[str]:
    config: Any = np.show_config(mode="dicts")
    extensions = config.get("SIMD Extensions", {})
    return [*extensions.get("baseline", []), *extensions.get("found", [])]


def _blas() -> list[dict[str, Any]]:
    from threadpoolctl import threadpool_info

    return [
        {key: library.get(key) for key in ("internal_api", "version", "architecture")}
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]


def _start_git() -> list[subprocess.Popen[bytes]]:
    """Ask git for the revision and for changes at once, so that a large tree costs only the second answer."""
    # A repository may name a program for git to run (fsmonitor), and a status may rewrite the index.
    git = ["git", "-c", "core.fsmonitor=false", "--no-optional-locks"]
    try:
        if not any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents)):
            return []
        return [
            subprocess.Popen(
                [*git, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except OSError:
        return []


def _git(processes: list[subprocess.Popen[bytes]]) -> dict[str, Any] | None:
    if not processes:
        return None
    deadline = monotonic() + GIT_SECONDS
    sha, changes = [_answer(process, deadline) for process in processes]
    return {"sha": sha, "dirty": None if changes is None else bool(changes)}


def _answer(process: subprocess.Popen[bytes], deadline: float) -> str | None:
    with process:
        try:
            output, _ = process.communicate(timeout=max(0.0, deadline - monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            return None
    return output.decode(errors="replace").strip() if process.returncode == 0 else None
