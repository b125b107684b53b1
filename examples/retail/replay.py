"""Description of a unit for its trip: stack, periods, requests and labels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.retail.loop import ROWS_PER_CALL
from examples.retail.page import Words
from mlops_runtime.features.store_client import FeatureStoreClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A unit for a trip. Periods are named by their first week.

    Args:
        unit: Name of the business unit.
        weeks: Weeks per period.
        tables: Number of feature groups.
        ingest: Ingests the data that becomes known in a range of periods; returns the number of rows.
        requests: Requests at the start of a period.
        labels: Labels in the order of the requests.
        naive: Predictions of the best naive rival, in the same order.
        loss: Loss of predictions against labels.
        words: Terms of its page.
        bad_script: Training script of a model that fails only under real traffic.
        refused_script: Script of a model that golden requests reject. Default: none.
        is_manual: Whether a person approves its models.
        rows_per_call: Rows per call of a client.
        first: First live week; earlier weeks are history.
        whole_every: Interval of calls during a rollout that request a whole period at once, by another client: every third with 3.
            Default: no such client.
    """

    stack: str
    unit: str
    period: str
    weeks: int
    tables: int
    ingest: Callable[[FeatureStoreClient, int, int], int]
    requests: Callable[[int], list[dict[str, object]]]
    labels: Callable[[int], list[float]]
    naive: Callable[[int], Sequence[float]]
    loss: Callable[[Sequence[float], Sequence[float]], float]
    words: Words
    bad_script: Path
    refused_script: Path | None = None
    is_manual: bool = False
    rows_per_call: int = ROWS_PER_CALL
    whole_every: int | None = None
    first: int = 31


def wape(predictions: Sequence[float], labels: Sequence[float]) -> float:
    """Return the sum of absolute errors over the sum of labels.

    Example:
        >>> wape([2.0, 2.0], [1.0, 3.0])
        0.5
    """
    return sum(abs(p - y) for p, y in zip(predictions, labels, strict=True)) / sum(labels)


def log_loss(predictions: Sequence[float], labels: Sequence[float]) -> float:
    """Return the mean log loss of probabilities against labels of 0 and 1.

    Example:
        >>> round(log_loss([0.5, 0.5], [1.0, 0.0]), 3)
        0.693
    """
    given = (p if y == 1 else 1 - p for p, y in zip(predictions, labels, strict=True))
    return -sum(math.log(max(p, 1e-15)) for p in given) / len(labels)
