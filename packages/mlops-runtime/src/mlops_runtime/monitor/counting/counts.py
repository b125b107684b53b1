"""Count capture lines or columns into a baseline's cells: one pass, flat memory, and counts of parts add up to the whole."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np

from mlops_runtime.contracts.monitor import Baseline, Counts
from mlops_runtime.monitor.counting.announced import IsAnnounced, nobody
from mlops_runtime.monitor.counting.capture import Call
from mlops_runtime.monitor.counting.cells import Coded, Column
from mlops_runtime.monitor.counting.conditions import Times
from mlops_runtime.monitor.counting.lines import LineReader
from mlops_runtime.monitor.counting.merge import MergeError, merge
from mlops_runtime.monitor.counting.payloads import Row
from mlops_runtime.monitor.counting.problems import bounded
from mlops_runtime.monitor.counting.tally import Grid, WindowTally

__all__ = ["MergeError", "count", "count_columns", "empty", "merge"]

_CHUNK_ROWS = 8192
_BLOCK_ROWS = 1 << 16
_MISSING = np.iinfo(np.int64).min  # what numpy calls not a time


class _Waiting:
    """Rows that wait until there are enough to be counted at once."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._need_times = grid.keys is not None and grid.keys.need_times
        self.tally = WindowTally(grid)
        self.rows_seen = 0
        self._clear()

    def _clear(self) -> None:
        self._rows: list[Row] = []
        self._times: list[int] = []
        self._predictions: list[Any] = []
        # where in the rows that of each prediction is; -1 if it is unknown
        self._row_of: list[int] = []

    def add(self, call: Call) -> None:
        predictions = call.predictions or ()
        rows = [row for row in call.rows or () if row is not None]
        self.rows_seen += len(predictions) if call.rows is None else len(rows)
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
        """Count what waits."""
        # of no rows there are no columns either
        columns = dict(zip(self._grid.names, zip(*self._rows, strict=True), strict=False))
        times = np.array(self._times, dtype=np.int64).view("datetime64[s]") if self._need_times else None
        groups = self.tally.add(columns, len(self._rows), times)
        if self._grid.keys is not None and self._predictions:
            unknown = len(self._grid.strata)
            of_rows = np.append(np.empty(0, dtype=np.int64) if groups is None else groups, unknown)
            groups = of_rows[np.array(self._row_of, dtype=np.int64)]
        self.tally.add_predictions(self._predictions, groups)
        self._clear()


def _places(rows: Sequence[Row | None], start: int) -> list[int]:
    """Return where each of a call's rows comes to lie among those that can be read; -1 for one that cannot."""
    places = iter(range(start, start + len(rows)))
    return [-1 if row is None else next(places) for row in rows]


def count(
    lines: Iterable[bytes | str], baseline: Baseline, *, since: str = "", announced: IsAnnounced = nobody
) -> Counts:
    """Count one capture object's lines; calls that the platform announced are left out and told.

    Every line that is not blank is one of ``calls``, ``malformed``, ``synthetic`` and ``earlier``.

    Args:
        lines: JSON lines; read once, never held.
        baseline: The live model's baseline.
        since: Since when that model serves (ISO 8601, UTC); earlier calls were another model's and are left out.
            Default: all calls count.
        announced: Which calls the platform announced as its own. Default: none.

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
    reader, waiting = LineReader(grid.names, since, announced), _Waiting(grid)
    for call in reader.read(lines):
        waiting.add(call)
    waiting.flush()
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
        problems=bounded(reader.problems) or None,
        objects=1,
    )


def count_columns(
    columns: Mapping[str, Column],
    baseline: Baseline,
    *,
    predictions: Column | None = None,
    times: Times | None = None,
) -> Counts:
    """Count columns of rows, as `count` would count the same rows as the lines of one object, each row a call.

    Args:
        columns: Values by the name of their column: arrays of numbers, text as `Coded`, an array or a list; all of one length.
        baseline: What to count against. Columns that are none of its features are left out.
        predictions: The rows' predictions. Default: none.
        times: When the rows were predicted, UTC. Default: unknown; rows are then of no stratum of hours or weeks.

    Raises:
        ValueError: With every feature that has no column, and if the columns differ in length.

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
        block = {name: _cut(columns[name], start, stop) for name in grid.names}
        groups = window.add(block, stop - start, None if times is None else times[start:stop])
        if predictions is not None:
            window.add_predictions(_cut(predictions, start, stop), groups)
    known = None if times is None else times[~np.isnat(times)]
    bounds = ("", "") if known is None or len(known) == 0 else (_text(known.min()), _text(known.max()))
    return _counts(window, grid, rows=rows, calls=rows, first=bounds[0], last=bounds[1], objects=1)


def empty(baseline: Baseline) -> Counts:
    """Return the counts of nothing: what every merge starts from."""
    grid = _grid(_Same(baseline))
    return _counts(WindowTally(grid), grid, rows=0, calls=0, first="", last="", objects=0)


def _counts(window: WindowTally, grid: Grid, **facts: Any) -> Counts:
    return Counts(
        baseline_sha256=grid.sha256,
        features=window.features(),
        prediction=window.prediction(),
        strata=window.strata(),
        null_patterns=window.null_patterns(),
        pairs=window.pairs(),
        **facts,
    )


class _Same:
    """A baseline as a key: the same object, not an equal one, which would have to be read whole to be known."""

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
    """Return the seconds since 1970 of a call's time; numpy's not a time for none."""
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
        raise ValueError(f"columns must hold every feature, they lack {', '.join(map(repr, missing))}")
    given = {name: columns[name] for name in names}
    given |= {} if predictions is None else {"predictions": predictions}
    given |= {} if times is None else {"times": times}
    sizes = {name: len(v.codes) if isinstance(v, Coded) else len(v) for name, v in given.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"columns must have one length, got {', '.join(f'{n!r} of {s}' for n, s in sizes.items())}")
    return next(iter(sizes.values()), 0)


def _cut(values: Column, start: int, stop: int) -> Column:
    if start == 0 and stop == (len(values.codes) if isinstance(values, Coded) else len(values)):
        return values
    return Coded(values.codes[start:stop], values.levels) if isinstance(values, Coded) else values[start:stop]
