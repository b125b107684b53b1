"""Count capture lines by column: plain CSV is parsed by Arrow, many calls at once; other lines by the Lambda engine's reader.

The counts equal those of `mlops_runtime.monitor.counting.counts.count` bit for bit: counts of parts add up exactly, so lines may
be grouped in any way. A line is plain if both sides of its call are CSV without quotes, with one prediction per row. A batch with
anything that Arrow does not accept as a number, such as text or a plus sign, is passed to the other reader.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv as pc

from mlops_runtime.contracts.capture import SYNTHETIC_PREFIX
from mlops_runtime.contracts.monitor import Baseline, Counts
from mlops_runtime.monitor.counting.announced import IsAnnounced, never_announced
from mlops_runtime.monitor.counting.baseline_cells import Coded, Column
from mlops_runtime.monitor.counting.capture_lines import KEPT_LINES, is_since, span_of
from mlops_runtime.monitor.counting.counts import count, count_columns, empty, merge

_BATCH_ROWS, _BATCH_BYTES = 1 << 15, 1 << 25
_MISSING = np.datetime64("NaT", "s")


@dataclass(slots=True)
class _Batch:
    """Plain calls to be parsed, and their original lines."""

    texts: list[str] = field(default_factory=list)
    predictions: list[str] = field(default_factory=list)
    times: list[np.datetime64] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    bytes: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.predictions) >= _BATCH_ROWS or self.bytes >= _BATCH_BYTES


class _Plain:
    """Selects plain calls of the live model, in the hour of their object."""

    def __init__(self, baseline: Baseline, since: str, hour: datetime | None) -> None:
        self._commas = len(baseline.features) - 1
        self._since = since
        self._earliest, self._latest = span_of(hour)
        self._times: dict[str, np.datetime64 | None] = {}

    def take(self, line: bytes, number: int, batch: _Batch) -> bool:
        """Add a line's call to a batch, if it is plain and of the live model; return whether it was added."""
        try:
            record = orjson.loads(line)
            metadata, data = record["eventMetadata"], record["captureData"]
            given, answered = data["endpointInput"], data["endpointOutput"]
            text, output = given["data"], answered["data"]
            if given["encoding"] != "CSV" or answered["encoding"] != "CSV" or not metadata["eventId"]:
                return False
            identifier, time = metadata.get("inferenceId"), self._time(metadata.get("inferenceTime"))
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        if time is None or not isinstance(text, str) or not isinstance(output, str):
            return False
        if identifier is not None and (not isinstance(identifier, str) or identifier.startswith(SYNTHETIC_PREFIX)):
            return False
        text, output = text.removesuffix("\n"), output.strip("\n")
        if not _is_plain(text) or not _is_plain(output) or "," in output:
            return False
        rows = text.count("\n") + 1
        if text.count(",") != rows * self._commas or output.count("\n") + 1 != rows:
            return False
        batch.texts.append(text)
        batch.lines.append(line)
        batch.numbers.append(number)
        batch.bytes += len(line)
        if rows == 1:
            batch.predictions.append(output)
            batch.times.append(time)
        else:
            batch.predictions += output.split("\n")
            batch.times += [time] * rows
        return True

    def _time(self, text: Any) -> np.datetime64 | None:
        """Return a capture time, NaT if missing; None if it has another form, is before the model's or in another hour."""
        if text is None or text == "":
            return _MISSING
        if text not in self._times:
            if len(self._times) > _BATCH_ROWS:
                self._times.clear()
            is_ours = is_since(text, self._since) and self._earliest <= text < self._latest
            self._times[text] = _read_time(text) if is_ours else None
        return self._times[text]


def _read_time(text: str) -> np.datetime64 | None:
    """Return a time in the form that SageMaker writes, None for other forms."""
    if len(text) != len("2017-08-07T10:00:00Z") or text[10] != "T" or text[19] != "Z" or not text.isascii():
        return None
    try:
        is_same = f"{datetime.fromisoformat(text):%Y-%m-%dT%H:%M:%SZ}" == text
        return np.datetime64(text[:19], "s") if is_same else None
    except ValueError:
        return None


def _is_plain(text: str) -> bool:
    """Return whether a CSV string has rows without quotes, none of them empty."""
    if not text or '"' in text or "\r" in text:
        return False
    return "\n" not in text or not (text[0] == "\n" or text[-1] == "\n" or "\n\n" in text)


class _Columns:
    """Parses rows into the columns of a baseline."""

    def __init__(self, baseline: Baseline) -> None:
        names = [feature.name for feature in baseline.features]
        kinds = {
            feature.name: pa.dictionary(pa.int32(), pa.string()) if feature.type == "category" else pa.float64()
            for feature in baseline.features
        }
        self._read = pc.ReadOptions(column_names=names, use_threads=False, block_size=_BATCH_BYTES * 2)
        self._parse = pc.ParseOptions(quote_char=False, double_quote=False, escape_char=False)
        self._convert = pc.ConvertOptions(column_types=kinds, null_values=[""], strings_can_be_null=True)

    def parse(self, texts: list[str]) -> dict[str, Column]:
        """Parse rows into columns.

        Raises:
            ArrowInvalid: If a row has another number of values, or Arrow cannot parse a number.
        """
        body = "\n".join(texts).encode()
        if b"(" in body or body.startswith(b"\xef\xbb\xbf"):
            raise pa.ArrowInvalid("only Arrow parses nan(...) as a number, and drops a byte order mark")
        table = pc.read_csv(
            pa.BufferReader(body), read_options=self._read, parse_options=self._parse, convert_options=self._convert
        )
        return {name: _column(table[name].combine_chunks()) for name in table.column_names}


def _column(values: Any) -> Column:
    if pa.types.is_dictionary(values.type):
        codes = values.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return Coded(codes, values.dictionary.to_pylist())
    return np.asarray(values.to_numpy(zero_copy_only=False))  # null is NaN


def count_lines(
    lines: Iterable[bytes],
    baseline: Baseline,
    *,
    since: str = "",
    announced: IsAnnounced = never_announced,
    hour: datetime | None = None,
) -> Counts:
    """Count one capture object's lines like `mlops_runtime.monitor.counting.counts.count`, plain ones by column.

    Example:
        >>> from mlops_runtime.contracts.monitor import FeatureBaseline
        >>> price = FeatureBaseline(name="price", type="number", edges=(2.0,), counts=(5, 5, 0))
        >>> baseline = Baseline(features=(price,), rows=10, training_set_id="t", created="2017-08-01T00:00:00Z")
        >>> side = '{"data": "3.5", "encoding": "CSV"}'
        >>> line = '{"captureData": {"endpointInput": %s, "endpointOutput": %s}, "eventMetadata": {"eventId": "e"}}' % (side, side)
        >>> count_lines([line.encode()], baseline) == count([line], baseline)
        True
    """
    found: dict[str, tuple[int, ...]] = {}

    def noted(part: Counts) -> Counts:
        for problem, numbers in (part.problem_lines or {}).items():
            found[problem] = tuple(sorted({*found.get(problem, ()), *numbers})[:KEPT_LINES])
        return part

    count_others = partial(count, baseline=baseline, since=since, announced=announced, hour=hour)
    parts = _parts(lines, baseline, _Plain(baseline, since, hour), count_others)
    counts = replace(merge(empty(baseline), map(noted, parts)), objects=1)
    kept = {problem: found[problem] for problem in counts.problems or {} if problem in found}
    return replace(counts, problem_lines=kept or None)


def _parts(
    lines: Iterable[bytes], baseline: Baseline, plain: _Plain, count_others: Callable[..., Counts]
) -> Iterator[Counts]:
    columns, batch, others = _Columns(baseline), _Batch(), _Batch()
    for number, line in enumerate(lines, 1):
        if plain.take(line, number, batch):
            if batch.is_full:
                yield _count_batch(batch, columns, baseline, count_others)
                batch = _Batch()
            continue
        others.lines.append(line)
        others.numbers.append(number)
        others.bytes += len(line)
        if len(others.lines) >= _BATCH_ROWS or others.bytes >= _BATCH_BYTES:
            yield count_others(others.lines, numbers=others.numbers)
            others = _Batch()
    if batch.texts:
        yield _count_batch(batch, columns, baseline, count_others)
    yield count_others(others.lines, numbers=others.numbers)


def _count_batch(batch: _Batch, columns: _Columns, baseline: Baseline, count_others: Callable[..., Counts]) -> Counts:
    try:
        found = columns.parse(batch.texts)
    except pa.ArrowInvalid:
        return count_others(batch.lines, numbers=batch.numbers)
    counts = count_columns(found, baseline, predictions=batch.predictions, times=np.array(batch.times))
    return replace(counts, calls=len(batch.texts))
