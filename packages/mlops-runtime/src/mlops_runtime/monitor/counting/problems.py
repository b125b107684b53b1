"""Problems of counting by code and arguments, with their number: bounded, and independent of the order of parts.

A problem is a string of its kind's code and its arguments as JSON, such as ``row_width[3,4]``, the key of its count; `sentence`
formats it for users. Callers choose some arguments, so the number of problems is bounded: those with the smallest CRC-32 are kept.
A problem dropped from a part would be dropped from the whole too, so that the counts of kept problems are exact. Problems of
unreadable rows have a separate bound, so that the number of such rows is exact. Columns that are not the model's are dropped first.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from mlops_runtime.contracts.monitor import Baseline, Counts

MAXIMUM = 100
_WORDS = {"number": "number", "category": "text"}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem. ``text``: format string of its arguments. ``is_of_rows``: a line or rows were excluded."""

    code: str
    text: str
    is_of_rows: bool = False

    def __call__(self, *arguments: str | int) -> str:
        """Return the problem with these arguments."""
        return _written(self.code, arguments)


LINE_NOT_JSON = Kind("line_not_json", "line is not JSON", is_of_rows=True)
LINE_TOO_DEEP = Kind("line_too_deep", "line is nested too deeply", is_of_rows=True)
LINE_TOO_LONG = Kind("line_too_long", "line is longer than 128 MiB", is_of_rows=True)
LINE_NOT_CAPTURE = Kind("line_not_capture", "line is not a capture record", is_of_rows=True)
LINE_WITHOUT_SIDES = Kind("line_without_sides", "line has neither input nor output", is_of_rows=True)
INPUT_WITHOUT_ROWS = Kind("input_without_rows", "input has no rows", is_of_rows=True)
INPUT_WITHOUT_INSTANCES = Kind("input_without_instances", "input has no instances", is_of_rows=True)
INPUT_NOT_CSV = Kind("input_not_csv", "input is not CSV", is_of_rows=True)
ROW_WIDTH = Kind("row_width", "row has {} values instead of {}", is_of_rows=True)
ROW_SHAPE = Kind("row_shape", "row is not an object or array", is_of_rows=True)
ROW_FOREIGN = Kind("row_foreign", "row names none of the model's columns", is_of_rows=True)
ROWS_OTHER = Kind("rows_other", "row cannot be read for another reason", is_of_rows=True)
OUTPUT_WITHOUT_PREDICTIONS = Kind("output_without_predictions", "output has no predictions")
COLUMN_MISSING = Kind("column_missing", "column {!r} is missing")
COLUMN_FOREIGN = Kind("column_foreign", "column {!r} is not the model's")
TIME_INVALID = Kind("time_invalid", "inferenceTime is not a time")
TIME_ELSEWHERE = Kind("time_elsewhere", "inferenceTime lies outside the hour of its capture object")
INPUT_NOT_CAPTURED = Kind("input_not_captured", "call has no captured input")
PREDICTIONS_DIFFER = Kind("predictions_differ", "rows and predictions of a call differ in number")
UNANNOUNCED = Kind("unannounced", "inference id looks synthetic, and no execution announced it")
VALUE_TYPE = Kind("value_type", "{}: value is not of type {}")
VALUE_INFINITE = Kind("value_infinite", "{}: value is infinite, or beyond a 32-bit float")
OBJECT_TOO_LARGE = Kind(
    "object_too_large",
    "capture object has more than 2 GiB, too large for a function: use MonitorEngine.processing",
    is_of_rows=True,
)
OTHERS = Kind("others", "other problems")


def _of_sides(code: str, text: str) -> dict[str, Kind]:
    return {side: Kind(f"{side}_{code}", f"{side} {text}", side == "input") for side in ("input", "output")}


# by side of the call, ``input`` or ``output``: rows are excluded only if the input is unreadable
SIDE_NOT_PAYLOAD = _of_sides("not_payload", "is not a captured payload")
SIDE_FORMAT = _of_sides("format", "is not CSV, JSON or BASE64 of text")
SIDE_NOT_TEXT = _of_sides("not_text", "is not base64 of UTF-8 text")
SIDE_NOT_JSON = _of_sides("not_json", "is not JSON")
SIDE_TOO_DEEP = _of_sides("too_deep", "is nested too deeply")

_KINDS = {kind.code: kind for kind in globals().copy().values() if isinstance(kind, Kind)}
_KINDS |= {
    kind.code: kind
    for sides in (SIDE_NOT_PAYLOAD, SIDE_FORMAT, SIDE_NOT_TEXT, SIDE_NOT_JSON, SIDE_TOO_DEEP)
    for kind in sides.values()
}


@lru_cache(maxsize=4096)
def _written(code: str, arguments: tuple[str | int, ...]) -> str:
    return code + json.dumps(arguments, separators=(",", ":")) if arguments else code


def kind_of(problem: str) -> Kind | None:
    """Return the kind of a problem; None for a string that is not a problem of counting."""
    return _KINDS.get(problem.partition("[")[0])


def arguments_of(problem: str) -> tuple[str | int, ...]:
    """Return a problem's arguments.

    Example:
        >>> arguments_of(ROW_WIDTH(3, 4))
        (3, 4)
    """
    _, bracket, rest = problem.partition("[")
    return tuple(json.loads(bracket + rest)) if bracket else ()


def sentence(problem: str) -> str:
    """Return the sentence of a problem; a string that is not a problem of counting unchanged.

    Example:
        >>> sentence(COLUMN_MISSING("price")), sentence("label without a captured call")
        ("column 'price' is missing", 'label without a captured call')
    """
    kind = kind_of(problem)
    return problem if kind is None else kind.text.format(*arguments_of(problem))


def is_unreadable(problem: str) -> bool:
    """Return whether a problem excluded a line or a row.

    Example:
        >>> is_unreadable(ROW_WIDTH(3, 4)), is_unreadable(TIME_INVALID())
        (True, False)
    """
    kind = kind_of(problem)
    return kind is not None and kind.is_of_rows


def bounded(problems: Mapping[str, int]) -> dict[str, int]:
    """Return at most 100 problems of excluded rows and 100 others; the rest of each is summed under one key.

    Example:
        >>> bounded({LINE_NOT_JSON(): 2})
        {'line_not_json': 2}
    """
    of_rows = {problem: times for problem, times in problems.items() if is_unreadable(problem)}
    rest = {problem: times for problem, times in problems.items() if problem not in of_rows}
    return {**_bounded(of_rows, ROWS_OTHER()), **_bounded(rest, OTHERS())}


def _bounded(problems: Mapping[str, int], others: str) -> dict[str, int]:
    names = [problem for problem in problems if problem != others]
    if len(names) > MAXIMUM:
        names = sorted(names, key=lambda name: (kind_of(name) is COLUMN_FOREIGN, zlib.crc32(name.encode()), name))
    kept = {name: problems[name] for name in sorted(names[:MAXIMUM])}
    left = sum(problems.values()) - sum(kept.values())
    return {**kept, others: left} if left else kept


def unreadable_rows(counts: Counts) -> int:
    """Return the number of unreadable rows of a window; a line whose rows are unknown counts as one."""
    return sum(times for name, times in (counts.problems or {}).items() if is_unreadable(name))


def invalid_values(baseline: Baseline, counts: Counts) -> dict[str, int]:
    """Return the problems of features and predictions with values of another type or infinite values."""
    pairs = list(zip(baseline.features, counts.features, strict=True))
    pairs += zip(baseline.predicted, counts.predicted, strict=False)
    found = {VALUE_TYPE(feature.name, _WORDS[feature.type]): counted.invalid for feature, counted in pairs}
    found |= {VALUE_INFINITE(feature.name): counted.infinite or 0 for feature, counted in pairs}
    return {problem: times for problem, times in found.items() if times}


def add(one: Mapping[str, int] | None, other: Mapping[str, int] | None) -> dict[str, int] | None:
    """Add up two mappings of problems.

    Example:
        >>> add({LINE_NOT_JSON(): 2}, {LINE_NOT_JSON(): 1})
        {'line_not_json': 3}
    """
    total = dict(one or {})
    for name, times in (other or {}).items():
        total[name] = total.get(name, 0) + times
    return bounded(total) or None
