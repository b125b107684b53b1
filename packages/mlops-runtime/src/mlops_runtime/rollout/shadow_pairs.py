"""Comparison of the live model's and a shadow's responses to the same requests: one-sided failures and changed answers. Pure.

An invalid request fails in both models and is ignored. If the candidate is within tolerance, failures of only one model are equally
likely in either. A retrained model is expected to answer differently; the unit declares how much may change.
"""

import hashlib
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from mlops_runtime.contracts.serving import ToleranceSpec
from mlops_runtime.monitor.counting.capture_lines import CaptureError, read_predictions
from mlops_runtime.rollout.answer_bodies import is_readable, read_time
from mlops_runtime.rollout.fleet_comparison import ComparisonRule, Minute, compare
from mlops_runtime.rollout.live_history import Counts

# alternatives of the test for changed answers, as multiples of the tolerated share
_MULTIPLES = (1.2, 1.5, 2.0, 4.0, 10.0)
# half of the usual probability each for errors and for answers
_FALSE_ALARM = 0.005
# evaluated once, so without a cut and without warm-up
_ONCE = ComparisonRule(false_alarm=_FALSE_ALARM, cut=1e9, warm_up=0, dead_share=None)
_LEAST = 1e-12
# fewer numbers of the live model give no meaningful tails
_LEAST_NUMBERS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Both models' predictions for one request, row by row; None if a response has no readable numbers."""

    live: tuple[float, ...] | None
    shadow: tuple[float, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsVerdict:
    """Verdict on the pairs."""

    pairs: int  # number of pairs
    passed: bool  # whether there is no significant evidence against the candidate
    sentence: str  # the counts, in words


def paired(live: Iterable[Mapping[str, Any]], shadow: Iterable[Mapping[str, Any]]) -> list[Pair]:
    """Pair captured calls of both models: by the caller's inference id, else by the bytes of the request.

    Of requests with the same bytes only the first counts, since the others add no information. A repeated id is paired with the
    record that is nearest in time.

    Args:
        live: Capture records of the production variant.
        shadow: Capture records of the shadow.
    """
    theirs: dict[str, list[Mapping[str, Any]]] = {}
    for record in live:
        key = _key(record)
        if key is not None:
            theirs.setdefault(key, []).append(record)
    found, seen = [], set[str]()
    for record in shadow:
        key, body = _key(record), _body(record)
        if body is None or key is None or key not in theirs or body in seen:
            continue
        nearest = min(theirs[key], key=partial(_apart, record))
        if _body(nearest) != body:
            continue
        seen.add(body)
        found.append(Pair(live=_numbers(nearest), shadow=_numbers(record)))
    return found


def judge_pairs(pairs: Sequence[Pair], tolerance: ToleranceSpec) -> PairsVerdict:
    """Return the verdict on pairs.

    Args:
        pairs: All pairs of the shadow's bake.
        tolerance: Tolerated difference between two answers, and tolerated share of changed answers.
    """
    ours = sum(pair.shadow is None and pair.live is not None for pair in pairs)
    theirs = sum(pair.live is None and pair.shadow is not None for pair in pairs)
    both = [(pair.live, pair.shadow) for pair in pairs if pair.live is not None and pair.shadow is not None]
    changed = sum(is_changed(live, shadow, tolerance) for live, shadow in both)
    counts = Minute(new=Counts(calls=len(pairs), failed=ours), old=Counts(calls=len(pairs), failed=theirs))
    errs = compare([counts], rule=_ONCE).stopped_at > 0
    differs = change_evidence(changed, len(both), tolerance.max_changed) >= 1 / _FALSE_ALARM
    apart = [abs(a - b) / abs(a) for live, shadow in both for a, b in zip(live, shadow, strict=False) if a]
    middle = f", by {100 * statistics.median(apart):.2g} % in the median" if apart else ""
    sentence = (
        f"of {len(pairs):,} pairs of answers {changed:,} changed beyond the tolerance{middle}, at most "
        f"{100 * tolerance.max_changed:g} % may; only the candidate had no numbers in {ours:,}, only the live model in {theirs:,}"
        f"{tails(both)}"
    )
    return PairsVerdict(pairs=len(pairs), passed=not errs and not differs, sentence=sentence)


def is_changed(live: Sequence[float], shadow: Sequence[float], tolerance: ToleranceSpec) -> bool:
    """Return whether any number of an answer is beyond the tolerance; a different count of numbers is a change, too.

    Example:
        >>> is_changed([1.0, 100.0], [1.01, 104.0], ToleranceSpec(relative=0.05, absolute=0.0, max_changed=0.1))
        False
    """
    if len(live) != len(shadow):
        return True
    bound = tolerance.absolute
    return any(abs(b - a) > bound + tolerance.relative * abs(a) for a, b in zip(live, shadow, strict=True))


def tails(both: Sequence[tuple[Sequence[float], Sequence[float]]]) -> str:
    """Return the shares of the candidate's numbers in the tails of the live model's, as the end of a sentence; informational only.

    Args:
        both: Numbers of the live model and of the candidate, request by request.

    Returns:
        Empty if the live model gave too few numbers, or always the same one.

    Example:
        >>> tails([([float(at)], [float(at + 20)]) for at in range(100)])
        "; 30 % of its numbers are in or above the highest tenth of the live model's, 0 % in or below the lowest"
    """
    live = [number for ours, _ in both for number in ours]
    candidate = [number for _, theirs in both for number in theirs]
    if len(live) < _LEAST_NUMBERS or not candidate:
        return ""
    tenths = statistics.quantiles(live, n=10)
    if tenths[0] == tenths[-1]:
        return ""
    above, below = sum(each > tenths[-1] for each in candidate), sum(each < tenths[0] for each in candidate)
    shares = (f"{100 * each / len(candidate):.2g} %" for each in (above, below))
    high, low = shares
    return (
        f"; {high} of its numbers are in or above the highest tenth of the live model's, {low} in or below the lowest"
    )


def change_evidence(changed: int, pairs: int, share: float) -> float:
    """Return the evidence that more than a share of the answers changed: an e-value, as a mixture over several larger shares.

    Example:
        >>> change_evidence(5, 100, 0.05) < 2, change_evidence(60, 100, 0.05) > 1e6
        (True, True)
    """
    null = max(share, _LEAST)
    terms = []
    for multiple in _MULTIPLES:
        other = min(null * multiple, (1 + null) / 2)
        if other <= null:
            continue
        log = (
            changed * math.log(other / null)
            + (pairs - changed) * math.log1p(-other)
            - (pairs - changed) * math.log1p(-null)
        )
        terms.append(math.exp(min(log, 600.0)))
    return sum(terms) / len(terms) if terms else 1.0


def _key(record: Mapping[str, Any]) -> str | None:
    event = record.get("eventMetadata", {})
    given = event.get("inferenceId")
    return f"id:{given}" if given else _body(record)


def _body(record: Mapping[str, Any]) -> str | None:
    side = record.get("captureData", {}).get("endpointInput")
    if not isinstance(side, Mapping) or not isinstance(side.get("data"), str):
        return None
    return hashlib.sha256(side["data"].encode()).hexdigest()


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    times: tuple[datetime | None, datetime | None] = read_time(one), read_time(other)
    return math.inf if times[0] is None or times[1] is None else abs((times[0] - times[1]).total_seconds())


def _numbers(record: Mapping[str, Any]) -> tuple[float, ...] | None:
    output = record.get("captureData", {}).get("endpointOutput")
    if not isinstance(output, Mapping) or not is_readable(output):
        return None
    try:
        values, _ = read_predictions(output)
        return tuple(_flat(values))
    except (CaptureError, ValueError, TypeError):
        return None


def _flat(values: Iterable[Any]) -> Iterator[float]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield float(value)
