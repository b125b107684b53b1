"""Synthetic minutes of two fleets: calls and failures of the new and the old one, with the disturbances that rollouts meet."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FAMILIES = ("plain", "warm-up", "outage of both", "callers' bursts", "diurnal", "own noise 20 %")
HISTORY = 240
_WILD = 25  # a gamma distribution with that shape has a coefficient of variation of 20 %
_DAY = 1440


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Calls and failures by trace and minute (new fleet: x of n, old fleet: y of m), and the live fleet's hours before."""

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
        rng: Random generator.
        family: One of ``FAMILIES``.
        volume: Calls per minute to both fleets together.
        share: Traffic share of the new fleet.
        old: Failure rate of the old fleet.
        new: Failure rate of the new fleet.
        size: Number of traces.
        minutes: Length of each trace.
    """
    whole = HISTORY + minutes
    level = np.full((size, whole), float(volume))
    p, q = np.full((size, whole), old), np.full((size, whole), new)
    if family == "diurnal":  # from a tenth to twice the volume, at a random time of day; failures rise with the load
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
    ):  # malformed calls of one caller with retries: a fifth of the traffic for a minute, twice
        for at in (5, 14):
            extra = rng.poisson(max(10, volume / 5), size)
            mine = rng.binomial(extra, share)
            for counts, more in ((x, mine), (n, mine), (y, extra - mine), (m, extra - mine)):
                counts[:, at] += more
    return Traces(x=x, n=n, y=y, m=m, history_failed=failed, history_calls=calls)
