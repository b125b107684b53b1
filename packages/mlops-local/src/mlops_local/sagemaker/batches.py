"""Things that are gathered for a moment and delivered together, off the path of the request that made them."""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from ministack.core.responses import get_account_id, get_region

from mlops_local.sagemaker.processes import background

LOGGER = logging.getLogger(__name__)
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_EVERY = 0.3  # real seconds between deliveries


class Batches(Generic[K, T]):
    """Items by key, delivered every ``_EVERY`` real seconds on a thread of the account and region that gave them.

    Args:
        name: For the log.
        deliver: Takes everything gathered since the last delivery.
    """

    def __init__(self, name: str, deliver: Callable[[dict[K, list[T]]], None]) -> None:
        self._name, self._deliver = name, deliver
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str], dict[K, list[T]]] = {}
        self._wake: dict[tuple[str, str], threading.Event] = {}

    def add(self, key: K, item: T) -> None:
        """Take an item for the next delivery."""
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
            try:
                self._deliver(batch)
            except Exception:
                LOGGER.exception("%s: a delivery failed", self._name)
