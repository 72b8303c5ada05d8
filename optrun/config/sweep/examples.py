"""What the parts of a `sweep:` block look like, for messages about one that does not."""

from optrun.config.yaml.tree import Path

FORMS: dict[str | int, str] = {
    "parameters": "{optimizer.lr: [1e-3, 1e-2]}",
    "zip": "{optimizer.lr: [1e-3, 1e-2], steps: [200, 100]}",
    "include": "{optimizer.lr: 1e-3, steps: 100}",
    "exclude": "{optimizer.lr: 1e-3, steps: 100}",
    "metric": "{name: final_loss}",
    "halving": "{min_steps: 100}",
    "optuna": "{sampler: tpe}",
    "spaces": "{parameters: {optimizer.lr: [1e-3, 1e-2]}}",
}
MISPLACED = "{} stands beside parameters, not among them"
MAPPING, LIST = "must be a mapping", "must be a list"


def with_form(path: Path, text: str) -> str:
    """Return what is wrong with a part of the block, and where its kind is wrong what it looks like."""
    if not path:
        return text
    part = path[-2] if isinstance(path[-1], int) and len(path) > 1 else path[-1]
    if part not in FORMS:
        return text
    if path[-2:-1] == ("parameters",):
        return MISPLACED.format(part)
    if text.startswith(MAPPING):
        return text.replace(MAPPING, f"{MAPPING} such as {FORMS[part]}", 1)
    return f"{text.partition(';')[0]}, such as [{FORMS[part]}]" if text.startswith(LIST) else text
