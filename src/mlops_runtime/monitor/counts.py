"""Count capture lines into a baseline's cells: one pass, flat memory, and counts of parts add up to counts of the whole."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.monitor import Baseline, Counts, FeatureBaseline, FeatureCounts
from mlops_runtime.monitor.capture import CaptureError, is_since, read_call
from mlops_runtime.monitor.cells import category_counts, number_cells, to_numbers

_CHUNK_ROWS = 8192


class MergeError(ValueError):
    """Counts against different baselines do not add up."""


class _FeatureCounter:
    """Counts one feature."""

    def __init__(self, baseline: FeatureBaseline) -> None:
        self._name = baseline.name
        self._edges = np.array(baseline.edges, dtype=np.float32)
        self._levels: Mapping[str, int] | None = None
        if baseline.type == "category":
            self._levels = {level: index for index, level in enumerate(baseline.levels)}
        self._counts: npt.NDArray[np.int64] = np.zeros(len(baseline.counts), dtype=np.int64)
        self._invalid, self._sum, self._squares = 0, 0.0, 0.0

    def add(self, values: Sequence[Any]) -> None:
        if self._levels is not None:
            counts, invalid = category_counts(values, self._levels)
            self._counts += counts
        else:
            numbers, invalid = to_numbers(values)
            self._counts += np.bincount(number_cells(numbers, self._edges), minlength=len(self._counts))
            known = numbers[~np.isnan(numbers)].astype(np.float64)
            self._sum += float(known.sum())
            self._squares += float((known**2).sum())
        self._invalid += invalid

    def result(self) -> FeatureCounts:
        return FeatureCounts(
            name=self._name,
            counts=tuple(self._counts.tolist()),
            sum=self._sum,
            sum_squares=self._squares,
            invalid=self._invalid,
        )


def count(lines: Iterable[bytes | str], baseline: Baseline, *, since: str = "") -> Counts:
    """Count one capture object's lines; synthetic calls are left out and told.

    Args:
        lines: JSON lines; read once, never held.
        baseline: The live model's baseline.
        since: Since when that model serves (ISO 8601, UTC); earlier calls were another model's and are left out.
            Default: all calls count.

    Example:
        >>> price = FeatureBaseline(name="price", type="number", edges=(2.0,), counts=(5, 5, 0))
        >>> baseline = Baseline(features=(price,), rows=10, training_set_id="t", created="2017-08-01T00:00:00Z")
        >>> side = '{"observedContentType": "text/csv", "mode": "INPUT", "data": "3.5", "encoding": "CSV"}'
        >>> line = '{"captureData": {"endpointInput": %s}, "eventMetadata": {"eventId": "e"}, "eventVersion": "0"}' % side
        >>> count([line], baseline).features[0].counts
        (0, 1, 0)
    """
    names = [feature.name for feature in baseline.features]
    counters = [_FeatureCounter(feature) for feature in baseline.features]
    predicted = None if baseline.prediction is None else _FeatureCounter(baseline.prediction)
    rows: list[Sequence[Any]] = []
    predictions: list[Any] = []
    calls = total = malformed = synthetic = 0
    first = last = ""

    def flush() -> None:
        for counter, values in zip(counters, zip(*rows, strict=True), strict=False):
            counter.add(values)
        if predicted is not None:
            predicted.add(predictions)
        rows.clear()
        predictions.clear()

    for line in lines:
        if not line.strip():
            continue
        try:
            call = read_call(line, names)
        except CaptureError:
            malformed += 1
            continue
        if call.is_synthetic:
            synthetic += 1
            continue
        if not is_since(call.time, since):
            continue
        calls += 1
        if call.time:
            first = min(first or call.time, call.time)
            last = max(last, call.time)
        rows.extend(call.rows or ())
        predictions.extend(call.predictions or ())
        total += len(call.predictions or ()) if call.rows is None else len(call.rows)
        if len(rows) >= _CHUNK_ROWS or len(predictions) >= _CHUNK_ROWS:
            flush()
    flush()
    return Counts(
        baseline_sha256=content_hash(baseline),
        rows=total,
        calls=calls,
        features=tuple(counter.result() for counter in counters),
        first=first,
        last=last,
        prediction=None if predicted is None else predicted.result(),
        malformed=malformed,
        synthetic=synthetic or None,
    )


def empty(baseline: Baseline) -> Counts:
    """Return the counts of nothing: what every merge starts from."""
    return count((), baseline)


def merge(start: Counts, parts: Iterable[Counts]) -> Counts:
    """Add counts. Any grouping and any order give the same cells; sums agree to rounding.

    Raises:
        MergeError: If a part was counted against another baseline, or does not have its features.
    """
    for part in parts:
        start = _add(start, part)
    return start


def _add(a: Counts, b: Counts) -> Counts:
    if a.baseline_sha256 != b.baseline_sha256:
        raise MergeError(f"counts must be of one baseline, got {a.baseline_sha256} and {b.baseline_sha256}")
    if [f.name for f in a.features] != [f.name for f in b.features]:
        raise MergeError(
            f"counts of baseline {a.baseline_sha256} must have its features, got {[f.name for f in b.features]}"
        )
    prediction = a.prediction
    if a.prediction is not None and b.prediction is not None:
        prediction = _add_feature(a.prediction, b.prediction)
    return Counts(
        baseline_sha256=a.baseline_sha256,
        rows=a.rows + b.rows,
        calls=a.calls + b.calls,
        features=tuple(_add_feature(x, y) for x, y in zip(a.features, b.features, strict=True)),
        first=min(a.first or b.first, b.first or a.first),
        last=max(a.last, b.last),
        prediction=prediction,
        malformed=a.malformed + b.malformed,
        synthetic=(a.synthetic or 0) + (b.synthetic or 0) or None,
    )


def _add_feature(a: FeatureCounts, b: FeatureCounts) -> FeatureCounts:
    if len(a.counts) != len(b.counts):
        raise MergeError(f"counts of feature {a.name!r} must have {len(a.counts)} cells, got {len(b.counts)}")
    return FeatureCounts(
        name=a.name,
        counts=tuple(x + y for x, y in zip(a.counts, b.counts, strict=True)),
        sum=a.sum + b.sum,
        sum_squares=a.sum_squares + b.sum_squares,
        invalid=a.invalid + b.invalid,
    )
