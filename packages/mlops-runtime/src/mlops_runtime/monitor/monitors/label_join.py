"""Join labels with captured predictions, row by row: labels are kept in memory, captures streamed, memory is bounded.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html
"""

import math
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from mlops_runtime.contracts.monitor import Baseline, FeatureBaseline
from mlops_runtime.contracts.rollout import TakenBack, is_among
from mlops_runtime.iso_time import parse_time
from mlops_runtime.labels.label_times import Stamps, merged, stamp_of
from mlops_runtime.monitor.counting.announced import IsAnnounced, never_announced
from mlops_runtime.monitor.counting.baseline_cells import as_text, boolean_number
from mlops_runtime.monitor.counting.capture_lines import (
    LARGEST,
    Call,
    CaptureError,
    Label,
    is_since,
    read_call,
    read_labels,
)
from mlops_runtime.monitor.counting.prediction_columns import numbers_of
from mlops_runtime.monitor.monitors.rows import NULL, Codes, Mask, Rows, Texts, Wide

# with more rows, calls are sampled by the checksum of their id; labels and rows take about 200 MB together
MAXIMUM_ROWS = 300_000
_EVERY = 1 << 32
_NUMBERS, _BOUNDS = 4, 2  # numbers stored a row: prediction, label and two bounds
_DUE, _COVERED = 1, 2

Line = bytes | str


class _Held(NamedTuple):
    labels: Sequence[Label | None]
    stamps: Stamps
    uploaded: datetime | None
    first: datetime | None


class Timed(NamedTuple):
    """A ground truth line with the hour in its file's key, and the time in that hour at which the file was written, if known."""

    uploaded: datetime
    line: Line
    written: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Joined captures and labels of a window."""

    labelled: Rows  # rows with a finite prediction and a label that was uploaded in the window
    predicted: Rows  # rows with a finite prediction of calls in the window, labelled or not
    # rows with a finite prediction and a label, of calls whose labels are due by now, uploaded at any time
    matured: Rows
    unmatched: int  # label records without a captured call; only those uploaded in the window, if known
    # labels of records uploaded in the window that are not 32-bit numbers; an empty label is a row without a label
    unreadable: int
    # calls whose labels, uploaded in the window if known, differ in number from the predictions; they are excluded
    mismatched: int
    malformed: int  # lines that could not be read, up to the call of the last label if reading stops there
    malformed_labels: int  # malformed lines of labels
    unpredicted: int  # labels of rows whose prediction is not a finite 32-bit number
    repeated: int  # captures of calls that were captured before
    due: int  # calls that are due a label
    covered: int  # calls that are due a label and have one
    # median time from a call to the first upload of its label, at least 0; None if no upload time is known
    delay_hours: float | None
    share: float  # share of the calls that was read; below 1 if there were too many for the memory


def join(
    labels: Iterable[Line | Timed],
    captures: Iterable[Line],
    *,
    since: str = "",
    window_from: str = "",
    due_until: str = "",
    features: Sequence[FeatureBaseline] = (),
    columns: Sequence[str] = (),
    unlabelled: bool = False,
    maximum_rows: int = MAXIMUM_ROWS,
    aside: Sequence[TakenBack] = (),
    announced: IsAnnounced = never_announced,
    classes: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    matured: tuple[str, str] | None = None,
) -> Joined:
    """Join labels with their calls.

    Of several records of a call the newest label of each row counts, in any order of reading; a call that was captured twice counts
    once. A row with an unreadable input has a prediction but no columns.

    Args:
        labels: Ground truth lines with their upload times if known, else in the order of upload.
        captures: Capture lines of the period in which the labelled calls were made.
        since: Time since which the model is live (ISO 8601, UTC); earlier calls, of another model, are ignored. Default: all count.
        window_from: Start of the window (ISO 8601, UTC): labels uploaded before it count for coverage only, calls before it are not
            in ``predicted``. Default: all labels and calls are in the window.
        due_until: Calls up to this time are due a label (ISO 8601, UTC). Default: coverage is not computed.
        features: The model's inputs in order. Default: inputs are not read.
        columns: Names of the inputs to return as columns. Default: none.
        unlabelled: Whether to read calls without a label. Default: reading stops when all labels are matched.
        maximum_rows: Maximum rows of labels and of captures in memory; beyond it half of the calls are dropped, repeatedly.
            Default: 300,000.
        aside: Rollouts that were rolled back: calls during them may be of their models and are ignored. Default: none.
        announced: Returns whether the platform announced a call as its own. Default: no call is announced.
        classes: The model's classes, whose names are the labels. Default: labels are numbers.
        outputs: The outputs of a model with several numeric outputs: a label has one number each. Default: one number.
        matured: Start and end (ISO 8601, UTC) of the calls whose labels count in ``matured`` even if uploaded before the window.
            Default: none.
    """
    sample = _Sample(maximum_rows)
    known, malformed = _hold(labels, sample, classes, None if outputs is None else len(outputs))
    reader = _Reader(
        features, columns, is_kept=unlabelled, announced=announced, several=classes or outputs, outputs=outputs
    )
    seen: dict[str, int] = {}
    mismatched = repeated = found = 0
    delays: array[float] = array("d")
    start = _time(window_from)
    looks_on = unlabelled or bool(due_until)
    for call in reader.calls(captures if known or unlabelled else ()):
        key = call.join_key
        if not is_since(call.time, since) or is_among(call.time, call.time, aside):
            known.pop(key, None)  # a label of another model's call
            continue
        if key in seen:
            repeated += 1
            continue
        held = known.get(key)
        if not sample.keeps(key) or (held is None and not looks_on):
            continue
        is_due = bool(due_until and call.time) and call.time[:19] <= due_until[:19]
        seen[key] = (_DUE | _COVERED if held is not None else _DUE) if is_due else 0
        labels_of: Sequence[Label | None] | None = None
        is_new = True
        if held is not None:
            found += 1
            at = _time(call.time)
            if held.first is not None and at is not None:
                # upload times are known to the hour, and clocks may differ
                delays.append(max(0.0, (held.first - at).total_seconds() / 3600))
            labels_of = _of_rows(held.labels, len(call.predictions or ()))
            if labels_of is None:
                mismatched += _is_new(held, start)
            elif start is not None and held.uploaded is not None and held.uploaded < start:
                is_new = False
        is_matured = matured is not None and bool(call.time) and matured[0][:19] <= call.time[:19] < matured[1][:19]
        if not is_new and not is_matured:
            labels_of = None
        in_window = not window_from or is_since(call.time, window_from)
        if labels_of is not None or (unlabelled and in_window):
            reader.add(call, labels_of, in_window=in_window, is_new=is_new, is_matured=is_matured)
        while max(reader.size, len(seen)) > maximum_rows and sample.halve():
            seen = {key: state for key, state in seen.items() if sample.keeps(key)}
            reader.prune(sample.bound)
        if found == len(known) and not looks_on:
            break
    labelled, predicted, due = reader.result()
    # earlier runs reported the labels before the window
    new = [key for key, held in known.items() if sample.keeps(key) and _is_new(held, start)]
    states = list(seen.values())
    return Joined(
        labelled=labelled,
        predicted=predicted,
        matured=due,
        unmatched=sum(key not in seen for key in new),
        unreadable=sum(_is_unreadable(label) for key in new for label in known[key].labels),
        mismatched=mismatched,
        malformed=malformed + reader.malformed,
        malformed_labels=malformed,
        unpredicted=reader.unpredicted,
        repeated=repeated,
        due=sum(state & _DUE > 0 for state in states),
        covered=sum(state & _COVERED > 0 for state in states),
        delay_hours=float(np.median(np.frombuffer(delays))) if delays else None,
        share=sample.bound / _EVERY,
    )


def _is_unreadable(label: Label | None) -> bool:
    return isinstance(label, float) and math.isnan(label)


def _of_rows(labels: Sequence[Label | None], rows: int) -> Sequence[Label | None] | None:
    """Return one label a row, without trailing empty labels from line breaks; None if the numbers differ."""
    if any(label is not None for label in labels[rows:]):
        return None
    return labels[:rows] if rows and len(labels) >= rows else None


def _is_new(held: _Held, start: datetime | None) -> bool:
    return start is None or held.uploaded is None or held.uploaded >= start


class _Sample:
    """Sample of calls with a checksum below a bound, consistent between labels and captures."""

    def __init__(self, maximum_rows: int) -> None:
        self.maximum_rows = maximum_rows
        self.bound = _EVERY

    def keeps(self, key: str) -> bool:
        return self.bound == _EVERY or _checksum(key) < self.bound

    def halve(self) -> bool:
        self.bound //= 2
        return self.bound > 1


def _hold(
    labels: Iterable[Line | Timed], sample: _Sample, classes: Sequence[str] | None, outputs: int | None
) -> tuple[dict[str, _Held], int]:
    known: dict[str, _Held] = {}
    malformed = size = 0
    for entry in labels:
        uploaded, line, written = entry if isinstance(entry, tuple) else (None, entry, None)
        for record in read_labels([line], classes=classes, outputs=outputs):
            if record is None:
                malformed += 1
                continue
            key, values, stamps = record
            if not sample.keeps(key):
                continue
            if stamps is None:  # lines without label times: use the time of upload
                at = uploaded if written is None else written
                stamps = 0 if at is None else stamp_of(at, at)
            held = known.get(key)
            if held is None:
                known[key] = _Held(values, stamps, uploaded, uploaded)
                size += len(values)
            else:
                times = [time for time in (held.uploaded, held.first, uploaded) if time is not None]
                latest: tuple[Sequence[Label | None], Stamps] = merged((held.labels, held.stamps), (values, stamps))
                known[key] = _Held(*latest, max(times, default=None), min(times, default=None))
        while size > sample.maximum_rows and sample.halve():
            known = {key: held for key, held in known.items() if sample.keeps(key)}
            size = sum(len(held.labels) for held in known.values())
    return known, malformed


class _Reader:
    """Reads calls and collects their rows in flat arrays."""

    def __init__(
        self,
        features: Sequence[FeatureBaseline],
        columns: Sequence[str],
        *,
        is_kept: bool,
        announced: IsAnnounced,
        several: Sequence[str] | None,
        outputs: Sequence[str] | None,
    ) -> None:
        self._announced = announced
        # number of values of a prediction and of a label; None if it is a single number
        self._width = None if several is None else len(several)
        self._label_width = None if outputs is None else len(outputs)
        self._names = [feature.name for feature in features] if columns else None
        self._columns = [(index, feature) for index, feature in enumerate(features) if feature.name in columns]
        self._is_kept = is_kept
        self.malformed = 0
        self.unpredicted = 0
        self._predictions = _arrays(self._width)
        self._labels = _arrays(self._label_width)
        self._bounds = _arrays(2)
        self._codes = [array("q") for _ in self._columns]
        self._texts: list[dict[str, int]] = [{} for _ in self._columns]
        self._calls, self._checksums = array("q"), array("Q")
        self._in_window, self._is_new, self._is_matured = array("b"), array("b"), array("b")

    @property
    def size(self) -> int:
        return len(self._calls)

    def calls(self, lines: Iterable[Line]) -> Iterator[Call]:
        """Yield the callers' calls that have a captured output; unreadable lines are counted."""
        for line in lines:
            try:
                call = self._read(line) if line.strip() else None
            except CaptureError:
                self.malformed += 1
                continue
            if call is not None and not call.is_synthetic and call.predictions is not None:
                yield call

    def _read(self, line: Line) -> Call:
        if self._names is None:
            return read_call(line, None, self._announced, columns=self._width)
        try:
            return read_call(line, self._names, self._announced, columns=self._width)
        except CaptureError:
            return read_call(line, None, self._announced, columns=self._width)

    def _prediction(self, value: Any) -> Sequence[float] | None:
        """Return the numbers of a prediction; None if it is invalid."""
        if self._width is None:
            number = _finite(value)
            return None if number is None else (number,)
        numbers = numbers_of(value, self._width)
        return None if numbers is None or max(map(abs, numbers)) > LARGEST else numbers

    def add(
        self, call: Call, labels: Sequence[Label | None] | None, *, in_window: bool, is_new: bool, is_matured: bool
    ) -> None:
        rows = call.rows if call.rows is not None and len(call.rows) == len(call.predictions or ()) else None
        code, checksum = (self._calls[-1] + 1) if self._calls else 0, _checksum(call.join_key)
        for index, value in enumerate(call.predictions or ()):
            prediction = self._prediction(value)
            label = None if labels is None else labels[index]
            if prediction is None and label is not None and is_new and not _is_unreadable(label):
                self.unpredicted += 1
            if prediction is None or (label is None and not self._is_kept):
                continue
            bounds = (None, None) if call.bounds is None else map(_finite, call.bounds[index])
            known = label if isinstance(label, tuple) else (label,) * len(self._labels)
            of_row = zip(
                (*self._predictions, *self._labels, *self._bounds), (*prediction, *known, *bounds), strict=True
            )
            for numbers, number in of_row:
                numbers.append(float("nan") if number is None else number)
            for (place, feature), codes, texts in zip(self._columns, self._codes, self._texts, strict=True):
                row = None if rows is None else rows[index]
                text = None if row is None else _text_of(feature, row[place])
                codes.append(NULL if text is None else texts.setdefault(text, len(texts)))
            self._calls.append(code)
            self._checksums.append(checksum)
            self._in_window.append(in_window)
            self._is_new.append(is_new)
            self._is_matured.append(is_matured)

    def prune(self, bound: int) -> None:
        kept = np.frombuffer(self._checksums, dtype=np.uint64) < bound

        def shorter(values: "array[Any]") -> "array[Any]":
            return array(values.typecode, np.frombuffer(values, dtype=values.typecode)[kept].tolist())

        self._predictions, self._labels, self._bounds = (
            list(map(shorter, of)) for of in (self._predictions, self._labels, self._bounds)
        )
        self._codes = [shorter(values) for values in self._codes]
        self._calls, self._checksums = map(shorter, (self._calls, self._checksums))
        self._in_window, self._is_new, self._is_matured = map(
            shorter, (self._in_window, self._is_new, self._is_matured)
        )

    def result(self) -> tuple[Rows, Rows, Rows]:
        prediction, label = _table(self._predictions, self._width), _table(self._labels, self._label_width)
        low, high = (np.array(values, dtype=np.float64) for values in self._bounds)
        names = [feature.name for _, feature in self._columns]
        columns = {
            name: Texts(_integers(codes), tuple(texts))
            for name, codes, texts in zip(names, self._codes, self._texts, strict=True)
        }
        rows = Rows(
            call=_integers(self._calls), prediction=prediction, label=label, low=low, high=high, columns=columns
        )
        in_window, is_new, is_matured = (
            np.array(flags, dtype=np.bool_) for flags in (self._in_window, self._is_new, self._is_matured)
        )
        missing = np.isnan(label)
        has_label: Mask = np.logical_not(missing if self._label_width is None else np.asarray(missing.any(axis=1)))
        return rows.where(has_label & is_new), rows.where(in_window), rows.where(has_label & is_matured)


def _arrays(width: int | None) -> "list[array[float]]":
    return [array("d") for _ in range(1 if width is None else width)]


def _table(columns: "Sequence[array[float]]", width: int | None) -> Wide:
    found = [np.array(values, dtype=np.float64) for values in columns]
    return found[0] if width is None else np.stack(found, axis=1)


def _text_of(feature: FeatureBaseline, value: Any) -> str | None:
    return column_text(feature.type, boolean_number(value) if feature.kind == "boolean" else value)


def column_text(kind: str, value: Any) -> str | None:
    """Return a value as the string of its segment or facet, the same for CSV and JSON; None for null.

    Example:
        >>> column_text("number", "1.0"), column_text("number", 1), column_text("category", "1.0"), column_text("category", 7)
        ('1', '1', '1.0', '7')
    """
    if kind == "category":
        return as_text(value) or None
    number = _finite(value)
    if number is None:
        return None
    # as a 32-bit float, as in the model: 0.1 of a training set and of a caller are equal
    narrow = np.float32(number)
    return str(int(narrow)) if narrow.is_integer() else str(narrow)


def join_window(
    labels: Iterable[Line | Timed],
    captures: Iterable[Line],
    *,
    since: str = "",
    window_from: str = "",
    now: datetime | None = None,
    baseline: Baseline | None = None,
    label_delay_hours: int = 0,
    aside: Sequence[TakenBack] = (),
    announced: IsAnnounced = never_announced,
    matured: tuple[str, str] | None = None,
) -> Joined:
    """Join the rows for the monitors of quality and bias, with the columns of segments and facets.

    Args:
        labels: As in `join`; a correct coverage needs those of ``label_delay_hours`` before the window too, with upload times.
        captures: As in `join`.
        since: As in `join`.
        window_from: As in `join`.
        now: End of the window: calls younger than the label delay are not due a label. Default: coverage is not computed.
        baseline: Has inputs, segments and facets. Default: rows have no columns.
        label_delay_hours: Maximum time between a call and its label.
        aside: As in `join`.
        announced: As in `join`.
        matured: As in `join`.
    """
    inputs = () if baseline is None else baseline.features
    facets = set() if baseline is None else captured_facets(baseline)
    names = {feature.name for feature in inputs}
    segments = () if baseline is None else baseline.segments or ()
    return join(
        labels,
        captures,
        since=since,
        window_from=window_from,
        due_until="" if now is None else due_before(now, label_delay_hours),
        features=inputs,
        columns=sorted({*segments, *facets} & names),
        unlabelled=bool(facets),
        aside=aside,
        announced=announced,
        maximum_rows=MAXIMUM_ROWS if baseline is None else maximum_rows(baseline),
        classes=None if baseline is None else baseline.classes,
        outputs=None if baseline is None else baseline.outputs,
        matured=matured,
    )


def maximum_rows(baseline: Baseline) -> int:
    """Return the maximum number of rows in memory, the fewer the more numbers a row has.

    Example:
        >>> maximum_rows(Baseline(features=(), rows=0, training_set_id="t", created="", classes=("a", "b", "c")))
        200000
    """
    predictions, labels = len(baseline.classes or baseline.outputs or ("",)), len(baseline.outputs or ("",))
    return MAXIMUM_ROWS * _NUMBERS // (predictions + labels + _BOUNDS)


def captured_facets(baseline: Baseline) -> set[str]:
    """Return the declared facets that are inputs of calls; the others are known for the holdout only."""
    return {facet.name for facet in baseline.facets or ()} & {feature.name for feature in baseline.features}


def due_before(now: datetime, label_delay_hours: float) -> str:
    """Return the time up to which calls are due a label.

    Example:
        >>> due_before(datetime(2017, 8, 8, tzinfo=UTC), 24)
        '2017-08-07T00:00:00'
    """
    return (now.astimezone(UTC) - timedelta(hours=label_delay_hours)).strftime("%Y-%m-%dT%H:%M:%S")


def _checksum(key: str) -> int:
    return zlib.crc32(key.encode(errors="surrogatepass"))


def _integers(values: "array[int]") -> Codes:
    return np.array(values, dtype=np.int64)


def _time(text: str) -> datetime | None:
    try:
        return parse_time(text)
    except ValueError:
        return None


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):  # Python's own digit separator is not CSV
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) <= LARGEST else None
