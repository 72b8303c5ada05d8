"""Names, signatures and plugins."""

import warnings
from importlib.metadata import EntryPoint
from typing import Annotated, Literal

import numpy as np
import pytest
from annotated_types import Ge, Lt

import optrun
from optrun import plugins, registry
from optrun.errors import ConfigError, OptrunWarning, PluginError, UnknownNameError
from optrun.registry import Registry, options_of
from tests.registries import restore_after


@pytest.fixture
def names():
    found = Registry("thing", "optrun.errors")
    found.add(type("BigThing", (), {}), "BigThing")
    found.add(type("Other", (), {}), "Other")
    return found


def test_names_are_found_without_regard_to_case_and_underscores(names):
    for spelling in ("BigThing", "bigthing", "BIG_THING", "big-thing"):
        assert names.find(spelling).__name__ == "BigThing"
        assert spelling in names
    assert list(names) == ["BigThing", "Other"]
    with pytest.raises(UnknownNameError, match="unknown thing 'bigting'. Did you mean 'BigThing'"):
        names.find("bigting")


def test_a_name_is_taken_once(names):
    class Impostor:
        pass

    with pytest.raises(ConfigError, match="already registered"):
        names.add(Impostor, "bigthing")
    assert names.find("BigThing").__name__ == "BigThing"


def test_a_signature_is_read_as_options():
    def function(
        a,
        /,
        b,
        *,
        rate: Annotated[float, Ge(0), Lt(1), "how fast"] = 0.5,
        count: int,
        kind: Literal["x", "y"] = "x",
    ) -> None: ...

    rate, count, kind = options_of(function).values()
    assert [str(bound) for bound in rate.bounds] == ["≥ 0", "< 1"]
    assert (rate.help, rate.is_float, rate.required, rate.default) == ("how fast", True, False, 0.5)
    assert (count.type, count.is_float, count.required) == (int, False, True)
    assert kind.default == "x"


def test_an_installed_package_registers_by_its_entry_point(monkeypatch, tmp_path):
    (tmp_path / "their_rules.py").write_text(
        "from optrun.optim import Optimizer\n"
        "class Theirs(Optimizer):\n"
        "    @staticmethod\n"
        "    def update(p, g, t, /, *, lr: float = 0.1): p -= lr * g\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    entry_point = EntryPoint("theirs", "their_rules", "optrun.plugins")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry_point])
    registry._load_entry_points.cache_clear()
    try:
        assert "theirs" in registry.optimizers
    finally:
        registry.optimizers._classes.pop("theirs", None)
        registry.optimizers._names.pop("theirs", None)


def test_a_broken_entry_point_is_named(monkeypatch):
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [EntryPoint("bad", "no_such_module", "optrun.plugins")]
    )
    registry._load_entry_points.cache_clear()
    try:
        with pytest.raises(PluginError, match="plugin 'bad' .no_such_module.: ModuleNotFoundError"):
            registry.optimizers.find("Adam")
    finally:
        registry._load_entry_points.cache_clear()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("mime.py", "no such file or directory. Did you mean 'mine.py'?"),
        ("folder.py", "is a directory"),
        ("./", "this is a directory: give a file in it, or the name of a package on Python's path"),
        ("folder.py/", "is a directory"),
        ("notes.txt", "the file of a plugin ends in .py"),
        ("--seed", "there is no such file and no such module; a file ends in .py"),
        ("", "there is no such file and no such module; a file ends in .py"),
        ("no_such.module", "there is no such file and no such module; a file ends in .py"),
        ("json.nothing", "there is no such file and no such module; a file ends in .py"),
        ("folder/mine", "there is no such module. Did you mean 'folder/mine.py'?"),
        ("a\0.py", "embedded null byte"),
    ],
)
def test_a_plugin_that_is_none_is_named_in_words(target, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("folder", "folder.py"):
        (tmp_path / folder).mkdir()
    for file in ("mine.py", "notes.txt", "folder/mine.py"):
        (tmp_path / file).touch()
    with pytest.raises(PluginError) as caught:
        plugins.load_plugins([target])
    assert str(caught.value) == f"plugin {target!r}: {said}"


def test_what_a_plugin_imports_and_is_not_there_is_named(tmp_path, monkeypatch):
    (tmp_path / "needy.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    for target in ("needy", str(tmp_path / "needy.py")):
        with pytest.raises(PluginError, match=r"No module named 'no_such_module' \(.*needy.py:1\)"):
            plugins.load_plugin(target)


EMPTY = "class Mine:\n    pass\n"
RULE = """\
from optrun.optim import Optimizer

class {name}(Optimizer):
    @staticmethod
    def update(p, g, t, /, *, lr: float = 1e-3):
        p -= lr * g
"""


def test_a_plugin_that_registers_nothing_is_told(tmp_path, monkeypatch):
    assert "SGD" in registry.optimizers  # what is shipped is loaded, and stays
    restore_after(monkeypatch, registry.optimizers)
    file = tmp_path / "mine.py"
    file.write_text(EMPTY)
    with pytest.warns(OptrunWarning, match=r"mine\.py' registers nothing: it has no class that inherits"):
        plugins.load_plugins([str(file)])
    with pytest.warns(OptrunWarning, match="plugin 'json' registers nothing"):
        plugins.load_plugins(["json"])
    file.write_text(RULE.format(name="Mine"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):  # a class that is registered again is one too
            plugins.load_plugin(str(file))


def test_a_name_that_is_taken_is_named_with_the_file_that_took_it(tmp_path, monkeypatch):
    assert "SGD" in registry.optimizers  # what is shipped is loaded, and stays
    restore_after(monkeypatch, registry.optimizers)
    for file, name in (("own.py", "SGD"), ("first.py", "Taken"), ("second.py", "Taken")):
        (tmp_path / file).write_text(RULE.format(name=name))
    plugins.load_plugin(str(tmp_path / "first.py"))
    with pytest.raises(PluginError, match=r"'Taken' is already registered by /.*first\.py:3: another class"):
        plugins.load_plugin(str(tmp_path / "second.py"))
    with pytest.raises(PluginError, match=r"'SGD' is already registered by optrun \(optrun\.optim\.sgd\)"):
        plugins.load_plugin(str(tmp_path / "own.py"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("AdmW", "Did you mean 'AdamW'\\?"),
        ("SDG", "Did you mean 'SGD'\\?"),
        ("MyAdam", "Did you mean 'Adam'\\? A class of your own needs --plugin FILE."),
        ("Quux", "There are: .*Adadelta, .*, SGD.* A class of your own needs --plugin FILE."),
    ],
)
def test_an_unknown_name_that_may_be_of_a_plugin_says_how_to_load_it(name, hint):
    with pytest.raises(UnknownNameError, match=rf"unknown optimizer '{name}'\. {hint}$"):
        registry.optimizers.find(name)


LACKING = {
    "LRScheduler": ("schedulers", "scheduler", r"value\(t, base, /, \*, …\)"),
    "Optimizer": ("optim", "optimizer", r"update\(p, g, t, /, …, \*, lr: …\)"),
    "Average": ("optim", "average", r"update\(a, p, n, /, \*, …\)"),
}


@pytest.mark.parametrize("base", LACKING)
def test_a_class_without_the_method_of_its_kind_is_named(base, tmp_path, monkeypatch):
    package, kind, method = LACKING[base]
    found = registry.SECTIONS[kind]
    assert len(found)  # what is shipped is loaded, and stays
    monkeypatch.setattr(found, "_lacking", dict(found._lacking))
    source = f"from optrun.{package} import {base}\n\n\nclass Warm({base}):\n    def at(self, t):\n        return t\n"
    (tmp_path / "warm.py").write_text(source)
    said = rf"Warm is no {kind}: it lacks {method} \(.*warm\.py:4\)"
    with pytest.warns(OptrunWarning, match=said):
        plugins.load_plugin(str(tmp_path / "warm.py"))
    with pytest.raises(UnknownNameError, match=said):
        found.find("warm")


def test_a_problem_without_an_abstract_method_is_named_where_it_is_defined(tmp_path, monkeypatch):
    assert "beale" in registry.problems  # what is shipped is loaded, and stays
    restore_after(monkeypatch, registry.problems)
    (tmp_path / "flat.py").write_text(
        "from optrun.problems import Problem\n\n\nclass Flat(Problem):\n    pass\n"
    )
    plugins.load_plugin(str(tmp_path / "flat.py"))
    said = r"problem Flat lacks evaluate, initial, loss_and_grad, shapes \(.*flat\.py:4\)"
    with pytest.raises(PluginError, match=said):
        optrun.run({"problem": "flat", "optimizer": "SGD", "steps": 1}, save=False)


@pytest.mark.parametrize(
    ("base", "source"),
    [
        ("problems", "class Loose(Problem):\n    def __init__(self, arrays, *, width=3): pass"),
        ("optim", "class Loose(Average):\n    @staticmethod\n    def update(a, p, n, /, *, width=3): pass"),
    ],
)
def test_an_option_without_a_type_is_refused(base, source, tmp_path):
    (tmp_path / "loose.py").write_text(f"from optrun.{base} import *\n\n\n{source}\n")
    with pytest.raises(PluginError, match=r"width needs a type, such as width: float \(.*loose\.py:4\)"):
        plugins.load_plugin(str(tmp_path / "loose.py"))


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        (int, np.int64(5), "X: a must be an integer (got np.int64(5))"),
        (bool, np.True_, "X: a must be true or false (got np.True_)"),
        (list[int], np.array([3, 5]), "X: a must be a list (got array([3, 5]))"),
        (list[int], [np.int64(3)], "X: a.0 must be an integer (got np.int64(3))"),
        (registry.Positive, np.float64(-1), "X: a must be > 0 (got -1.0)"),
        (float, np.float64("nan"), "X: a must be finite (got .nan)"),
    ],
)
def test_a_value_of_numpy_is_shown_as_one_where_its_type_is_the_mistake(annotation, value, said):
    with pytest.raises(ConfigError) as caught:
        registry.Option("a", annotation, None).check(value, "X")
    assert str(caught.value) == said
