"""What a feature's values must satisfy: bounds, a list of values, a pattern.

Here the declaration is checked, in ``batch`` the rows. Standard library only.
"""

import math
import re
import struct
from collections.abc import Iterable
from datetime import date, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlops_runtime.features.group import Feature

Bound = int | float | date | datetime
Value = bool | int | float | str | date | datetime

_BOUNDED = ("int", "long", "float", "double", "date", "timestamp")
_RANGES = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
_FORMS = {
    "boolean": "True or False",
    "int": "an int of 32 bits",
    "long": "an int of 64 bits",
    "float": "a finite number of 32 bits",
    "double": "a finite number",
    "string": "a str",
    "date": "a datetime.date",
    "timestamp": "a datetime with a time zone",
}
# What Python's re knows and RE2, which checks batches, does not: https://github.com/google/re2/wiki/Syntax
_NOT_IN_RE2 = re.compile(
    r"""(?P<syntax> \\[1-9ZuUN] | \(\?(?:P=|<[=!]|[=!>(\#]|[a-zA-Z-]*[aLux]) | [*+?}]\+ | \{(?:\d*,)?(?!1000\D)\d{4,} )
    | \\. | \[\^?\]?(?:\\.|[^\]\\])*\]        # what is escaped or in a class is no syntax""",
    re.VERBOSE | re.DOTALL,
)


def constraint_problems(feature: "Feature") -> Iterable[str]:
    """Name everything in the constraints of a feature, whose type is one of ours, that makes no sense."""
    yield from _bound_problems(feature)
    yield from _allowed_problems(feature)
    yield from _pattern_problems(feature)


def _bound_problems(feature: "Feature") -> Iterable[str]:
    sound = True
    for word, bound in (("minimum", feature.minimum), ("maximum", feature.maximum)):
        if bound is None:
            continue
        if feature.type not in _BOUNDED:
            sound = False
            yield f"{word} is for {', '.join(_BOUNDED)}, got {bound!r} on {feature.type}; leave it out"
        elif not _is_value(feature.type, bound):
            sound = False
            yield f"{word} must be {_FORMS[feature.type]}, got {bound!r}; leave it out for no bound"
    if (
        sound
        and feature.minimum is not None
        and feature.maximum is not None
        and _less(feature.maximum, feature.minimum)
    ):
        yield f"minimum must be at most maximum, got {feature.minimum!r} and {feature.maximum!r}"


def _allowed_problems(feature: "Feature") -> Iterable[str]:
    allowed = feature.allowed
    if allowed is None:
        return
    if not isinstance(allowed, tuple) or not allowed:
        yield f"allowed must be a tuple of at least one value, got {allowed!r}; leave it out to allow all"
        return
    others = [value for value in allowed if not _is_value(feature.type, value)]
    if others:
        yield f"allowed must hold {_FORMS[feature.type]} each, got {', '.join(map(repr, others))}"
        return
    twice = sorted({repr(value) for value in allowed if allowed.count(value) > 1})
    if twice:
        yield f"allowed names {', '.join(twice)} more than once"
    for word, outside in (("minimum", _below), ("maximum", _above)):
        bound = getattr(feature, word)
        if bound is None or feature.type not in _BOUNDED or not _is_value(feature.type, bound):
            continue
        wrong = [value for value in allowed if outside(value, bound)]
        if wrong:
            yield f"allowed holds {', '.join(map(repr, wrong))} beyond {word} {bound!r}"


def _pattern_problems(feature: "Feature") -> Iterable[str]:
    pattern = feature.pattern
    if pattern is None:
        return
    if feature.type != "string":
        yield f"pattern is for string, got {pattern!r} on {feature.type}; leave it out"
        return
    if not isinstance(pattern, str):
        yield f"pattern must be a str, got {pattern!r}"
        return
    try:
        compiled = re.compile(pattern, re.ASCII)
    except (re.error, ValueError, OverflowError) as error:
        yield f"pattern must be a regular expression, got {pattern!r}: {error}"
        return
    unknown = [found["syntax"] for found in _NOT_IN_RE2.finditer(pattern) if found["syntax"]]
    if unknown:
        yield f"pattern {pattern!r} uses {', '.join(unknown)}, which RE2 does not know; write it without"
    elif isinstance(feature.allowed, tuple):
        wrong = [v for v in feature.allowed if isinstance(v, str) and not compiled.fullmatch(v)]
        if wrong:
            yield f"allowed holds {', '.join(map(repr, wrong))}, which pattern {pattern!r} does not match"


def _is_value(kind: str, value: object) -> bool:
    if isinstance(value, bool) or kind == "boolean":
        return isinstance(value, bool) and kind == "boolean"
    if kind in _RANGES:
        low, high = _RANGES[kind]
        return isinstance(value, int) and low <= value <= high
    if kind == "string":
        return isinstance(value, str)
    if kind == "timestamp":
        return isinstance(value, datetime) and value.utcoffset() is not None
    if kind == "date":
        return isinstance(value, date) and not isinstance(value, datetime)
    if not isinstance(value, int | float):
        return False
    try:
        struct.pack(
            "<f" if kind == "float" else "<d", float(value)
        )  # an int may be beyond the floats, a float beyond 32 bits
        return math.isfinite(value)
    except OverflowError:
        return False


def _less(one: Value, other: Value) -> bool:
    less: bool = one < other  # type: ignore[operator]
    return less


def _below(value: Value, bound: Bound) -> bool:
    return _less(value, bound)


def _above(value: Value, bound: Bound) -> bool:
    return _less(bound, value)
