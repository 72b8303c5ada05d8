"""The metrics of a run, next to those of its averaged parameters."""

from collections.abc import Iterator, Mapping

_AVERAGE = "average_"


def metric_lines(summary: Mapping[str, float | None]) -> Iterator[str]:
    """Yield a line for each metric; the value at the averaged parameters follows the one at the parameters."""
    pairs = dict(paired(summary))
    width = max(map(len, pairs), default=0)
    column = max((len(number(summary[name])) for name, beside in pairs.items() if beside), default=0)
    for name, beside in pairs.items():
        text = number(summary[name])
        yield f"{name:<{width}}  " + (
            f"{text:<{column}}   average {number(summary[beside])}" if beside else text
        )


def paired(names: Mapping[str, float | None]) -> Iterator[tuple[str, str | None]]:
    """Yield each metric with the name of the same metric at the averaged parameters, or None."""
    averages = {name: f"{_AVERAGE}{'loss' if name == 'final_loss' else name}" for name in names}
    for name, average in averages.items():
        if name not in averages.values():
            yield name, average if average in names else None


def number(value: float | None) -> str:
    """Format a metric; None is a value that is not finite."""
    return "not finite" if value is None else format(value, ".6g")
