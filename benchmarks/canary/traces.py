"""Minutes of two fleets: calls and failures of the new and the old one, with the troubles that rollouts meet."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FAMILIES = ("plain", "warm-up", "outage of both", "callers' bursts", "diurnal", "own noise 20 %")
HISTORY = 240
_WILD = 25  # a gamma of that shape has a coefficient of variation of 20 %
_DAY = 1440


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Failures x of n calls of the new fleet and y of m of the old one, by trace and minute, and the live fleet's hours before."""

    x: Ints
    n: Ints
    y: Ints
    m: Ints
    history_failed: Ints
    history_calls: Ints


def traces(
    rng: np.random.Generator,
    family: str,
    *,
    volume: float,
    share: float,
    old: float,
    new: float,
    size: int,
    minutes: int = 20,
) -> Traces:
    """Draw traces.

    Args:
        rng: Source of chance.
        family: One of ``FAMILIES``.
        volume: Calls a minute of both fleets.
        share: Share of the new one.
        old: Failing share of the old fleet.
        new: That of the new one.
        size: How many.
        minutes: How long each is.
    """
    whole = HISTORY + minutes
    level = np.full((size, whole), float(volume))
    p, q = np.full((size, whole), old), np.full((size, whole), new)
    if family == "diurnal":  # from a tenth to twice, anywhere in the day; failures rise with the load
        phase = rng.uniform(0, 2 * np.pi, (size, 1)) + 2 * np.pi * np.arange(whole) / _DAY
        swing = 1.05 + 0.95 * np.sin(phase)
        level, p, q = level * swing, p * (0.5 + swing / 2), q * (0.5 + swing / 2)
    if family == "outage of both":
        p[:, HISTORY + 8 : HISTORY + 13] = np.maximum(p[:, HISTORY + 8 : HISTORY + 13], 0.5)
        q[:, HISTORY + 8 : HISTORY + 13] = np.maximum(q[:, HISTORY + 8 : HISTORY + 13], 0.5)
    if family == "warm-up":
        q[:, HISTORY] += 0.1
        q[:, HISTORY + 1] += 0.03
    if family == "own noise 20 %":
        p, q = p * rng.gamma(_WILD, 1 / _WILD, p.shape), q * rng.gamma(_WILD, 1 / _WILD, q.shape)
    before, after = slice(0, HISTORY), slice(HISTORY, None)
    calls = rng.poisson(level[:, before])
    failed = rng.binomial(calls, np.minimum(p[:, before], 1))
    n, m = rng.poisson(level[:, after] * share), rng.poisson(level[:, after] * (1 - share))
    x = rng.binomial(n, np.minimum(q[:, after], 1))
    y = rng.binomial(m, np.minimum(p[:, after], 1))
    if (
        family == "callers' bursts"
    ):  # a caller's malformed calls with retries, a fifth of the traffic for a minute, twice
        for at in (5, 14):
            extra = rng.poisson(max(10, volume / 5), size)
            mine = rng.binomial(extra, share)
            for counts, more in ((x, mine), (n, mine), (y, extra - mine), (m, extra - mine)):
                counts[:, at] += more
    return Traces(x=x, n=n, y=y, m=m, history_failed=failed, history_calls=calls)
