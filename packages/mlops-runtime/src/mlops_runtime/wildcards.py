"""Wildcard patterns with ``*`` and ``?``, as in IAM and load balancers, matched without backtracking."""


def matches(pattern: str, value: str) -> bool:
    """Return whether a pattern matches a value: ``*`` matches any characters, ``?`` exactly one.

    Each part between two ``*`` is matched at its first occurrence. So the time is at most the product of both lengths, unlike that
    of a regular expression, which grows exponentially with the number of ``*``.

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
