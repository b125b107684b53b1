"""Batch the calls of several callers into one call of the model. Each waits for a limited time and gets its own predictions."""

import threading
from collections.abc import Sequence

import numpy as np

from mlops_runtime.serving.served_model import Matrix, ServedModel, SlowModelError
from mlops_runtime.serving.worker_process import WorkerEndedError

MAX_ROWS = 2_000


class BatchedModel:
    """A model that combines concurrent calls into batches; it must be called from several threads.

    The first caller of a batch runs the model for all. If that fails, each call is run separately, so that no caller gets
    another's error.

    Args:
        model: The model; its rows must not depend on each other, as an evaluation verifies.
        seconds: Longest time that a call waits for others.
        max_rows: Maximum rows per batch; a call with at least as many is not batched.

    Example:
        >>> model = BatchedModel(load_directory(Path("/opt/ml/model")), seconds=0.005)  # doctest: +SKIP
    """

    def __init__(self, model: ServedModel, *, seconds: float, max_rows: int = MAX_ROWS) -> None:
        self._model, self._seconds, self._max_rows = model, seconds, max_rows
        self.signature, self.manifest = model.signature, model.manifest
        self.sha256, self.signature_sha256 = model.sha256, model.signature_sha256
        self._changed = threading.Condition()
        self._open: _Batch | None = None

    def predict(self, rows: Matrix) -> Matrix:
        """Return one prediction per row.

        Raises:
            ModelError: If the model fails for these rows.
            SlowModelError: If the model does not finish the batch in time.
        """
        if len(rows) >= self._max_rows:
            return self._model.predict(rows)
        with self._changed:
            batch = self._open
            if batch is not None and batch.size + len(rows) <= self._max_rows and batch.kind == rows.dtype:
                place = batch.add(rows)
                if batch.size == self._max_rows:
                    self._changed.notify_all()
            else:
                batch, place = _Batch(rows), 0
                self._open = batch
                self._changed.notify_all()  # releases the first caller of the previous batch
            is_first = place == 0
            if is_first:
                self._changed.wait_for(lambda: batch.size == self._max_rows or self._open is not batch, self._seconds)
                if self._open is batch:
                    self._open = None
        if is_first:
            batch.answer(self._model)
        return batch.result(place)

    def close(self) -> None:
        """Close the model."""
        self._model.close()


class _Batch:
    """Calls that are run together."""

    def __init__(self, rows: Matrix) -> None:
        self.size, self.kind = len(rows), rows.dtype
        self._calls = [rows]
        self._answers: Sequence[Matrix | Exception] = ()
        self._answered = threading.Event()

    def add(self, rows: Matrix) -> int:
        """Add a call and return its index."""
        self._calls.append(rows)
        self.size += len(rows)
        return len(self._calls) - 1

    def answer(self, model: ServedModel) -> None:
        """Run the model for all calls together or, if that fails, for each."""
        try:
            self._answers = self._together(model)
        except Exception as error:  # each of the callers raises it
            self._answers = [error] * len(self._calls)
        self._answered.set()

    def result(self, place: int) -> Matrix:
        """Wait for the batch and return the predictions of one call."""
        self._answered.wait()
        found = self._answers[place]
        if isinstance(found, Exception):
            raise found
        return found

    def _together(self, model: ServedModel) -> Sequence[Matrix | Exception]:
        if len(self._calls) == 1:
            return [model.predict(self._calls[0])]
        try:
            whole = model.predict(np.concatenate(self._calls))
        except (WorkerEndedError, SlowModelError):
            raise  # the model's process has ended
        except Exception:  # the model may raise anything, for one caller's rows
            return [_alone(model, rows) for rows in self._calls]
        ends = np.cumsum([len(rows) for rows in self._calls])[:-1]
        return np.split(whole, ends)


def _alone(model: ServedModel, rows: Matrix) -> Matrix | Exception:
    try:
        return model.predict(rows)
    except Exception as error:  # the caller raises it
        return error
