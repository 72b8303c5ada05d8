"""The fingerprint of where a run was executed: other machines and other builds give other bits."""

import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from optrun import __version__
from optrun.arrays import Arrays
from optrun.errors import MissingExtraError
from optrun.fallbacks import Fallback, log

MOST_BYTES = 1 << 22
"""Of a file of git: a list of packed references may be long."""

DEVICE = ("gpu", "cupy", "cuda")
"""What is told of a device alone."""


def environment(backend: str = "numpy") -> dict[str, Any]:
    """Return versions, machine, BLAS and git revision as JSON; what cannot be learnt is None. It never fails.

    Of a run on a device it tells of that, too; for any other CuPy is not imported.
    """
    return {
        "optrun": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": _version("numba"),
        # platform.platform() starts a process.
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_model(),
        "simd": _simd(),
        "blas": _blas(),
        "git": _git(),
        **(_device(backend) if backend != "numpy" else {}),
    }


def machine_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return what of a machine may change the bits of a result and differs between two environments, as words.

    What either of them does not know is no difference.
    """
    pairs = {
        name: (_word(name, before[name]), _word(name, after[name]))
        for name in ("optrun", "python", "numpy", "platform", "cpu", "simd", *DEVICE)
        if before.get(name) and after.get(name)
    }
    blas = [{_library(each) for each in found.get("blas") or ()} for found in (before, after)]
    # What other packages have loaded besides is not what NumPy multiplies with, and not always there.
    if not (blas[0] <= blas[1] or blas[1] <= blas[0]):
        pairs["blas"] = (", ".join(sorted(blas[0])), ", ".join(sorted(blas[1])))
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _word(name: str, value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    if name == "platform":  # another release of the kernel computes the same
        system, *_, machine = str(value).split()
        return f"{system} {machine}"
    return str(value)


def _library(found: Any) -> str:
    values = found.values() if isinstance(found, Mapping) else [found]
    return " ".join(str(value) for value in values if value)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu_model() -> str | None:
    """Return the name of the processor."""
    unknown = Fallback("/proc/cpuinfo is not there: Python says what processor it is", OSError)
    with unknown, open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
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


def _device(backend: str) -> dict[str, Any]:
    """Return the name of the device, the version of CuPy and that of CUDA's runtime, such as 12040 for 12.4."""
    # CuPy raises RuntimeError for what CUDA refuses.
    with Fallback("nothing is noted of the device", MissingExtraError, RuntimeError):
        cupy = Arrays(backend).xp
        runtime = cupy.cuda.runtime
        name = runtime.getDeviceProperties(runtime.getDevice())["name"].decode()
        return dict(zip(DEVICE, (name, cupy.__version__, runtime.runtimeGetVersion()), strict=True))
    return dict.fromkeys(DEVICE)


def _git() -> dict[str, Any] | None:
    """Return the revision that is checked out, read from the files of git.

    No git is asked: it would run what a repository names as its filters, and take longer than anybody waits for.
    """
    with Fallback("no revision of git is noted", OSError, ValueError):
        folder = next((each for each in (Path.cwd(), *Path.cwd().parents) if (each / ".git").exists()), None)
        if folder is not None:
            return {"sha": _revision(folder / ".git")}
        log.debug("no revision of git is noted: there is no repository here")
    return None


def _revision(git: Path) -> str | None:
    if git.is_file():  # of a worktree or a submodule
        git = git.parent / _content(git).removeprefix("gitdir:").strip()
    shared = git / _content(git / "commondir").strip()  # the same, but in a worktree
    head = _content(git / "HEAD").strip()
    name = head.removeprefix("ref:").strip()
    if name == head:
        return _hash(head)
    if not name.startswith("refs/") or ".." in name:
        return None
    packed = re.search(rf"^(\w+) {re.escape(name)}$", _content(shared / "packed-refs"), re.MULTILINE)
    return _hash(_content(git / name)) or _hash(_content(shared / name)) or _hash(packed[1] if packed else "")


def _hash(text: str) -> str | None:
    return found[0] if (found := re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text.strip())) else None


def _content(path: Path) -> str:
    """Return the text of a regular file, nothing where there is none."""
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as stream:
                return stream.read(MOST_BYTES).decode(errors="replace")
    return ""
