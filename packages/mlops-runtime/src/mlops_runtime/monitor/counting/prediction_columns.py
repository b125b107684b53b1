"""Convert list-valued predictions to columns for counting: the predicted class, or one column an output."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.counting.baseline_cells import Coded, Column
from mlops_runtime.monitor.counting.capture_lines import NO_PREDICTION


def prediction_columns(predictions: Column, baseline: Baseline) -> Sequence[Column]:
    """Return the columns of predictions to count against a baseline.

    Args:
        predictions: One prediction a row; a list each for a model with classes or outputs.

    Example:
        >>> baseline = Baseline(features=(), rows=0, training_set_id="t", created="", classes=("red", "white", "rose"))
        >>> prediction_columns([[0.2, 0.7, 0.1], ["0.5", "0.3", "0.2"], [1, 2]], baseline)
        [['white', 'red', False]]
    """
    if isinstance(predictions, Coded):
        return [predictions]
    if baseline.classes is not None:
        return [[_class(value, baseline.classes) for value in predictions]]
    if baseline.outputs is not None:
        lists = [numbers_of(value, len(baseline.outputs)) for value in predictions]
        return [
            [NO_PREDICTION if values is None else values[place] for values in lists]
            for place in range(len(baseline.outputs))
        ]
    return [predictions] if baseline.width is None else []


def predicted_class(values: Sequence[float], classes: Sequence[str]) -> str:
    """Return the class with the largest value; the first one in a tie."""
    return classes[max(range(len(values)), key=values.__getitem__)]


def predicted_classes(
    predictions: Iterable[Sequence[float]], given: Iterable[bool], classes: Sequence[str]
) -> list[str | None]:
    """Return the predicted class of each row; None for rows without a prediction.

    Example:
        >>> predicted_classes([[0.2, 0.8], [float("nan")] * 2], [True, False], ["a", "b"])
        ['b', None]
    """
    rows = zip(predictions, given, strict=True)
    return [predicted_class(values, classes) if is_given else None for values, is_given in rows]


def numbers_of(value: Any, columns: int) -> list[float] | None:
    """Return a prediction's numbers; None if it has another length or a value is not a finite number.

    Example:
        >>> numbers_of(["1", 2], 2), numbers_of([1, None], 2)
        ([1.0, 2.0], None)
    """
    if isinstance(value, str) or not hasattr(value, "__len__") or len(value) != columns:
        return None
    try:
        found = [
            float(each) for each in value if not isinstance(each, bool) and not (isinstance(each, str) and "_" in each)
        ]
    except (TypeError, ValueError, OverflowError):
        return None
    return found if len(found) == columns and all(map(math.isfinite, found)) else None


def _class(value: Any, classes: Sequence[str]) -> Any:
    numbers = numbers_of(value, len(classes))
    return NO_PREDICTION if numbers is None else predicted_class(numbers, classes)
