"""Statistics of the live fleet's minutes before a rollout: noise and usual level of its failing share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# minutes on each side that a minute is compared with, so that slow changes do not count as noise
_NEAR = 5
_LEAST_MINUTES = 60
# the most extreme twentieth of the minutes is left out; the comparison cuts its evidence
_KEPT = 0.95
# effect of leaving them out on the variance of chance, and variance that ten neighbours add to the expected count's
_TRIMMED = 0.77
_NEIGHBOURS = 1.1
# Bursts of callers look like a fleet's own noise here but reach both fleets, so the noise is limited to a third of the share.
_MOST_NOISE = 0.1
_WINDOW = 5
_WINDOW_CALLS = 20
# no failing call of n excludes a failing share above 3/n (95 %)
_RULE_OF_THREE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Responses of a fleet, and the failed or slow ones among them.

    Example:
        >>> Counts(calls=600, failed=3) + Counts(calls=1)
        Counts(calls=601, failed=3)
    """

    calls: int = 0
    failed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(calls=self.calls + other.calls, failed=self.failed + other.failed)

    @property
    def share(self) -> float:
        """Failing share; 0 without a call."""
        return self.failed / self.calls if self.calls else 0.0


def total(minutes: Sequence[Counts]) -> Counts:
    """Return the sum of all minutes.

    Example:
        >>> total([Counts(calls=3, failed=1), Counts(calls=2)])
        Counts(calls=5, failed=1)
    """
    return sum(minutes, Counts())


def own_noise(history: Sequence[Counts]) -> float:
    """Return c², the squared coefficient of variation of a fleet's failing share from minute to minute beyond chance.

    Each minute's failures are compared with those expected from the ten minutes around it. The excess of their squared
    differences over chance, less two standard errors, is divided by the squared expectations; at most 0.1, and 0 if it is not
    significant or if fewer than an hour's minutes can be compared.

    Args:
        history: Minutes of the live fleet, oldest first.

    Example:
        >>> own_noise([Counts(calls=6000, failed=60)] * 240)
        0.0
        >>> own_noise([Counts(calls=100_000, failed=1500 if minute % 2 else 500) for minute in range(240)])
        0.1
    """
    rows = []
    for at, minute in enumerate(history):
        near = total([*history[max(0, at - _NEAR) : at], *history[at + 1 : at + 1 + _NEAR]])
        if near.failed:
            expected = minute.calls * near.share
            square = (minute.failed - expected) ** 2
            rows.append((square / max(expected, 1e-9), expected, square))
    if len(rows) < _LEAST_MINUTES:
        return 0.0
    kept = sorted(rows)[: int(len(rows) * _KEPT)]
    excess = [square / _TRIMMED - _NEIGHBOURS * expected for _, expected, square in kept]
    scale = sum(expected**2 for _, expected, _ in kept)
    mean = sum(excess) / len(excess)
    error = math.sqrt(sum((each - mean) ** 2 for each in excess))
    return min(_MOST_NOISE, max(0.0, (sum(excess) - 2 * error) / scale)) if scale else 0.0


def seen_share(history: Sequence[Counts]) -> float:
    """Return the 95th percentile of a fleet's failing share in windows of five minutes; 0 without calls.

    A window with fewer than 20 calls is joined with the next; with fewer calls in total, their share is returned.

    Args:
        history: Minutes of the live fleet, oldest first.

    Example:
        >>> seen_share([Counts(calls=600, failed=6)] * 240), seen_share([Counts(calls=2)])
        (0.01, 0.0)
    """
    shares = []
    window = Counts()
    for start in range(0, len(history), _WINDOW):
        window += total(history[start : start + _WINDOW])
        if window.calls >= _WINDOW_CALLS:
            shares.append(window.share)
            window = Counts()
    if not shares:
        return total(history).share
    return sorted(shares)[min(len(shares) - 1, int(len(shares) * _KEPT))]


def usual_share(history: Sequence[Counts]) -> float | None:
    """Return the failing share that a fleet usually stays below: `seen_share`; None without calls.

    It is at least the share that the whole history cannot exclude, which has 3 failures more.

    Args:
        history: Minutes of the live fleet, oldest first.

    Example:
        >>> usual_share([Counts(calls=600, failed=6)] * 240)
        0.01002...
        >>> usual_share([Counts(calls=1)] * 60), usual_share([])
        (0.05, None)
    """
    everything = total(history)
    if not everything.calls:
        return None
    return min(1.0, max(seen_share(history), (everything.failed + _RULE_OF_THREE) / everything.calls))
