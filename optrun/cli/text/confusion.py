"""A confusion matrix as lines."""

from collections.abc import Iterator, Sequence

from optrun.arrays import Array
from optrun.errors import printable


def confusion_lines(classes: Sequence[int | str], counts: Array) -> Iterator[str]:
    """Yield how many samples of each class, along rows, were predicted as each ``[C, C]``."""
    names = [printable(str(name)) for name in classes]
    most = max(map(len, names))
    widths = [max(len(name), len(f"{counts[:, i].max():,}")) for i, name in enumerate(names)]
    titles = [f"{name:>{width}}" for name, width in zip(names, widths, strict=True)]
    yield f"  {'':<{most}}  {'  '.join(titles)}"
    for name, row in zip(names, counts, strict=True):
        cells = [f"{count:>{width},}" for count, width in zip(row, widths, strict=True)]
        yield f"  {name:<{most}}  {'  '.join(cells)}"
