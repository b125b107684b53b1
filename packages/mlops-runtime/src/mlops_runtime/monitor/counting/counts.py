"""Count capture lines or columns against a baseline's cells, and merge counts.

One pass in constant memory. Merging in any grouping and order results in bit-identical counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from mlops_runtime.contracts.monitor import Baseline, Counts, FeatureCounts, PairCounts, Stratum
from mlops_runtime.monitor.counting.announced import IsAnnounced, never_announced
from mlops_runtime.monitor.counting.baseline_cells import Column, boolean_number, one_length
from mlops_runtime.monitor.counting.capture_lines import Call, LineReader, Row
from mlops_runtime.monitor.counting.conditions import Times
from mlops_runtime.monitor.counting.prediction_columns import prediction_columns
from mlops_runtime.monitor.counting.problems import add as add_problems
from mlops_runtime.monitor.counting.problems import bounded
from mlops_runtime.monitor.counting.tally import Grid, WindowTally, expansion

__all__ = ["MergeError", "count", "count_columns", "empty", "merge"]

# number of partial sums that are collected before they are added up
_HELD = 64


class MergeError(ValueError):
    """Counts against different baselines cannot be merged."""


class _FeatureSum:
    """Adds counts of one feature."""

    def __init__(self, start: FeatureCounts) -> None:
        self._name = start.name
        self._counts = np.array(start.counts, dtype=np.int64)
        self._invalid, self._infinite = 0, 0
        self._sums: list[float] = []
        self._squares: list[float] = []
        self._minimum, self._maximum = start.minimum, start.maximum
        self._take(start)

    def add(self, part: FeatureCounts) -> None:
        if len(part.counts) != len(self._counts):
            raise MergeError(
                f"counts of feature {self._name!r} must have {len(self._counts)} cells, got {len(part.counts)}"
            )
        self._counts += part.counts
        self._take(part)
        if len(self._sums) > _HELD:
            self._sums, self._squares = _terms(self._sums), _terms(self._squares)

    def _take(self, part: FeatureCounts) -> None:
        self._invalid += part.invalid
        self._infinite += part.infinite or 0
        self._sums += (part.sum, *(part.sum_rest or ()))
        self._squares += (part.sum_squares, *(part.sum_squares_rest or ()))
        if part.minimum is not None:
            self._minimum = part.minimum if self._minimum is None else min(self._minimum, part.minimum)
        if part.maximum is not None:
            self._maximum = part.maximum if self._maximum is None else max(self._maximum, part.maximum)

    def result(self) -> FeatureCounts:
        total, rest = expansion(self._sums)
        squares, squares_rest = expansion(self._squares)
        return FeatureCounts(
            name=self._name,
            counts=tuple(self._counts.tolist()),
            sum=total,
            sum_squares=squares,
            invalid=self._invalid,
            infinite=self._infinite or None,
            sum_rest=rest,
            sum_squares_rest=squares_rest,
            minimum=self._minimum,
            maximum=self._maximum,
        )


class _RowsSum:
    """Adds the features and the predictions of a window or a stratum."""

    def __init__(self, start: Counts | Stratum) -> None:
        self._rows = start.rows
        self._features = [_FeatureSum(feature) for feature in start.features]
        self._prediction = None if start.prediction is None else _FeatureSum(start.prediction)
        self._predictions = None if start.predictions is None else [_FeatureSum(each) for each in start.predictions]
        self._patterns = None if start.null_patterns is None else _FeatureSum(start.null_patterns)
        self._pairs: dict[tuple[str, str], np.ndarray] = {}
        self._add_pairs(start)

    def add(self, part: Counts | Stratum) -> None:
        self._rows += part.rows
        for mine, other in zip(self._features, part.features, strict=True):
            mine.add(other)
        self._prediction = _join(self._prediction, part.prediction)
        self._patterns = _join(self._patterns, part.null_patterns)
        for sums, other in zip(self._predictions or (), part.predictions or (), strict=True):
            sums.add(other)
        self._add_pairs(part)

    def _add_pairs(self, part: Counts | Stratum) -> None:
        for pair in part.pairs or ():
            key = pair.first, pair.second
            known = self._pairs.get(key)
            if known is not None and len(known) != len(pair.counts):
                raise MergeError(f"counts of pair {key!r} must have {len(known)} cells, got {len(pair.counts)}")
            counts = np.array(pair.counts, dtype=np.int64)
            self._pairs[key] = counts if known is None else known + counts

    def fields(self) -> dict[str, Any]:
        """Return the fields that a window and a stratum have in common."""
        pairs = (PairCounts(first=a, second=b, counts=tuple(c.tolist())) for (a, b), c in self._pairs.items())
        return {
            "rows": self._rows,
            "features": tuple(feature.result() for feature in self._features),
            "prediction": None if self._prediction is None else self._prediction.result(),
            "predictions": None if self._predictions is None else tuple(each.result() for each in self._predictions),
            "null_patterns": None if self._patterns is None else self._patterns.result(),
            "pairs": tuple(pairs) or None,
        }


def merge(start: Counts, parts: Iterable[Counts]) -> Counts:
    """Merge counts; any grouping and order gives identical counts and sums. ``problem_lines`` are dropped.

    Raises:
        MergeError: If a part was counted against another baseline, or does not have its features.
    """
    total = _RowsSum(start)
    names = [feature.name for feature in start.features]
    strata = {stratum.key: _RowsSum(stratum) for stratum in start.strata or ()}
    scores = [np.array(counts, dtype=np.int64) for counts in start.scores or ()]
    has_strata, problems = start.strata is not None, start.problems
    first, last = start.first, start.last
    calls, malformed = start.calls, start.malformed
    synthetic, earlier, objects = start.synthetic, start.earlier, start.objects
    unannounced = start.unannounced
    for part in parts:
        if part.baseline_sha256 != start.baseline_sha256:
            raise MergeError(f"counts must be of one baseline, got {start.baseline_sha256} and {part.baseline_sha256}")
        if [feature.name for feature in part.features] != names:
            raise MergeError(
                f"counts of baseline {start.baseline_sha256} must have its features, got {[f.name for f in part.features]}"
            )
        total.add(part)
        for stratum in part.strata or ():
            if stratum.key in strata:
                strata[stratum.key].add(stratum)
            else:
                strata[stratum.key] = _RowsSum(stratum)
        has_strata |= part.strata is not None
        scores = [mine + np.array(other) for mine, other in zip(scores, part.scores or (), strict=True)]
        problems = add_problems(problems, part.problems) if part.problems else problems
        first, last = min(first or part.first, part.first or first), max(last, part.last)
        calls, malformed = calls + part.calls, malformed + part.malformed
        synthetic, earlier = _both(synthetic, part.synthetic), _both(earlier, part.earlier)
        objects, unannounced = _both(objects, part.objects), _both(unannounced, part.unannounced)
    return Counts(
        baseline_sha256=start.baseline_sha256,
        **total.fields(),
        calls=calls,
        first=first,
        last=last,
        malformed=malformed,
        synthetic=synthetic or None,
        unannounced=unannounced or None,
        earlier=earlier or None,
        strata=tuple(Stratum(key=key, **sums.fields()) for key, sums in sorted(strata.items())) if has_strata else None,
        scores=tuple(tuple(mine.tolist()) for mine in scores) or None,
        problems=problems,
        objects=objects,
    )


def add_strata(key: str, strata: Sequence[Stratum]) -> Stratum:
    """Merge strata of one baseline.

    Args:
        key: Key of the merged stratum.
        strata: The strata, at least one.

    Example:
        >>> add_strata("03h", [Stratum(key=key, rows=20, features=()) for key in ("Mon 03h", "Tue 03h")]).rows
        40
    """
    total = _RowsSum(strata[0])
    for stratum in strata[1:]:
        total.add(stratum)
    return Stratum(key=key, **total.fields())


def _join(sums: _FeatureSum | None, part: FeatureCounts | None) -> _FeatureSum | None:
    if part is None:
        return sums
    if sums is None:
        return _FeatureSum(part)
    sums.add(part)
    return sums


def _both(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


def _terms(parts: Iterable[float]) -> list[float]:
    value, rest = expansion(parts)
    return [value, *chain(rest or ())]


_CHUNK_ROWS = 8192
_BLOCK_ROWS = 1 << 16
_MISSING = np.iinfo(np.int64).min  # numpy's NaT


class _Waiting:
    """Buffers rows, to count them in chunks."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._need_times = grid.keys is not None and grid.keys.need_times
        self._booleans = {feature.name for feature in grid.baseline.features if feature.kind == "boolean"}
        self.tally = WindowTally(grid)
        self.rows_seen = 0
        self._clear()

    def _clear(self) -> None:
        self._rows: list[Row] = []
        self._times: list[int] = []
        self._predictions: list[Any] = []
        # index of each prediction's row; -1 if unknown
        self._row_of: list[int] = []

    def add(self, call: Call) -> None:
        predictions = call.predictions or ()
        rows = [row for row in call.rows or () if row is not None]
        self.rows_seen += len(rows)
        if self._grid.keys is not None:
            of_rows = call.rows is not None and len(call.rows) == len(predictions)
            self._row_of += _places(call.rows or (), len(self._rows)) if of_rows else [-1] * len(predictions)
        if self._need_times:
            self._times += [_seconds(call.time)] * len(rows)
        self._rows += rows
        self._predictions += predictions
        if len(self._rows) >= _CHUNK_ROWS or len(self._predictions) >= _CHUNK_ROWS:
            self.flush()

    def flush(self) -> None:
        """Count the buffered rows and predictions."""
        # without rows there are no columns
        columns = dict(zip(self._grid.names, zip(*self._rows, strict=True), strict=False))
        for name in self._booleans & columns.keys():
            columns[name] = tuple(map(boolean_number, columns[name]))
        times = np.array(self._times, dtype=np.int64).view("datetime64[s]") if self._need_times else None
        groups = self.tally.add(columns, len(self._rows), times)
        if self._grid.keys is not None and self._predictions:
            unknown = len(self._grid.strata)
            of_rows = np.append(np.empty(0, dtype=np.int64) if groups is None else groups, unknown)
            groups = of_rows[np.array(self._row_of, dtype=np.int64)]
        self.tally.add_predictions(prediction_columns(self._predictions, self._grid.baseline), groups)
        self.tally.add_scores(self._predictions)
        self._clear()


def _places(rows: Sequence[Row | None], start: int) -> list[int]:
    """Return the index of each of a call's rows among the readable rows; -1 for an unreadable row."""
    places = iter(range(start, start + len(rows)))
    return [-1 if row is None else next(places) for row in rows]


def count(
    lines: Iterable[bytes | str],
    baseline: Baseline,
    *,
    since: str = "",
    announced: IsAnnounced = never_announced,
    hour: datetime | None = None,
    numbers: Iterable[int] | None = None,
) -> Counts:
    """Count the lines of a capture object, without the calls that the platform announced, which ``synthetic`` counts.

    Each line that is not blank counts as one of ``calls``, ``malformed``, ``synthetic`` and ``earlier``.

    Args:
        lines: JSON lines, read as a stream.
        baseline: The live model's baseline.
        since: Time since which that model is live (ISO 8601, UTC); earlier calls, of another model, are excluded.
            Default: all calls count.
        announced: Returns whether the platform announced a call as its own. Default: no call is announced.
        hour: Hour of the object, UTC: calls of another hour count, but are reported as a problem. Default: any hour is allowed.
        numbers: Number of each line in the object. Default: from 1.

    Example:
        >>> from mlops_runtime.contracts.monitor import FeatureBaseline
        >>> price = FeatureBaseline(name="price", type="number", edges=(2.0,), counts=(5, 5, 0))
        >>> baseline = Baseline(features=(price,), rows=10, training_set_id="t", created="2017-08-01T00:00:00Z")
        >>> side = '{"observedContentType": "text/csv", "mode": "INPUT", "data": "3.5", "encoding": "CSV"}'
        >>> line = '{"captureData": {"endpointInput": %s}, "eventMetadata": {"eventId": "e"}, "eventVersion": "0"}' % side
        >>> count([line], baseline).features[0].counts
        (0, 1, 0)
    """
    grid = _grid(_Same(baseline))
    reader = LineReader(grid.names, since, announced, columns=baseline.columns, hour=hour)
    waiting = _Waiting(grid)
    for call in reader.read(lines, numbers):
        waiting.add(call)
    waiting.flush()
    problems = bounded(reader.problems)
    kept = {name: tuple(reader.problem_lines[name]) for name in problems if name in reader.problem_lines}
    return _counts(
        waiting.tally,
        grid,
        rows=waiting.rows_seen,
        calls=reader.calls,
        first=reader.first,
        last=reader.last,
        malformed=reader.malformed,
        synthetic=reader.synthetic or None,
        unannounced=reader.unannounced or None,
        earlier=reader.earlier or None,
        problems=problems or None,
        problem_lines=kept or None,
        objects=1,
    )


def count_columns(
    columns: Mapping[str, Column], baseline: Baseline, *, predictions: Column | None = None, times: Times | None = None
) -> Counts:
    """Count columns of rows; equivalent to `count` of one object in which each row is a call.

    Args:
        columns: Values by column name: numbers as arrays, text as `Coded`, array or list; all of the same length.
        baseline: Baseline to count against. Columns that are not its features are ignored.
        predictions: The rows' predictions; lists if the baseline has classes or outputs. Default: none.
        times: Prediction times of the rows, UTC. Default: unknown; the rows then have no stratum of hours or weeks.

    Raises:
        ValueError: With every feature without a column, and if columns differ in length.

    Example:
        >>> from mlops_runtime.contracts.monitor import FeatureBaseline
        >>> price = FeatureBaseline(name="price", type="number", edges=(2.0,), counts=(5, 5, 0))
        >>> baseline = Baseline(features=(price,), rows=10, training_set_id="t", created="2017-08-01T00:00:00Z")
        >>> count_columns({"price": np.array([1.0, 3.5, 4.5])}, baseline).features[0].counts
        (1, 2, 0)
    """
    grid = _grid(_Same(baseline))
    rows = _length(columns, grid.names, predictions, times)
    window = WindowTally(grid)
    for start in range(0, rows, _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, rows)
        block = {name: columns[name][start:stop] for name in grid.names}
        groups = window.add(block, stop - start, None if times is None else times[start:stop])
        if predictions is not None:
            predicted = predictions[start:stop]
            window.add_predictions(prediction_columns(predicted, baseline), groups)
            window.add_scores(predicted)
    known = None if times is None else times[~np.isnat(times)]
    bounds = ("", "") if known is None or len(known) == 0 else (_text(known.min()), _text(known.max()))
    return _counts(window, grid, rows=rows, calls=rows, first=bounds[0], last=bounds[1], objects=1)


def empty(baseline: Baseline) -> Counts:
    """Return counts of no rows, the start of every merge."""
    grid = _grid(_Same(baseline))
    return _counts(WindowTally(grid), grid, rows=0, calls=0, first="", last="", objects=0)


def _counts(window: WindowTally, grid: Grid, **facts: Any) -> Counts:
    return Counts(
        baseline_sha256=grid.sha256,
        **window.fields(None),
        strata=window.strata(),
        scores=window.scores(),
        **facts,
    )


class _Same:
    """A baseline as a cache key by identity, since comparing by value would read it whole."""

    def __init__(self, baseline: Baseline) -> None:
        self.baseline = baseline

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.baseline is self.baseline

    def __hash__(self) -> int:
        return id(self.baseline)


@lru_cache(maxsize=4)
def _grid(same: _Same) -> Grid:
    return Grid(same.baseline)


@lru_cache(maxsize=4096)
def _seconds(time: str) -> int:
    """Return a call's time as seconds since 1970; numpy's NaT if it is empty."""
    if not time:
        return _MISSING
    at = datetime.fromisoformat(time)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def _text(time: np.datetime64) -> str:
    return f"{time.astype('datetime64[s]')}Z"


def _length(
    columns: Mapping[str, Column], names: Sequence[str], predictions: Column | None, times: Times | None
) -> int:
    missing = [name for name in names if name not in columns]
    if missing:
        raise ValueError(f"columns must contain every feature, missing {', '.join(map(repr, missing))}")
    given = {name: columns[name] for name in names}
    given |= {} if predictions is None else {"predictions": predictions}
    given |= {} if times is None else {"times": times}
    rows, problem = one_length(given)
    if problem is not None:
        raise ValueError(problem)
    return rows
