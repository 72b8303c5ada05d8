"""The source of classes that are not optrun's own: results depend on it, and no config tells of it."""

import ast
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from optrun.fallbacks import Fallback

_read: dict[str, tuple[Any, bytes]] = {}
"""What files held when they were read first, with the spec of their import, which a reload replaces, or their stamp."""

imported: dict[str, bytes] = {}
"""The files of plugins as they were imported, by the names of their modules: they may have been edited since."""


class Source(NamedTuple):
    """The name of a file, and the SHA-256 of what it holds and imports from beside it, or of its whole package."""

    file: str
    sha256: str


@cache
def source_of(cls: type[Any]) -> Source | None:
    """Return the source of a class and of its bases; None for a class of optrun, and where there is no source.

    It is asked for when the class is registered, so that it is of the code that runs: files may be edited later.
    """
    if (known := vars(cls).get("source")) is not None:
        return known if isinstance(known, Source) else None
    if _is_own(cls):
        return None
    files: dict[str, bytes] = {}
    for base in cls.__mro__:
        if base is cls or not (_is_own(base) or _is_installed(sys.modules.get(base.__module__))):
            unknown = f"the source of {base.__qualname__} is not known: no change of it is noticed"
            with Fallback(unknown, OSError, TypeError, SyntaxError, ValueError):
                files |= _files_of(base)
    if not files:
        return None
    name = Path(getattr(sys.modules.get(cls.__module__), "__file__", None) or cls.__qualname__).name
    digests = [hashlib.sha256(content).hexdigest() for content in files.values()]
    if len(files) == 1:
        return Source(name, digests[0])
    lines = sorted(f"{digest}  {path}\n" for digest, path in zip(digests, files, strict=True))
    return Source(name, hashlib.sha256("".join(lines).encode()).hexdigest())


def _is_own(cls: type[Any]) -> bool:
    return cls.__module__.partition(".")[0] == "optrun"


def _is_installed(module: ModuleType | None) -> bool:
    """Whether a module is built in, or lies where packages are installed."""
    file = getattr(module, "__file__", None)
    if file is None:
        return module is None or module.__name__ != "__main__"
    installed = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(Path(file).is_relative_to(place) for place in installed)


def _files_of(cls: type[Any]) -> dict[str, bytes]:
    """Return what there is of the source of a class, by names that do not depend on where it lies."""
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    # A script is edited for other reasons than its classes, and a notebook has no file.
    if module is None or file is None or module.__name__ in ("__main__", "__mp_main__"):
        return {cls.__qualname__: inspect.getsource(cls).encode()}
    path = Path(file)
    if "." in module.__name__ or hasattr(module, "__path__"):
        root = path.parent
        while (root.parent / "__init__.py").exists():
            root = root.parent
        specs = _specs()
        return {each.relative_to(root.parent).as_posix(): _content(each, specs) for each in _modules(root)}
    specs = _specs()
    own = imported.get(module.__name__) or _content(path, specs)
    return {"": own} | dict(_beside(path, own, specs))


def _specs() -> dict[str, Any]:
    """Return what each module that is imported was imported from, by its file."""
    found = (getattr(module, "__dict__", {}).get("__spec__") for module in list(sys.modules.values()))
    return {spec.origin: spec for spec in found if spec is not None and isinstance(spec.origin, str)}


def _content(path: Path, specs: Mapping[str, Any]) -> bytes:
    """Return what a file held when it was imported, as far as is known, or holds now."""
    spec, (known, content) = specs.get(str(path)), _read.get(str(path), (None, b""))
    found = path.stat()
    version = spec or (found.st_mtime_ns, found.st_size, found.st_ino)
    if known is not version and (spec is not None or known != version):
        content = path.read_bytes()
        _read[str(path)] = version, content
    return content


def _modules(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*.py") if path.is_file())


def _beside(path: Path, own: bytes, specs: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield what a file imports from its directory, and what that imports."""
    seen, left = {path}, [(path, own)]
    while left:
        importing, content = left.pop()
        for name in _imports(content):
            module, package = importing.with_name(f"{name}.py"), importing.with_name(name)
            found = [module] if module.is_file() else []
            if (package / "__init__.py").is_file():
                found = _modules(package)
            for each in found:
                if each not in seen:
                    seen.add(each)
                    left.append((each, _content(each, specs)))
                    yield each.relative_to(path.parent).as_posix(), left[-1][1]


def _imports(content: bytes) -> set[str]:
    """Return the first parts of the names of the modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names
