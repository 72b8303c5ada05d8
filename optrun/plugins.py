"""Plugins: files and modules of users, whose classes enter the registries when they are imported."""

import hashlib
import importlib
import importlib.util
import os
import sys
import threading
import warnings
import zlib
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from optrun import sources
from optrun.errors import OptrunWarning, PluginError, string_list, unreadable
from optrun.forks import renew_after_fork
from optrun.plugin_code import guarded
from optrun.registry import REGISTRIES
from optrun.regular_files import open_regular


def load_plugin(target: str) -> None:
    """Import a user's classes of any registry from a file (`my.py`) or a module (`my.package`).

    A class of it that lacks the method of its kind is named by a warning, and so is a plugin that registers nothing.
    Raises PluginError where it cannot be imported, with the reason.
    """
    _check_target(target)
    with _loading:
        known, families = _registered(), _families()
        before = {cls for each in REGISTRIES for cls in each.lacking()}
        with guarded(f"plugin {target!r}", passed=()):
            module = _import_file(target) if _is_file(target) else _import_module(target)
        _loaded[os.path.abspath(target)] = plugin_version(target, loaded=True)
        lacking = {cls: said for each in REGISTRIES for cls, said in each.lacking().items()}
        registered = [cls for cls in _registered() if cls not in known or _is_of(cls, module)]
        registered += [make for make in _families() if make not in families or _is_of(make, module)]
    said = [lacking[cls] for cls in lacking if cls not in before]
    if not (said or registered):
        bases = "Optimizer, LRScheduler, Problem, … (`optrun guide plugins`)"
        said = [f"plugin {target!r} registers nothing: it has no class that inherits from {bases}"]
    for each in said:
        warnings.warn(each, OptrunWarning, stacklevel=2)


def load_plugins(targets: Sequence[str]) -> None:
    """Import plugins that are not there in their present versions; raises PluginError as `load_plugin` does."""
    for target in string_list("plugins", targets):
        ensure_plugin(target)


def ensure_plugin(target: str, version: str | None = None) -> bool:
    """Import a plugin that is not there in a version, by default its present one; return whether its file has it.

    Where this process has the version, its file is not read. Raises PluginError as `load_plugin` does.
    """
    with _loading:
        loaded = _loaded.get(os.path.abspath(target))
        if version is not None and loaded == version:
            return True
        present = plugin_version(target)
        if version not in (None, present):
            return False
        if loaded != present:
            load_plugin(target)
        return True


_loaded: dict[str, str] = {}
"""The versions of the plugins that this process has loaded."""
_loading = threading.RLock()
"""Two threads that load one plugin would define its classes twice."""
renew_after_fork(globals(), "_loading", threading.RLock)


def plugin_version(target: str, *, loaded: bool = False) -> str:
    """Return what tells versions of a plugin's file apart; of a module, which Python imports once, nothing.

    Where it is ``loaded``, it is the version that this process has imported, if it has: the file may be a newer one.

    Raises PluginError where the file cannot be read.
    """
    _check_target(target)
    with guarded(f"plugin {target!r}", passed=()):
        if not _is_file(target):
            return ""
        path = Path(target).resolve(strict=True)
        source = sources.imported.get(_module_name(path)) if loaded else None
        with open_regular(path) as file:
            return hashlib.sha256(file.read() if source is None else source).hexdigest()


def _is_file(target: str) -> bool:
    return Path(target).suffix == ".py"


def _check_target(target: str) -> None:
    """Raise PluginError where a target is no file that can be read, and cannot be the name of a module."""
    path = Path(target)
    if _is_file(target):
        try:
            with open_regular(path):
                return
        except OSError as error:
            raise PluginError(f"plugin {target!r}: {unreadable(path, error, '*.py')}") from error
        except ValueError as error:  # a null character
            raise PluginError(f"plugin {target!r}: {error}") from None
    if not all(part.isidentifier() for part in target.split(".")):
        raise PluginError(f"plugin {target!r}: {_no_module(target)}")


def _no_module(target: str) -> str:
    """Return why a target is no module."""
    if os.path.isdir(target):
        return "this is a directory: give a file in it, or the name of a package on Python's path"
    if os.path.isfile(target):
        return "the file of a plugin ends in .py"
    if os.path.isfile(f"{target}.py"):
        return f"there is no such module. Did you mean {f'{target}.py'!r}?"
    return "there is no such file and no such module; a file ends in .py"


def _import_module(target: str) -> ModuleType:
    try:
        return importlib.import_module(target)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{target}.".startswith(f"{error.name}."):
            raise  # it is one that the plugin imports
        raise PluginError(_no_module(target)) from None


def _registered() -> set[type]:
    """Return the classes that are registered and not optrun's own."""
    classes = {cls for each in REGISTRIES for cls in each.classes}
    return {cls for cls in classes if not cls.__module__.startswith("optrun.")}


def _families() -> set[Any]:
    """Return the functions that make classes on demand."""
    return {make for each in REGISTRIES for make in each.families.values()}


def _is_of(cls: Any, module: ModuleType) -> bool:
    return f"{cls.__module__}.".startswith(f"{module.__name__}.")


class _Loader(SourceFileLoader):
    """Compiles what is in a file now: kept bytecode passes for that of any file of the same second and size."""

    def get_code(self, fullname: str) -> CodeType:
        with open_regular(self.path) as file:
            sources.imported[fullname] = source = file.read()
        return self.source_to_code(source, self.path)


def _module_name(path: Path) -> str:
    return f"optrun_plugin_{path.stem}_{zlib.crc32(str(path).encode()):08x}"


def _import_file(target: str) -> ModuleType:
    path = Path(target).resolve(strict=True)
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        # Whoever goes through the modules would open its file, which may be a pipe.
        sys.modules.pop(name, None)
        raise
    return module
