"""Captured 2xx responses without readable numbers, counted by minute. Pure.

Captures name a variant, and both fleets of a rollout have the same variant. While both fleets respond, the counts cover both.
If each fleet is within tolerance, so is their mixture: the bound on false alarms still holds, and a stop only comes later.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from mlops_runtime.monitor.counting.capture_lines import CaptureError, read_predictions
from mlops_runtime.rollout.fleet_comparison import ComparisonRule, Minute, compare
from mlops_runtime.rollout.live_history import Counts, total

# claim: captures-name-no-fleet
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyVerdict:
    """Verdict on captured response bodies."""

    is_stopped: bool  # whether significantly more of them than before have no readable numbers
    sentence: str  # the counts, in words


def is_readable(output: Mapping[str, Any]) -> bool:
    """Return whether the output of a capture record has predictions, each a finite number, a list of them or the name of a class.

    Example:
        >>> is_readable({"encoding": "JSON", "data": '{"predictions": [1.5]}'})
        True
        >>> is_readable({"encoding": "JSON", "data": '{"error": "out of memory"}'})
        False
    """
    try:
        values, _ = read_predictions(output)
    except CaptureError:
        return False
    # a string is the name of a class in JSON; in CSV it may be anything
    is_text = output.get("encoding") != "CSV" and "json" in str(output.get("observedContentType"))
    return bool(values) and all(_is_answer(value, is_text=is_text) for value in values)


def by_minute(records: Iterable[Mapping[str, Any]]) -> dict[datetime, Counts]:
    """Return the captured responses of each minute; those without readable numbers count as failed."""
    found: dict[datetime, Counts] = {}
    for record in records:
        output = record.get("captureData", {}).get("endpointOutput")
        at = read_time(record)
        if output is None or at is None:
            continue
        minute = at.replace(second=0, microsecond=0)
        found[minute] = found.get(minute, Counts()) + Counts(calls=1, failed=0 if is_readable(output) else 1)
    return found


def read_time(record: Mapping[str, Any]) -> datetime | None:
    """Return the inference time of a capture record; None if it is missing or invalid."""
    try:
        at = datetime.fromisoformat(str(record["eventMetadata"]["inferenceTime"]))
    except (KeyError, TypeError, ValueError):
        return None
    return at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC)


def judge_bodies(counts: Mapping[datetime, Counts], *, since: datetime, false_alarm: float) -> BodyVerdict:
    """Compare the captured responses since the start of a rollout with those before it.

    Args:
        counts: Counts by minute.
        since: Start of the rollout.
        false_alarm: Highest probability that responses within tolerance stop the rollout.
    """
    start = since.astimezone(UTC).replace(second=0, microsecond=0)
    before = [count for minute, count in sorted(counts.items()) if minute < start]
    after = _each_minute({minute: count for minute, count in counts.items() if minute >= start})
    evidence = compare(
        [Minute(new=count, old=Counts()) for count in after],
        history=before,
        rule=ComparisonRule(false_alarm=false_alarm),
        alone_from=1,
    )
    new, old, length = total(after), total(before), len(after)
    text = f"{new.failed:,} of {new.calls:,} captured answers had no readable numbers, {old.failed:,} of {old.calls:,} before it"
    if not evidence.stopped_at:
        return BodyVerdict(is_stopped=False, sentence=text)
    sure = max(math.ceil(1000 / evidence.highest) / 10, 0.1)
    minutes = f"after {length} {'minute' if length == 1 else 'minutes'}"
    return BodyVerdict(is_stopped=True, sentence=f"{minutes}: {text}; false alarm probability below {sure:.1f} %")


def _each_minute(counts: Mapping[datetime, Counts]) -> Sequence[Counts]:
    if not counts:
        return ()
    first, last = min(counts), max(counts)
    return [counts.get(first + number * _MINUTE, Counts()) for number in range((last - first) // _MINUTE + 1)]


def _is_answer(value: Any, *, is_text: bool) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_is_answer(each, is_text=is_text) for each in value)
    if isinstance(value, bool) or value is None:
        return False
    if isinstance(value, int | float):
        return math.isfinite(value)
    if not isinstance(value, str):
        return False
    try:
        return math.isfinite(float(value))
    except ValueError:
        return is_text and bool(value)
