"""Expected results of a point-in-time join in plain Python: every entity row is compared with every feature row."""

import math
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Seen:
    """A feature row: key, times in microseconds, batch, values."""

    key: tuple
    event: int
    created: int
    ingest: str
    values: tuple


def known_at(key, at, features, ttl=None, inclusive=True, width=1):
    """Return the values known at a time."""
    return _best(key, at, [f for f in features if max(f.event, f.created) * 1000 <= at], ttl, inclusive, width)


def event_time(key, at, features, ttl=None, inclusive=True, width=1):
    """Return the values of the newest event, whenever it became known."""
    return _best(key, at, [f for f in features if f.event * 1000 <= at], ttl, inclusive, width)


ORACLES = {"known_at": known_at, "event_time": event_time}


def _best(key, at, visible, ttl, inclusive, width):
    """``at`` is in nanoseconds, other times are in microseconds."""
    winner = None
    for row in visible:
        if row.key == key and (winner is None or _rank(row) > _rank(winner)):
            winner = row
    if winner is None:
        return (None,) * width
    age = at - winner.event * 1000
    alive = ttl is None or (age <= ttl * 1000 if inclusive else age < ttl * 1000)
    return winner.values if alive else (None,) * width


def _rank(row):
    # rows that differ in values alone cannot come from the store; they are ordered by value, null last
    return (row.event, row.created, row.ingest, *(_value_rank(value) for value in row.values))


def _value_rank(value):
    if value is None:
        return (2, 0)
    return (1, 0) if isinstance(value, float) and math.isnan(value) else (0, value)


def shown(value):
    """Return a value with NaN as a string, so that NaN equals itself and not null."""
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def differing(result: pa.Table, columns, expected) -> list:
    """Return the rows in which a result differs from an oracle."""
    found = list(zip(*(map(shown, result[name].to_pylist()) for name in columns), strict=True))
    wanted = [tuple(map(shown, row)) for row in expected]
    assert len(found) == len(wanted)
    return [(i, f, w) for i, (f, w) in enumerate(zip(found, wanted, strict=True)) if f != w]
