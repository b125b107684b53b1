"""Batching of calls: each caller gets its own rows, and no other caller's error."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.serving.call_batching import BatchedModel
from mlops_runtime.serving.served_model import ModelError, SlowModelError
from mlops_runtime.serving.worker_process import WorkerEndedError

LONG = 60.0


class Doubling:
    """A model that doubles its first column; a negative row fails the whole batch."""

    signature = ModelSignature(inputs=(SignatureColumn(name="x", type="number"),), output="y")
    sha256 = signature_sha256 = "0" * 64
    manifest = None

    def __init__(self, error: Exception | None = None) -> None:
        self.sizes: list[int] = []
        self.is_closed = False
        self._error = error or ModelError("a row is negative")

    def predict(self, rows: Any) -> Any:
        """Respond or fail."""
        self.sizes.append(len(rows))
        if (rows < 0).any():
            raise self._error
        return 2 * rows[:, 0]

    def close(self) -> None:
        """Record the end."""
        self.is_closed = True


def rows(*values: float) -> Any:
    """Return rows of one column."""
    return np.array([[value] for value in values], dtype=np.float32)


def together(model: BatchedModel, calls: Sequence[Any]) -> list[Any]:
    """Call from several threads at once; return each result or error."""
    start = threading.Barrier(len(calls))

    def call(given: Any) -> Any:
        start.wait(LONG)
        try:
            return model.predict(given).tolist()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def test_each_caller_gets_its_own_rows() -> None:
    """In one call of the model, once the batch is full."""
    inner = Doubling()
    calls = [rows(*range(i, i + 1 + i % 3)) for i in range(9)]
    size = sum(map(len, calls))
    found = together(BatchedModel(inner, seconds=LONG, max_rows=size), calls)
    assert found == [[2.0 * value for value in call[:, 0]] for call in calls]
    assert inner.sizes == [size]


def test_a_caller_alone_waits_no_longer_than_the_bound() -> None:
    """It is processed after the maximum wait."""
    inner = Doubling()
    assert BatchedModel(inner, seconds=0.001).predict(rows(3)).tolist() == [6.0]
    assert inner.sizes == [1]


def test_a_large_call_is_a_batch_of_its_own() -> None:
    """It does not wait."""
    inner = Doubling()
    assert len(BatchedModel(inner, seconds=LONG, max_rows=3).predict(rows(1, 2, 3, 4))) == 4
    assert inner.sizes == [4]


def test_a_batch_that_is_full_does_not_wait_for_its_bound() -> None:
    """A call that does not fit starts another batch."""
    inner = Doubling()
    found = together(BatchedModel(inner, seconds=0.2, max_rows=5), [rows(1, 2, 3), rows(4, 5, 6), rows(7, 8, 9)])
    assert found == [[2.0, 4.0, 6.0], [8.0, 10.0, 12.0], [14.0, 16.0, 18.0]]
    assert inner.sizes == [3, 3, 3]


def test_the_error_of_one_caller_reaches_no_other() -> None:
    """Each call of the batch is repeated alone."""
    inner = Doubling()
    good, bad, also = together(BatchedModel(inner, seconds=LONG, max_rows=3), [rows(1), rows(-1), rows(2)])
    assert (good, also) == ([2.0], [4.0])
    assert isinstance(bad, ModelError)
    assert inner.sizes == [3, 1, 1, 1]


@pytest.mark.parametrize("error", [WorkerEndedError("ended"), SlowModelError("slow")])
def test_a_process_that_is_gone_is_not_asked_again(error: Exception) -> None:
    """All callers of the batch get the error."""
    inner = Doubling(error)
    assert together(BatchedModel(inner, seconds=LONG, max_rows=2), [rows(1), rows(-1)]) == [error, error]
    assert inner.sizes == [2]


def test_it_is_the_model_in_all_else() -> None:
    """Signature, hashes and closing are the model's."""
    inner = Doubling()
    model = BatchedModel(inner, seconds=0.001)
    assert (model.signature, model.sha256, model.signature_sha256) == (inner.signature, inner.sha256, inner.sha256)
    assert model.manifest is None
    model.close()
    assert inner.is_closed
