"""The verdict vectorized over many traces, and the documented default rules of other tools on the same minutes."""

import math

import numpy as np
from benchmarks.canary.traces import Floats, Ints, Traces
from numpy.typing import NDArray

from mlops_runtime.rollout.fleet_comparison import ComparisonRule
from mlops_runtime.rollout.live_history import Counts, own_noise

Bools = NDArray[np.bool_]

RULE = ComparisonRule()
THETAS = np.array((1.1, 1.25, 1.5, 2.0, 4.0, 8.0, 32.0))


class Comparison:
    """``fleet_comparison.compare`` over many traces at once, minute by minute."""

    def __init__(self, size: int, noise: Floats, rule: ComparisonRule = RULE) -> None:
        self._alive, self._left = np.zeros((size, len(THETAS))), np.ones(size)
        self._place, self._noise, self._rule = np.zeros(size, np.int64), noise, rule
        # calls and failures since both fleets last received calls
        self._open = [np.zeros(size, np.int64) for _ in range(4)]

    def add(self, x: Ints, n: Ints, y: Ints, m: Ints) -> Floats:
        """Return the evidence after one more minute; minutes are joined until both fleets have calls."""
        rule = self._rule
        self._open = [before + now for before, now in zip(self._open, (x, n, y, m), strict=True)]
        x, n, y, m = self._open
        is_full = (n > 0) & (m > 0)
        self._open = [np.where(is_full, 0, each) for each in self._open]
        self._place += is_full
        weight = rule.ratio * n / np.maximum(rule.ratio * n + m, 1e-12)
        step = x[:, None] * np.log(THETAS)
        step = step - (x + y + rule.extra * m)[:, None] * np.log1p((THETAS - 1) * weight[:, None])
        step /= (1 + self._noise * (1 - weight) * (x + y))[:, None]
        dead = (x >= rule.dead_failures) & (x >= (rule.dead_share or 2.0) * n)
        most = np.where(dead, 600.0, np.where(self._place <= rule.warm_up, 0.0, math.log(rule.cut)))
        step = np.minimum(step, most[:, None])
        start = np.where(self._place <= 1, 0.5, 0.5 / np.maximum(self._place * (self._place - 1), 1))
        self._left = self._left - np.where(is_full, start, 0.0)
        with np.errstate(over="ignore"):
            grown = np.minimum((self._alive + start[:, None] / len(THETAS)) * np.exp(step), 1e200)
        self._alive = np.where(is_full[:, None], grown, self._alive)
        return np.asarray(self._alive.sum(1) + np.maximum(self._left, 0.0))


def evidence(found: Traces, noise: Floats) -> Floats:
    """Return the evidence against the new fleet after each minute."""
    comparison = Comparison(len(found.x), noise)
    minutes = range(found.x.shape[1])
    return np.stack(
        [comparison.add(found.x[:, t], found.n[:, t], found.y[:, t], found.m[:, t]) for t in minutes], axis=1
    )


def noises(found: Traces) -> Floats:
    """Return each live fleet's own noise, estimated from its hours before the rollout."""
    rows = zip(found.history_calls.tolist(), found.history_failed.tolist(), strict=True)
    return np.array(
        [
            own_noise([Counts(calls=m, failed=y) for m, y in zip(calls, failed, strict=True)]) if any(failed) else 0.0
            for calls, failed in rows
        ]
    )


def is_stopped(found: Traces) -> Bools:
    """Return which traces the verdict stops."""
    return np.asarray((evidence(found, noises(found)) >= 1 / RULE.false_alarm).any(1))


def _share(x: Ints, n: Ints) -> Floats:
    return np.where(n > 0, x / np.maximum(n, 1), np.nan)


def _kayenta(new: Floats, old: Floats) -> Bools:
    """Mann-Whitney test of failure shares by minute: 98 % interval above a quarter of the Hodges-Lehmann estimate (normal).

    See: https://github.com/spinnaker/kayenta, kayenta-judge, MannWhitneyClassifier (tolerance 0.25, confidence 98 %)
    """
    differences = np.sort((new[:, :, None] - old[:, None, :]).reshape(len(new), -1), 1)
    size, length = np.sum(~np.isnan(differences), 1), new.shape[1]
    low = np.clip((size / 2 - 2.326 * np.sqrt(size * (2 * length + 1) / 12)).astype(int), 0, None)
    middle = size // 2 - (size > 0)
    bound, estimate = (np.take_along_axis(differences, at[:, None], 1)[:, 0] for at in (low, middle))
    return np.asarray(bound > 0.25 * np.abs(estimate))


def rules(found: Traces) -> dict[str, Bools]:
    """Return which traces each rule stops within twenty minutes."""
    x, n, y, m = found.x, found.n, found.y, found.m
    share = _share(x, n)
    five = _share(x.reshape(len(x), -1, 5).sum(2), n.reshape(len(x), -1, 5).sum(2))
    old = _share(y, m)
    return {
        "more than one error a minute": np.asarray((x > 1).any(1)),
        # https://argo-rollouts.readthedocs.io/en/stable/features/analysis/: success-rate >= 0.95, interval 5m, failureLimit 3
        "Argo Rollouts": np.asarray(np.nansum(five > 0.05, 1) > 3),
        # https://docs.flagger.app/usage/how-it-works: request-success-rate min 99, interval 1m, threshold 5; no data fails
        "Flagger": np.asarray(np.sum((share > 0.01) | np.isnan(share), 1) >= 5),
        "Kayenta at 10 and 20 min": _kayenta(share[:, :10], old[:, :10]) | _kayenta(share, old),
        "verdict": is_stopped(found),
    }
