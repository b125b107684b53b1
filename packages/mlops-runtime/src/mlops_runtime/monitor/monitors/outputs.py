"""Quality of models with several numeric outputs: regression metrics of each output, and the mean of their WAPEs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mlops_runtime.monitor.monitors import regression
from mlops_runtime.monitor.monitors.intervals import Resampling
from mlops_runtime.monitor.monitors.quality_metrics import OF_EACH_OUTPUT
from mlops_runtime.monitor.monitors.rows import Rows, Wide

TOGETHER = "wape"


def names_of(outputs: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the metrics of a model's outputs."""
    return (TOGETHER, *(f"{metric}/{name}" for metric in OF_EACH_OUTPUT for name in outputs))


def values(rows: Rows, outputs: Sequence[str]) -> dict[str, float]:
    """Return each metric of labelled rows; NaN if undefined.

    Example:
        >>> rows = Rows.of(np.array([[8.0, 1.0], [12.0, 1.0]]), np.array([[10.0, 1.0], [10.0, 1.0]]))
        >>> found = values(rows, ("weight", "waist"))
        >>> found["wape"], found["wape/weight"], found["mae/waist"]
        (0.1, 0.2, 0.0)
    """
    each = [regression.values(output) for output in _outputs(rows, outputs)]
    found = {
        f"{metric}/{name}": of[metric] for name, of in zip(outputs, each, strict=True) for metric in OF_EACH_OUTPUT
    }
    return {TOGETHER: float(np.mean([of[TOGETHER] for of in each])), **found}


def draws(rows: Rows, outputs: Sequence[str], resampling: Resampling) -> Mapping[str, Wide]:
    """Return each metric of each bootstrap draw of the rows."""
    each = [regression.draws(output, resampling) for output in _outputs(rows, outputs)]
    found = {
        f"{metric}/{name}": of[metric] for name, of in zip(outputs, each, strict=True) for metric in OF_EACH_OUTPUT
    }
    return {TOGETHER: np.mean([of[TOGETHER] for of in each], axis=0), **found}


def _outputs(rows: Rows, outputs: Sequence[str]) -> Iterator[Rows]:
    for place in range(len(outputs)):
        yield replace(rows, prediction=rows.prediction[:, place], label=rows.label[:, place])
