"""Patterns of ``*`` and ``?``, as IAM and load balancers have them, matched in linear time."""


def matches(pattern: str, value: str) -> bool:
    """Return whether a pattern stands for a value: ``*`` for any characters, ``?`` for one.

    Each part between two ``*`` is looked for once, where it first is: the time grows with the lengths of both, multiplied, and not
    with a power of the number of ``*``, as that of a regular expression does.

    Example:
        >>> matches("arn:*:s3:::data-?/*", "arn:aws:s3:::data-1/a/b"), matches("a*a", "a")
        (True, False)
    """
    first, *rest = pattern.split("*")
    if not rest:
        return len(value) == len(first) and _is_at(first, value, 0)
    *middle, last = rest
    end = len(value) - len(last)
    if end < len(first) or not _is_at(first, value, 0) or not _is_at(last, value, end):
        return False
    place = len(first)
    for part in middle:
        found = _find(part, value, place, end)
        if found is None:
            return False
        place = found + len(part)
    return True


def _find(part: str, value: str, place: int, end: int) -> int | None:
    if "?" not in part:
        found = value.find(part, place, end)
        return None if found < 0 else found
    return next((at for at in range(place, end - len(part) + 1) if _is_at(part, value, at)), None)


def _is_at(part: str, value: str, place: int) -> bool:
    return all(one in ("?", other) for one, other in zip(part, value[place : place + len(part)], strict=True))
