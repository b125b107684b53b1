"""Fit a baseline to the captured calls of past weeks."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.monitor import Baseline, Condition
from mlops_runtime.contracts.rollout import TakenBack, is_among
from mlops_runtime.monitor.counting.announced import IsAnnounced, never_announced
from mlops_runtime.monitor.counting.baseline import BaselineError, Predicted, Type, fit_baseline
from mlops_runtime.monitor.counting.baseline_cells import (
    NOT_A_NUMBER,
    Coded,
    Column,
    LevelCodes,
    finite_numbers,
    to_numbers,
)
from mlops_runtime.monitor.counting.capture_lines import Call, LineReader
from mlops_runtime.monitor.counting.prediction_columns import numbers_of, predicted_classes
from mlops_runtime.monitor.counting.problems import sentence

_CHUNK_ROWS = 8192
_UNITS = {"hour": "datetime64[h]", "day": "datetime64[D]"}


def live_baseline(
    captures: Iterable[Iterable[bytes | str]],
    types: Mapping[str, Type],
    *,
    created: str,
    training_set_id: str = "",
    since: str = "",
    cluster: Literal["call", "hour", "day"] = "hour",
    conditions: Sequence[Condition] = (),
    pairs: Sequence[Sequence[str]] = (),
    identifiers: Sequence[str] = (),
    aside: Sequence[TakenBack] = (),
    announced: IsAnnounced = never_announced,
    classes: tuple[str, ...] | None = None,
    outputs: tuple[str, ...] | None = None,
) -> Baseline:
    """Return the baseline of past weeks' calls, for a model whose live data always differed from its training set.

    Uses four bytes of memory a value. A value that is neither a number nor a string is read as null.

    Args:
        captures: The lines of each capture object, read once. A call that occurs twice is counted twice.
        types: Type of each of the model's inputs, in the model's order.
        created: Time of creation, ISO 8601.
        training_set_id: The live model's training set. Default: unknown.
        since: Time since which the model is live (ISO 8601, UTC); earlier calls are excluded. Default: all calls count.
        cluster: Unit of correlated rows: those of a call, an hour or a day.
        conditions: Conditions by whose strata live rows are compared. Default: none.
        pairs: Pairs of features whose contingency table is stored. Default: none.
        identifiers: Columns that are unique identifiers, besides those that are recognised. Default: none.
        aside: Rollouts that were rolled back; calls during them are excluded. Default: none.
        announced: Returns whether the platform announced a call as its own. Default: no call is announced.
        classes: The model's classes. Default: predictions are numbers.
        outputs: The outputs of a model with several numeric outputs. Default: one number a row.

    Raises:
        BaselineError: If no row can be read, with the number of each problem.
        ConditionError: See `fit_baseline`.
        PairError: See `fit_baseline`.

    Example:
        >>> live_baseline([], {"price": "number"}, created="2017-08-01T00:00:00Z")
        Traceback (most recent call last):
        mlops_runtime.monitor.counting.feature_baseline.BaselineError: captures must contain rows of the live model, got none
    """
    width = None if classes is None and outputs is None else len(classes or outputs or ())
    reader, rows = LineReader(tuple(types), since, announced, columns=width), _Columns(types, width)
    for lines in captures:
        for call in reader.read(lines):
            if not is_among(call.time, call.time, aside):
                rows.add(call)
    columns, predictions, calls, times = rows.result()
    if len(calls) == 0:
        problems = {sentence(problem): times for problem, times in reader.problems.items()}
        left_out = {**problems, "synthetic calls": reader.synthetic, "calls of an earlier model": reader.earlier}
        reasons = ", ".join(f"{name} ({times})" for name, times in left_out.items() if times)
        raise BaselineError(
            f"captures must contain rows of the live model, got none{f': {reasons}' if reasons else ''}"
        )
    clusters = calls if cluster == "call" else times.astype(_UNITS[cluster])
    clusters_of = np.unique(clusters, return_inverse=True)[1].astype(np.int64)
    predicted = None
    if not np.isnan(predictions).all():
        values = (
            predictions
            if classes is None
            else predicted_classes(predictions.tolist(), (~np.isnan(predictions[:, 0])).tolist(), classes)
        )
        predicted = Predicted(
            values=values, clusters=clusters_of, columns=columns, times=times, classes=classes, outputs=outputs
        )
    return fit_baseline(
        columns,
        types=types,
        training_set_id=training_set_id,
        created=created,
        clusters=clusters_of,
        times=times,
        conditions=conditions,
        pairs=pairs,
        identifiers=identifiers,
        prediction=predicted,
        source="live",
    )


class _Columns:
    """Collects the rows of calls as columns."""

    def __init__(self, types: Mapping[str, Type], width: int | None) -> None:
        self._width = width
        self._numbers: dict[str, list[npt.NDArray[np.float32]]] = {
            n: [] for n, kind in types.items() if kind == "number"
        }
        self._codes: dict[str, list[npt.NDArray[np.int32]]] = {n: [] for n, kind in types.items() if kind == "category"}
        self._levels = {name: LevelCodes() for name in self._codes}
        self._names = tuple(types)
        self._predicted: list[npt.NDArray[np.float32]] = []
        self._calls: list[npt.NDArray[np.int32]] = []
        self._times: list[npt.NDArray[np.datetime64]] = []
        self._number = 0
        self._clear()

    def _clear(self) -> None:
        self._rows: list[Sequence[Any]] = []
        self._predictions: list[Any] = []
        self._call_of: list[int] = []
        self._time_of: list[str] = []

    def add(self, call: Call) -> None:
        """Add a call's rows."""
        if not call.rows:
            return
        known = call.predictions is not None and len(call.predictions) == len(call.rows)
        predictions = (call.predictions or ()) if known else repeat(None)
        kept = [(row, prediction) for row, prediction in zip(call.rows, predictions, strict=False) if row is not None]
        self._number += 1
        self._rows += [row for row, _ in kept]
        self._predictions += [prediction for _, prediction in kept]
        self._call_of += repeat(self._number, len(kept))
        self._time_of += repeat(call.time[:19] or "NaT", len(kept))
        if len(self._rows) >= _CHUNK_ROWS:
            self._flush()

    def result(
        self,
    ) -> tuple[dict[str, Column], npt.NDArray[np.float32], npt.NDArray[np.int32], npt.NDArray[np.datetime64]]:
        """Return columns, predictions, and the call number and time of each row."""
        self._flush()
        columns: dict[str, Column] = {}
        for name in self._names:
            if name in self._numbers:
                columns[name] = _joined(self._numbers[name], np.float32)
            else:
                columns[name] = Coded(_joined(self._codes[name], np.int32).astype(np.int64), self._levels[name].levels)
        times = _joined(self._times, "datetime64[s]")
        return columns, self._all_predicted(), _joined(self._calls, np.int32), times

    def _all_predicted(self) -> npt.NDArray[np.float32]:
        found = _joined(self._predicted, np.float32)
        return found if self._width is None else found.reshape(-1, self._width)

    def _values(self) -> npt.NDArray[np.float32]:
        """Return the predictions of the buffered rows, of shape (rows, width) if they are lists."""
        if self._width is None:
            return finite_numbers(self._predictions)
        missing = [float("nan")] * self._width
        lists = [numbers_of(value, self._width) or missing for value in self._predictions]
        with np.errstate(over="ignore"):
            return np.array(lists, dtype=np.float32).reshape(-1, self._width)

    def _flush(self) -> None:
        if not self._rows:
            return
        for name, values in zip(self._names, zip(*self._rows, strict=True), strict=True):
            if name in self._numbers:
                numbers = to_numbers(values)
                self._numbers[name].append(np.where(numbers == NOT_A_NUMBER, np.float32(np.nan), numbers))
            else:
                codes = self._levels[name].of(values)
                self._codes[name].append(np.maximum(codes, -1).astype(np.int32))
        self._predicted.append(self._values())
        self._calls.append(np.array(self._call_of, dtype=np.int32))
        self._times.append(np.array(self._time_of, dtype="datetime64[s]"))
        self._clear()


def _joined(parts: Sequence[npt.NDArray[Any]], kind: Any) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype=kind)
