"""What a trip around the loop must know of a unit: its stack, its periods, what is asked and what really happened."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.retail.loop import ROWS_PER_CALL
from examples.retail.page import Words
from mlops_runtime.features.store_client import FeatureStoreClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A unit as its trip sees it. A period is named by its first week.

    Args:
        stack: Name of its stack.
        unit: Name of the business unit.
        period: What a period is called.
        weeks: How many weeks a period has.
        tables: How many feature groups it has.
        ingest: Ingests what becomes known with the periods from one to another; gives the number of rows.
        requests: What is asked at the start of a period.
        labels: What really happened, in the order of the requests.
        naive: What the best naive rival says, in the same order.
        loss: Loss of predictions against labels.
        words: How the page speaks of it.
        bad_script: A training script whose model looks fair and is not, which shows under real traffic alone.
        refused_script: Script of a model that golden requests reject. Default: the unit has none.
        is_manual: Whether a person approves its models.
        rows_per_call: How many rows a client sends at once.
        first: First week that is live; all before it is history.
        whole_every: Which call of the traffic beside a rollout is another client's, which requests a whole period at once: every
            third with 3. Default: there is no such client.
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
