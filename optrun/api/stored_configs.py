"""Configs of files, and of the runs of a sweep: `SWEEP:15` and `SWEEP:best` are configs too."""

from collections.abc import Sequence
from pathlib import Path

from optrun.config import Place, Resolved, resolve
from optrun.config.resolution import resolved
from optrun.config.yaml.tree import Document, YamlNode
from optrun.store import Store
from optrun.store.locate import BEST


def resolve_any(source: str | Path, overrides: Sequence[str] = ()) -> Resolved:
    """Return the config of a YAML file, or that of a run of a sweep, named as `SWEEP:15` or `SWEEP:best`.

    Raises ConfigErrors with every issue and its place, and StoreError if there is no such run.
    """
    if not is_of_sweep(source):
        return resolve(source, overrides)
    from optrun.analysis.best_run import find_numbered  # imports the sweeps, which a file does not need

    path, number = find_numbered(source)
    with Store.open(path) as store:
        record = store.run(number or 0)
    root = YamlNode.of(record.config, Place(f"{path}:{record.run}"))
    return resolved(Document(root, [], set()), overrides)


def is_of_sweep(source: str | Path) -> bool:
    """Whether a text names a run of a sweep, rather than a file."""
    name, _, number = str(source).rpartition(":")
    return bool(name) and (number.isdecimal() or number == BEST) and not Path(source).exists()
