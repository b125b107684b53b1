"""Items that are delivered in batches, by account and Region."""

import threading
import time
from typing import Any

import pytest
from ministack.core.responses import get_account_id, get_region, request_scope

from mlops_local.sagemaker import batch_delivery
from mlops_local.sagemaker.batch_delivery import Batches
from mlops_local.sagemaker.container_processes import background


class _Deliveries:
    """Stores deliveries, with the account and region of the delivering thread."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, list[int]]]] = []
        self.arrived = threading.Event()

    def __call__(self, batch: dict[str, list[int]]) -> None:
        self.seen.append((get_account_id(), get_region(), dict(batch)))
        self.arrived.set()
        if "bad" in batch:
            raise ValueError("a delivery that fails")


def test_items_come_together_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items added within the interval are one delivery, in order, grouped by key."""
    deliveries = _Deliveries()
    batches: Batches[str, int] = Batches("test", deliveries)
    begun: list[tuple[Any, ...]] = []  # the test starts the interval, however long the lines before it take
    monkeypatch.setattr(batch_delivery, "background", lambda *arguments: begun.append(arguments))
    for key, item in (("a", 1), ("b", 2), ("a", 3)):
        batches.add(key, item)
    (arguments,) = begun
    background(*arguments)
    assert deliveries.arrived.wait(60)
    assert [batch for _, _, batch in deliveries.seen] == [{"a": [1, 3], "b": [2]}]


def test_accounts_and_regions_do_not_mix() -> None:
    """Each account and region delivers its own items with its own identity."""
    deliveries = _Deliveries()
    batches: Batches[str, int] = Batches("test", deliveries)
    scopes = [("111111111111", "eu-west-1"), ("222222222222", "us-east-1")]
    for number, scope in enumerate(scopes):
        with request_scope(*scope):
            batches.add("a", number)
    deadline = time.monotonic() + 60
    while len(deliveries.seen) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sorted(deliveries.seen) == [(*scope, {"a": [number]}) for number, scope in enumerate(scopes)]


def test_a_delivery_that_fails_does_not_end_the_next() -> None:
    """An error is logged; later items are delivered."""
    deliveries = _Deliveries()
    batches: Batches[str, int] = Batches("test", deliveries)
    batches.add("bad", 1)
    assert deliveries.arrived.wait(60)
    deliveries.arrived.clear()
    batches.add("good", 2)
    assert deliveries.arrived.wait(60)
    assert [batch for _, _, batch in deliveries.seen] == [{"bad": [1]}, {"good": [2]}]
