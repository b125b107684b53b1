"""Sequential test whether a new fleet fails more often than the old one over the same minutes.

The test is anytime-valid: it may be evaluated after each minute, any number of times. A fleet within tolerance is stopped with at
most the requested probability, at any error rate that both fleets share, even if it varies over time.

In a minute, x of the new fleet's n responses failed, and y of the old one's m. The fleet is within tolerance if p_new <=
r (p_old + a) in each minute. For a multiple ``theta`` > 1 and w = r n / (r n + m)

    log e(theta) = x ln theta - (x + y + a m) ln(1 + (theta - 1) w)

With A = theta / (1 + (theta - 1) w) and B = 1 / (1 + (theta - 1) w), w A + (1 - w) B = 1, so r n (A - 1) + m (B - 1) = 0. For
independent binomials E[A^x] <= exp(n p_new (A - 1)) and E[B^y] <= exp(m p_old (B - 1)), as 1 + u <= exp(u). So the mean of e is
at most exp(a m (1 - B + ln B)) <= 1: the product over minutes is a nonnegative supermartingale, which reaches 1/alpha with
probability at most alpha (Ville). With r = 1 and a = 0 it is the two-arm case of Lindon and Malek 2022, "Anytime-valid inference
for multinomial count data", https://arxiv.org/abs/2011.03567.

At a few calls a minute, minutes are joined until both fleets have calls. The choice depends only on the calls, and the proof
holds for the sums if neither share changes within the joined minutes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlops_runtime.rollout.live_history import Counts, own_noise, usual_share

# alternatives of the test, as multiples of the tolerated share: they cover small and gross harm
_THETAS = (1.1, 1.25, 1.5, 2.0, 4.0, 8.0, 32.0)
_LOGS = tuple(math.log(theta) for theta in _THETAS)
# alternatives for a good fleet: its failing share, as a multiple of the share that is not accepted
_GOOD_THETAS = (0.0, 0.25, 0.5, 0.7, 0.85)
# assumed failing share of a live fleet without earlier calls
UNKNOWN_SHARE = 0.01
# largest exponent and product that a float can represent with room for the next minute
_UNCUT = 600.0
_MOST = 1e200


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """Counts of both fleets in one minute."""

    new: Counts
    old: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRule:
    """Tolerance for a new fleet's failures, and error probabilities of the test."""

    false_alarm: float = 0.01  # highest probability that a fleet within tolerance is stopped
    ratio: float = 1.1  # the tolerated failing share is `ratio` times (the old fleet's + `extra`)
    extra: float = 0.0005  # tolerated failing share on top of the old fleet's
    alone: float = 2.0  # tolerated multiple of (the old fleet's usual share + `extra`) once the old fleet gets no calls
    margin: float = 0.01  # a fleet is good if its failing share is below `ratio` times the old fleet's + `margin`
    doubt: float = 0.05  # highest probability that a fleet is called good by mistake
    # upper bound of one minute's evidence. Half of it is less than 1 / `false_alarm`, so a stop takes two minutes
    cut: float = 15.0
    dead_failures: int = 20  # minimum of failed responses in a minute whose evidence is not cut; see `dead_share`
    dead_share: float | None = 0.8  # minimum share of failed responses in such a minute. None: every minute is cut
    # number of first minutes with calls whose evidence is cut at 1, so that they do not count against the fleet
    warm_up: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Result of a comparison."""

    # current evidence against the fleet: an e-value, at most 1 on average if the fleet is within tolerance
    against: float = 1.0
    highest: float = 1.0  # its highest value so far, at least 1; the inverse is an anytime-valid p-value
    stopped_at: int = 0  # number of the minute, from 1, in which it reached 1 / `false_alarm`; 0 if never
    good: float = 1.0  # current evidence that the fleet is within the margin
    good_at: int = 0  # number of the minute since which the evidence suffices (1 / `doubt`); 0 if it does not


def compare(
    minutes: Sequence[Minute],
    *,
    history: Sequence[Counts] = (),
    rule: ComparisonRule | None = None,
    alone_from: int | None = None,
) -> Evidence:
    """Return the evidence of all minutes since the first step for and against the new fleet.

    A fleet may turn bad at any minute, so a product of e starts at each: half of the weight is on the first minute,
    0.5 / (j (j - 1)) on minute j. One minute is cut at ``cut``, which keeps its mean below 1; leaving it out because of its outcome
    would not. The fleets' own noise, c², divides log e by 1 + c² (1 - w) (x + y).

    Once the old fleet gets no calls, nothing can be compared. From then on, the tolerated number is lambda = 2 n (u + a), with u
    the old fleet's usual share, 1 % without a history, and log e = x ln theta - lambda (theta - 1), divided by 1 + c² lambda.

    Args:
        minutes: All minutes since the first step, oldest first, including those without calls.
        history: Minutes of the old fleet before the first step, oldest first. Default: unknown.
        rule: Tolerance. Default: that of errors.
        alone_from: Number of the minute, from 1, since which the old fleet gets no calls. Default: it always gets calls.

    Example:
        >>> errors = [Minute(new=Counts(calls=600, failed=9), old=Counts(calls=5400, failed=8))] * 3
        >>> compare(errors).stopped_at
        3
    """
    rule = ComparisonRule() if rule is None else rule
    noise, usual = own_noise(history), usual_share(history)
    alive, good = [0.0] * len(_THETAS), [0.0] * len(_GOOD_THETAS)
    unstarted, found = 1.0, Evidence()
    for place, (number, minute) in enumerate(_joined(minutes, alone_from), 1):
        start = 0.5 if place == 1 else 0.5 / (place * (place - 1))
        unstarted -= start
        is_warm, is_alone = place <= rule.warm_up, not minute.old.calls
        steps = _alone(minute.new, usual, noise, rule) if is_alone else _together(minute, noise, rule)
        most = _most(minute.new, rule, is_warm=is_warm)
        alive = [
            min((product + start / len(_THETAS)) * math.exp(min(step, most)), _MOST)
            for product, step in zip(alive, steps, strict=True)
        ]
        if not is_alone and not is_warm:
            good = [sum(pair) for pair in zip(good, _gains(minute, noise, rule), strict=True)]
        found = _updated(found, number, sum(alive) + max(unstarted, 0.0), _mean(good), rule)
    return found


def growth(*, share: float, old: float, new: float, rule: ComparisonRule) -> Iterator[tuple[float, float, float]]:
    """Yield mean and variance of log e per response of the new fleet, and the sum that stops it, for each multiple.

    Failures are Poisson. The weights of the multiple and of the first minute raise that sum.

    Args:
        share: The new fleet's share of the calls; 1 if the old fleet gets none.
        old: The old fleet's failing share.
        new: The new fleet's failing share.
        rule: Tolerance.
    """
    limit = math.log(2 * len(_THETAS) / rule.false_alarm)
    beside = (1 - share) / share
    weight = rule.ratio / (rule.ratio + beside)
    for theta, log in zip(_THETAS, _LOGS, strict=True):
        if beside:
            loss = math.log1p((theta - 1) * weight)
            mean = new * (log - loss) - beside * (old + rule.extra) * loss
            variance = new * (log - loss) ** 2 + beside * old * loss**2
        else:
            mean = new * log - rule.alone * (old + rule.extra) * (theta - 1)
            variance = new * log**2
        yield mean, variance, limit


def _joined(minutes: Sequence[Minute], alone_from: int | None) -> Iterator[tuple[int, Minute]]:
    """Yield minutes joined until both fleets have calls, and the new fleet's minutes alone, each with its last minute's number."""
    new, old = Counts(), Counts()
    for number, minute in enumerate(minutes, 1):
        if alone_from is not None and number >= alone_from and not minute.old.calls:
            if minute.new.calls:
                yield number, minute
            continue
        new, old = new + minute.new, old + minute.old
        if new.calls and old.calls:
            yield number, Minute(new=new, old=old)
            new, old = Counts(), Counts()


def _updated(found: Evidence, number: int, against: float, good: float, rule: ComparisonRule) -> Evidence:
    return Evidence(
        against=against,
        highest=max(found.highest, against),
        stopped_at=found.stopped_at or (number if against >= 1 / rule.false_alarm else 0),
        good=good,
        good_at=(found.good_at or number) if good >= 1 / rule.doubt else 0,
    )


def _most(new: Counts, rule: ComparisonRule, *, is_warm: bool) -> float:
    """Return the log at which a minute's evidence is cut; any cut keeps the mean of e below 1, even if it depends on the minute."""
    if rule.dead_share is not None and new.failed >= max(rule.dead_failures, rule.dead_share * new.calls):
        return _UNCUT
    return 0.0 if is_warm else math.log(rule.cut)


def _weight(minute: Minute, rule: ComparisonRule) -> float:
    """Return w: the new fleet's expected share of the failures if it fails ``ratio`` times as often."""
    return rule.ratio * minute.new.calls / (rule.ratio * minute.new.calls + minute.old.calls)


def _spread(minute: Minute, weight: float, noise: float) -> float:
    """Return the divisor of log e for noise; a smaller fleet averages over fewer instances, so its noise weighs more."""
    return 1 + noise * (1 - weight) * (minute.new.failed + minute.old.failed)


def _together(minute: Minute, noise: float, rule: ComparisonRule) -> list[float]:
    """Return log e for each multiple, for a minute in which both fleets have calls."""
    weight = _weight(minute, rule)
    failed = minute.new.failed + minute.old.failed + rule.extra * minute.old.calls
    return [
        (minute.new.failed * log - failed * math.log1p((theta - 1) * weight)) / _spread(minute, weight, noise)
        for theta, log in zip(_THETAS, _LOGS, strict=True)
    ]


def _alone(new: Counts, usual: float | None, noise: float, rule: ComparisonRule) -> list[float]:
    """Return log e of a minute without calls of the old fleet, against a Poisson number of failures."""
    tolerated = rule.alone * new.calls * ((UNKNOWN_SHARE if usual is None else usual) + rule.extra)
    return [
        (new.failed * log - tolerated * (theta - 1)) / (1 + noise * tolerated)
        for theta, log in zip(_THETAS, _LOGS, strict=True)
    ]


def _gains(minute: Minute, noise: float, rule: ComparisonRule) -> list[float]:
    """Return the log e of a minute in favour of the new fleet being good, for each multiple.

    The mirror image, for p_new >= r p_old + margin and theta < 1: with d = 1 + (theta - 1) w
    log g = x ln theta - (x + y) ln d + n margin (1 - theta / d).
    """
    weight, new = _weight(minute, rule), minute.new
    found = []
    for theta in _GOOD_THETAS:
        d = 1 + (theta - 1) * weight
        gain = new.calls * rule.margin * (1 - theta / d) - (new.failed + minute.old.failed) * math.log(d)
        if theta:
            gain += new.failed * math.log(theta)
        elif new.failed:
            gain = -math.inf
        found.append(gain / _spread(minute, weight, noise))
    return found


def _mean(logs: Sequence[float]) -> float:
    return sum(math.exp(min(each, _UNCUT)) for each in logs) / len(logs)
