"""Which metrics of predictions suit the data of a problem."""

from collections.abc import Mapping, Sequence

from optrun.arrays import Array
from optrun.registry import prediction_metrics

_OF = {"classification": "classes", "regression": "numbers"}


def unsuitable(metric: str, targets: Mapping[str, Array], labels: Sequence[str]) -> str:
    """Return why a metric does not suit the targets ``[n]`` of the parts; empty where it does.

    ``labels`` are the names of the classes, empty for a regression.
    """
    cls = prediction_metrics.find(metric)
    task = "classification" if labels else "regression"
    if cls.task != task:
        suited = [
            name for name in prediction_metrics.in_order() if prediction_metrics.find(name).task == task
        ]
        return f"which predicts {_OF[task]}: {', '.join(suited)} suit it"
    for part, own in targets.items():
        if why := cls.undefined(own, labels):
            return f"whose {part} part {why}"
    return ""
