"""What optrun finds on this machine: versions, BLAS, caches, accelerators, extras, a place for runs."""

import os
import re
import shutil
import sqlite3
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from optrun.arrays import Arrays
from optrun.errors import MissingExtraError
from optrun.kernels import user_cache
from optrun.kernels.numba.code_cache import directory
from optrun.kernels.numba.engine import PROBE, NumbaEngine, working
from optrun.kernels.numba.machine_code import machine_code
from optrun.kernels.threads import cores
from optrun.store import environment
from optrun.store.locate import RUNS

CORE = ("numpy", "pydantic", "PyYAML", "typer", "rich", "threadpoolctl")
EXTRA = re.compile(r"([\w.-]+)[^;]*;.*extra == ['\"]([\w-]+)['\"]")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
NOT_FOR_USERS = ("dev", "all")


def findings(root: Path = RUNS) -> dict[str, dict[str, Any]]:
    """Return what is there, by section, as JSON; ``problems`` holds what keeps optrun from working."""
    from threadpoolctl import threadpool_info

    about = environment()
    place, trouble = _writable(root)
    return {
        "versions": {
            "optrun": about["optrun"],
            "python": about["python"],
            **{name: installed(name) for name in CORE},
            "sqlite": sqlite3.sqlite_version,
        },
        "machine": {
            "platform": about["platform"],
            "cpu": about["cpu"],
            "cores": cores(),
            "caches": _caches(),
            "simd": about["simd"],
        },
        "blas": {
            str(
                library["internal_api"]
            ): f"{library.get('version')}, {library.get('architecture', 'unknown kernel')}, "
            f"{library['num_threads']} threads; runs use 1, so that bits do not depend on it"
            for library in threadpool_info()
            if library["user_api"] == "blas"
        },
        "engines": {"numba": _numba(), **_loops(directory()), "cupy": _gpu()},
        "extras": extras(),
        "runs": place,
        "terminal": {
            "stdout": "a terminal" if sys.stdout.isatty() else "a pipe or a file",
            "encoding": sys.stdout.encoding,
            "TERM": os.environ.get("TERM"),
            "NO_COLOR": os.environ.get("NO_COLOR"),
            "columns": shutil.get_terminal_size().columns,
        },
        "problems": trouble,
    }


def installed(distribution: str) -> str | None:
    """Return the version of an installed distribution."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def extras() -> dict[str, dict[str, str | None]]:
    """Return, by extra, the distributions that it brings and their installed versions."""
    found: dict[str, dict[str, str | None]] = {}
    try:
        requirements = requires("optrun") or []
    except PackageNotFoundError:
        return found
    for requirement in requirements:
        match = EXTRA.match(requirement)
        if match and match[2] not in NOT_FOR_USERS:
            found.setdefault(match[2], {})[match[1]] = installed(match[1])
    return found


def _gpu() -> str:
    try:
        xp = Arrays("cupy").xp
    except MissingExtraError as error:
        return str(error)
    name = xp.cuda.runtime.getDeviceProperties(0)["name"].decode()
    return f"CuPy {xp.__version__}, {name}"


def _numba() -> str:
    """Return whether Numba compiles; one that is installed may be broken."""
    try:
        NumbaEngine()
        with working():
            machine_code(PROBE)
    except MissingExtraError as error:
        return str(error)
    return f"works, version {installed('numba')}"


def _loops(directory: Path) -> dict[str, str]:
    """Return what is kept of the loops that Numba has compiled; without a place every process compiles anew."""
    place, trouble = _writable(directory)
    try:
        sizes = [file.stat().st_size for file in directory.iterdir()]
        if not user_cache.is_own(directory):
            trouble = {"": f"{directory}: others can write there"}
    except OSError:
        sizes = []
    why = "".join(trouble.values())
    return {
        "compiled loops": f"{len(sizes)}, {sum(sizes) / 1e6:.1f} MB in {place['directory']}",
        "are kept": f"no, every process compiles its own: {why}" if why else "yes",
    }


def _caches() -> dict[str, str]:
    found = {}
    for index in sorted(CACHES.glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        found[f"L{level}{'' if kind == 'Unified' else kind[0].lower()}"] = size
    return found


def _writable(root: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return where runs would be written and how much room there is; and, if they cannot be, why."""
    place = root
    try:
        place = next(each for each in (root, *root.parents) if each.exists())
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return {"directory": str(root.absolute())}, {"runs": f"{place.absolute()}: {error.strerror or error}"}
    free = shutil.disk_usage(place).free
    return {"directory": str(root.absolute()), "writable": "yes", "free": f"{free / 1e9:,.1f} GB"}, {}
