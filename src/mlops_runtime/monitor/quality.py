"""Model quality where labels have arrived: predictions and labels joined row by row.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlops_runtime.monitor.capture import CaptureError, is_since, read_call, read_labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What the labels of a window say.

    Args:
        rows: Labelled predictions.
        wape: Sum of absolute errors over the sum of absolute labels; None without labels that are not 0.
        bias: Sum of (prediction - label) over the sum of absolute labels: positive when predictions are too high.
        unmatched: Label records for which no call of this model was captured.
        mismatched: Calls whose number of labels is not their number of predictions: they are left out whole.
        malformed: Lines that could not be read, up to the call of the last label.
    """

    rows: int
    wape: float | None
    bias: float | None
    unmatched: int
    mismatched: int
    malformed: int


def measure(labels: Iterable[bytes | str], captures: Iterable[bytes | str], *, since: str = "") -> Quality:
    """Join labels with captured predictions and measure the error.

    The labels are held, the captures streamed. A label record that is uploaded again replaces the earlier one; a call that is
    captured twice counts once.

    Args:
        labels: Ground truth lines, in the order of their upload.
        captures: Capture lines of the time in which the labelled calls were made.
        since: Since when the live model serves (ISO 8601, UTC): errors of an earlier model are not its own.
            Default: all calls count.
    """
    known: dict[str, tuple[float | None, ...]] = {}
    malformed = 0
    for record in read_labels(labels):
        if record is None:
            malformed += 1
        else:
            known[record[0]] = record[1]
    errors: list[float] = []
    actuals: list[float] = []
    mismatched = 0
    # without a label left there is nothing to find: an unlabelled window reads no capture at all
    for line in captures if known else ():
        try:
            call = read_call(line, None) if line.strip() else None
        except CaptureError:
            malformed += 1
            continue
        if call is None or call.is_synthetic or call.predictions is None or not is_since(call.time, since):
            continue
        truth = known.pop(call.join_key, None)
        if truth is None:
            continue
        if len(truth) != len(call.predictions):
            mismatched += 1
            continue
        for label, value in zip(truth, call.predictions, strict=True):
            prediction = _finite(value)
            if label is not None and prediction is not None:
                errors.append(prediction - label)
                actuals.append(abs(label))
        if not known:
            break
    total = math.fsum(actuals)
    return Quality(
        rows=len(errors),
        wape=math.fsum(map(abs, errors)) / total if total > 0 else None,
        bias=math.fsum(errors) / total if total > 0 else None,
        unmatched=len(known),
        mismatched=mismatched,
        malformed=malformed,
    )


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
