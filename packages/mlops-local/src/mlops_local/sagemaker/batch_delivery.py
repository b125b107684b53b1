"""Items that are delivered in batches on a thread, and values of metrics that CloudWatch gets this way."""

import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from ministack.core.responses import get_account_id, get_region

from mlops_local import clients
from mlops_local.sagemaker.container_processes import background

LOGGER = logging.getLogger(__name__)
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_EVERY = 0.3  # real seconds between deliveries
_VALUES = 150  # values per datum, and a safe number of data per request: PutMetricData allows 150 and 1,000
_DATA = 100

Dimensions = tuple[tuple[str, str], ...]
# dimensions, name and minute of a metric
Series = tuple[Dimensions, str, int]


class Batches(Generic[K, T]):
    """Items by key, delivered every ``_EVERY`` real seconds on a thread with the account and Region of their source."""

    def __init__(self, name: str, deliver: Callable[[dict[K, list[T]]], None]) -> None:
        self._name, self._deliver = name, deliver
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str], dict[K, list[T]]] = {}
        self._delivering = 0
        self._wake: dict[tuple[str, str], threading.Event] = {}

    def add(self, key: K, item: T) -> None:
        """Add an item to the next delivery."""
        scope = (get_account_id(), get_region())
        with self._lock:
            self._waiting.setdefault(scope, defaultdict(list))[key].append(item)
            if scope not in self._wake:
                self._wake[scope] = threading.Event()
                background(self._name, self._run, scope)
            self._wake[scope].set()

    def _run(self, scope: tuple[str, str]) -> None:
        wake, pause = self._wake[scope], threading.Event()
        while wake.wait():
            pause.wait(_EVERY)
            with self._lock:
                wake.clear()
                batch = self._waiting.pop(scope, {})
                self._delivering += 1
            try:
                self._deliver(batch)
            except Exception:
                LOGGER.exception("%s: a delivery failed", self._name)
            finally:
                with self._lock:
                    self._delivering -= 1

    def settle(self, limit: float) -> bool:
        """Wait at most some real seconds until everything is delivered; return whether it is."""
        deadline, pause = time.monotonic() + limit, threading.Event()
        while True:
            with self._lock:
                if not self._waiting and not self._delivering:
                    return True
            if time.monotonic() > deadline:
                return False
            pause.wait(0.02)


def metric_batches(name: str, namespace: str, unit_of: Callable[[str], str]) -> Batches[Series, float]:
    """Return batches of metric values, which CloudWatch gets with the count of each value."""

    def deliver(batch: dict[Series, list[float]]) -> None:
        data = []
        for (dimensions, metric, minute), values in batch.items():
            counted = list(Counter(values).items())
            for start in range(0, len(counted), _VALUES):
                part = counted[start : start + _VALUES]
                data.append(
                    {
                        "MetricName": metric,
                        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
                        "Timestamp": minute,
                        "Values": [value for value, _ in part],
                        "Counts": [float(times) for _, times in part],
                        "Unit": unit_of(metric),
                    }
                )
        client = clients.client("cloudwatch")
        for start in range(0, len(data), _DATA):
            client.put_metric_data(Namespace=namespace, MetricData=data[start : start + _DATA])

    return Batches(name, deliver)
