"""Constraints, times to live and durations as a person reads them. Standard library only."""

from datetime import date, timedelta

from mlops_runtime.features.group import Feature

_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def constraint_text(feature: Feature) -> str:
    """Return a feature's constraints as a person reads them.

    Example:
        >>> constraint_text(Feature("share", "double", "share", minimum=0, maximum=1)), constraint_text(Feature("n", "long", "n"))
        ('0 to 1', '')
    """
    low, high = (None if bound is None else _value(bound) for bound in (feature.minimum, feature.maximum))
    parts = []
    if low is not None and high is not None:
        parts.append(f"{low} to {high}")
    elif low is not None:
        parts.append(f"at least {low}")
    elif high is not None:
        parts.append(f"at most {high}")
    if feature.allowed is not None:
        parts.append(f"one of {', '.join(map(_value, feature.allowed))}")
    if feature.pattern is not None:
        parts.append(f"matches {feature.pattern}")
    return "; ".join(parts)


def ttl_text(ttl: timedelta | None, bound: str) -> str:
    """Return a time to live as a person reads it.

    Example:
        >>> ttl_text(timedelta(days=10), "exclusive"), ttl_text(timedelta(0), "inclusive"), ttl_text(None, "inclusive")
        ('10 days, the last instant excluded', 'at its event time alone', 'without limit')
    """
    if ttl is None:
        return "without limit"
    if not ttl:
        return "at its event time alone"
    return duration_text(ttl) + (", the last instant excluded" if bound == "exclusive" else "")


def duration_text(span: timedelta, *, most: int | None = None) -> str:
    """Return a duration in its largest units.

    Args:
        span: The duration; a negative one counts like its opposite.
        most: How many units that follow each other to name; the rest is cut off. Default: all that count.

    Example:
        >>> duration_text(timedelta(days=1, hours=12)), duration_text(timedelta(days=9, seconds=5), most=2)
        ('1 day 12 hours', '9 days')
    """
    rest, parts = int(abs(span).total_seconds()), []
    for name, length in _UNITS:
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
        elif parts and most is not None:
            break  # "9 days 5 seconds" is no rounder than "9 days"
    return " ".join(parts[:most]) or "0 seconds"


def _value(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
