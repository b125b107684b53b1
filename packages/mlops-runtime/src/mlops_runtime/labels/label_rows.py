"""Validate rows with ids and labels: unique ids, labels of the model's kind; all problems in one message."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any

from mlops_runtime.contracts.capture import SYNTHETIC_PREFIX
from mlops_runtime.iso_time import with_offset
from mlops_runtime.labels.label_kind import LabelKind

LONGEST_ID = 64  # SageMaker's limit on inference ids
_EXACT = 2.0**53  # from here on, a float may represent several integers
_SHOWN = 3  # maximum rows in a message


class LabelError(ValueError):
    """Labels that cannot be uploaded.

    Args:
        problems: Each problem with its number of rows and examples.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedLabels:
    """Valid labels by id, in the form of ground truth records."""

    texts: dict[str, str]  # the labels by id
    rows: int  # number of rows read
    nulls: int  # rows without a label, which is not known yet
    repeated: int  # rows with the id and the label of another row, or with an older label
    known: dict[str, datetime] = field(default_factory=dict)  # when the label of each id became known. Default: unknown


@dataclass(slots=True)
class _Problems:
    found: dict[str, list[tuple[int, object]]] = field(default_factory=dict)

    def add(self, problem: str, row: int, value: object = None) -> None:
        self.found.setdefault(problem, []).append((row + 1, value))

    def texts(self) -> list[str]:
        return [self._text(problem, rows) for problem, rows in self.found.items()]

    @staticmethod
    def _text(problem: str, rows: Sequence[tuple[int, object]]) -> str:
        shown = [str(row) if value is None else f"{row}: {str(value)[:40]!r}" for row, value in rows[:_SHOWN]]
        more = ", ..." if len(rows) > _SHOWN else ""
        return f"{problem} in {len(rows)} {'row' if len(rows) == 1 else 'rows'} ({', '.join(shown)}{more})"


def check_labels(
    ids: Sequence[object],
    values: Sequence[Sequence[object]],
    kind: LabelKind,
    *,
    times: Sequence[object] | None = None,
    now: datetime | None = None,
) -> CheckedLabels:
    """Return the label of each id.

    Args:
        ids: Id of each row: text or an integer; in a frame with nulls, an integral float.
        values: A column of labels; for several outputs one for each, in their order.
        kind: Kind of the model's labels.
        times: When each label became known, as datetime or ISO 8601; the newest of an id counts. Default: an id may have one label.
        now: The time in the cloud; labels that became known later are rejected. Default: not compared.

    Raises:
        LabelError: With every problem.

    Example:
        >>> check_labels(["a", "b", "b"], [[1.5, 2, 2]], LabelKind(kind="number")).texts
        {'a': '1.5', 'b': '2'}
    """
    width = len(kind.outputs) or 1
    if len(values) != width:
        named = f": {', '.join(kind.outputs)}" if kind.outputs else ""
        raise LabelError(
            [f"the model has {width} outputs, so it needs {width} columns of labels{named}; got {len(values)}"]
        )
    problems = _Problems()
    known: dict[str, tuple[str, datetime | None]] = {}
    nulls = repeated = 0
    for row, (given, *label) in enumerate(zip(ids, *values, strict=True)):
        if any(_is_null(value) for value in label):
            nulls += 1
            continue
        name, text, at = _id(given, row, problems), _label(label, kind, row, problems), None
        if times is not None:
            at = _time(times[row], row, problems, now)
            if at is None:
                continue
        if name is None or text is None:
            continue
        before = known.get(name)
        if before is None:
            known[name] = text, at
            continue
        repeated += 1
        if at is not None and before[1] is not None and at != before[1]:
            known[name] = (text, at) if at > before[1] else before
        elif before[0] != text:
            problems.add(
                f"an id with another label than before{'' if times is None else ' at the same time'}", row, name
            )
    if problems.found:
        raise LabelError(problems.texts())
    texts = {name: text for name, (text, _) in known.items()}
    since = {name: at for name, (_, at) in known.items() if at is not None}
    return CheckedLabels(texts=texts, rows=len(ids), nulls=nulls, repeated=repeated, known=since)


def _is_null(value: Any) -> bool:
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or (isinstance(value, str) and not value.strip())
    )


def id_text(value: object) -> str | None:
    """Return an id in the form used in calls; None for invalid values.

    Example:
        >>> id_text("order-7"), id_text(7), id_text(7.0), id_text(7.5), id_text(2.0**53), id_text("x" * 65)
        ('order-7', '7', '7', None, None, None)
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    if not isinstance(value, int | str) or isinstance(value, bool):
        return None
    text = str(value).strip()
    is_plain = text.isascii() and text.isprintable() and 0 < len(text) <= LONGEST_ID
    return text if is_plain and not text.startswith(SYNTHETIC_PREFIX) else None


def check_ids(values: Sequence[object]) -> list[str]:
    """Return the ids of rows to send.

    Args:
        values: A column.

    Raises:
        LabelError: If one is null, invalid, or occurs twice.

    Example:
        >>> check_ids([7.0, "b"])
        ['7', 'b']
    """
    problems, found = _Problems(), dict[str, int]()
    for row, value in enumerate(values):
        name = _id(value, row, problems)
        if name is not None and name in found:
            problems.add("an id is the same as that of another row", row, name)
        elif name is not None:
            found[name] = row
    if problems.found:
        raise LabelError(problems.texts())
    return list(found)


def _id(value: object, row: int, problems: _Problems) -> str | None:
    if _is_null(value):
        problems.add("an id is null", row)
        return None
    text = id_text(value)
    if text is None:
        problems.add(
            f"an id must be 1 to {LONGEST_ID} printable ASCII characters, or an integer (as a float below 2^53): invalid",
            row,
            value,
        )
    return text


def _label(values: Sequence[object], kind: LabelKind, row: int, problems: _Problems) -> str | None:
    try:
        return kind.text(values)
    except ValueError:
        problems.add(f"a label must be {kind.wanted}: invalid", row, values[0] if len(values) == 1 else [*values])
        return None


def time_of(value: object) -> datetime | None:
    """Return a row's time, UTC if it has no zone; None for invalid values.

    Example:
        >>> time_of("2017-08-07T06:30").isoformat(), time_of(7)
        ('2017-08-07T06:30:00+00:00', None)
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        return None
    return with_offset(value)


def _time(value: object, row: int, problems: _Problems, now: datetime | None) -> datetime | None:
    at = time_of(value)
    if at is None:
        problems.add("a time must be a timestamp or ISO 8601: invalid", row, value)
    elif now is not None and at > now:
        problems.add(f"a label became known later than now ({now.isoformat(timespec='seconds')})", row, value)
    return at
