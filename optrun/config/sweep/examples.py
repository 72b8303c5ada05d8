"""What the parts of a `sweep:` block look like, for messages about one that does not."""

from collections.abc import Sequence

from optrun.checks.messages import of_seeds
from optrun.config.yaml.tree import Path, YamlNode
from optrun.config.yaml.writer import inline
from optrun.errors import did_you_mean
from optrun.registry import SECTIONS, methods

METRIC = ("name", "goal")

_FORMS: dict[str | int, str] = {
    "parameters": "{optimizer.lr: [1e-3, 1e-2]}",
    "zip": "{optimizer.lr: [1e-3, 1e-2], steps: [200, 100]}",
    "include": "{optimizer.lr: 1e-3, steps: 100}",
    "exclude": "{optimizer.lr: 1e-3, steps: 100}",
    "metric": "{name: final_loss}, or the name alone",
    "spaces": "{parameters: {optimizer.lr: [1e-3, 1e-2]}}",
}


def forms() -> dict[str | int, str]:
    """Return what each part of a block looks like, the options of methods among them."""
    return _FORMS | {name: form for name in methods if (form := method_form(name))}


def method_form(name: str) -> str:
    """Return what the options of a method look like; nothing where it has none."""
    options = methods.find(name).options().values()
    parts = (f"{each.name}: {'…' if each.required else inline(each.default)}" for each in options)
    return f"{{{', '.join(parts)}}}" if options else ""


def meant(key: str, value: YamlNode, known: Sequence[str]) -> str:
    """Return what to write in place of an unknown key of a block or a space, which may be a swept parameter."""
    is_section = isinstance(value.value, dict) and key in SECTIONS
    if not (is_section or "." in key) and (hint := did_you_mean(key, known)):
        return hint
    if key in METRIC:
        return f" Did you mean 'metric.{key}'?"
    if is_section:
        key = f"{key}.{next(iter(value.children), '…')}"
    if isinstance(value.value, (dict, list)):
        return f" What varies stands under parameters: {{{key}: […]}}"
    return f" Known here: {', '.join(known)}"


MISPLACED = "{} stands beside parameters, not among them"
ALL_OR_LIST = "must be 'all'"
MAPPING, LIST = "must be a mapping", "must be a list"


def with_form(path: Path, text: str) -> str:
    """Return what is wrong with a part of the block, and where its kind is wrong what it looks like."""
    if not path:
        return text.replace(MAPPING, f"{MAPPING} such as {{parameters: {_FORMS['parameters']}}}", 1)
    if path == ("repeats",) and text.startswith("must be an integer or a list"):
        return f"{text}: how many seeds, such as 5, or which, such as [0, 1, 2]"
    if path == ("optimizers",) and text.startswith(ALL_OR_LIST):
        return f"{text}: all that have a search space, or a list of names, such as [SGD]"
    if path == ("seed",):
        return of_seeds(text)
    part = path[-2] if isinstance(path[-1], int) and len(path) > 1 else path[-1]
    known = forms()
    if part not in known:
        return text
    if path[-2:-1] == ("parameters",):
        return MISPLACED.format(part)
    if text.startswith(MAPPING):
        return text.replace(MAPPING, f"{MAPPING} such as {known[part]}", 1)
    return f"{text.partition(';')[0]}, such as [{known[part]}]" if text.startswith(LIST) else text
