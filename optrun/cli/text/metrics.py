"""The metrics of a run, next to those of its averaged parameters."""

from collections.abc import Iterator, Mapping

_AVERAGE = "average_"


def metric_lines(
    summary: Mapping[str, float | None], baselines: Mapping[str, Mapping[str, float]] | None = None
) -> Iterator[str]:
    """Yield a line for each metric: its value, that at the averaged parameters, and those of the baselines."""
    pairs = dict(paired(summary))
    columns = [
        {name: number(summary[name]) for name in pairs},
        {name: f"average {number(summary[beside])}" for name, beside in pairs.items() if beside},
        *(
            {name: f"{title} {number(of[name])}" for name in pairs if name in of}
            for title, of in (baselines or {}).items()
        ),
    ]
    columns = [texts for texts in columns if texts]
    widths = [
        # A last value, which none follows, widens no column.
        max(
            (len(text) for name, text in texts.items() if any(name in of for of in columns[i + 1 :])),
            default=0,
        )
        for i, texts in enumerate(columns)
    ]
    width = max(map(len, pairs), default=0)
    for name in pairs:
        cells = [f"{texts.get(name, ''):<{widths[i]}}" for i, texts in enumerate(columns)]
        yield f"{name:<{width}}  {'   '.join(cells)}".rstrip()


def paired(names: Mapping[str, float | None]) -> Iterator[tuple[str, str | None]]:
    """Yield each metric with the name of the same metric at the averaged parameters, or None."""
    averages = {name: f"{_AVERAGE}{'loss' if name == 'final_loss' else name}" for name in names}
    for name, average in averages.items():
        if name not in averages.values():
            yield name, average if average in names else None


def number(value: float | None) -> str:
    """Format a metric; None is a value that is not finite."""
    return "not finite" if value is None else format(value, ".6g")
