"""What the evidence of a rollout means: stop it, promote it, or wait, and the sentence that says why."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mlops_runtime.rollout.fleet_comparison import UNKNOWN_SHARE, ComparisonRule, Evidence, Minute, compare
from mlops_runtime.rollout.live_history import Counts, total

# what slow answers tolerate on top of the live fleet's share; a cold cache is not a dead fleet
_SLOW_EXTRA = 0.001
# a fleet against which more than this speaks is not shown to be good
DOUBTFUL = 3.0
# what ten to one speaks against is not promoted, even where nothing more is going to be known
BAD_ODDS = 10.0
# how sure an upper bound without a failure is
_UNSURE = 0.005
# below it the bound says something
_FEW_CALLS = 300
_LEAST_PERCENT = 0.1


class Action(StrEnum):
    """What to do with the rollout now."""

    STOP = "stop"
    ENOUGH = "enough"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One thing by which two fleets are compared.

    Args:
        minutes: Since the new fleet was first asked, oldest first.
        history: Minutes of the live fleet before.
        rule: What is tolerated.
        did: What the counted answers of the new fleet did.
        old_did: What the counted ones of the live model did, where that is not the same. Default: the same.
        alone_from: Number of the minute since which the live fleet is not asked. Default: it is asked always.
    """

    minutes: Sequence[Minute]
    history: Sequence[Counts]
    rule: ComparisonRule
    did: str = "failed"
    old_did: str = ""
    alone_from: int | None = None

    @property
    def new(self) -> Counts:
        """All answers of the new fleet."""
        return total([minute.new for minute in self.minutes])

    @property
    def old(self) -> Counts:
        """All answers of the live fleet over the same minutes."""
        return total([minute.old for minute in self.minutes])

    def evidence(self) -> Evidence:
        """Return what the minutes come to."""
        return compare(self.minutes, history=self.history, rule=self.rule, alone_from=self.alone_from)

    def counted(self) -> str:
        """Return both counts in words."""
        new, old = self.new, self.old
        if self.alone_from is not None and not old.calls:
            against = "no call of the live model"
        else:
            against = f"{old.failed:,} of {old.calls:,} of the live model{self.old_did}"
        return f"{new.failed:,} of {new.calls:,} answers {self.did} against {against}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do and why.

    Args:
        action: What to do now.
        calls: Answers of the new fleet that did not fail: what a promotion needs some of.
        evidence: Evidence against it: the highest where it is stopped, else that of now.
        good: Evidence that its failing share is within a point of the live fleet's.
        good_at: Minute since which that is shown; 0 if it is not.
        minutes: Minutes since it was first asked, until it was stopped.
        sentence: How long, what was counted, and what follows from it.
    """

    action: Action
    calls: int
    evidence: float
    good: float
    good_at: int
    minutes: int
    sentence: str


def error_rule(*, false_alarm: float, extra: float, is_latency_compared: bool) -> ComparisonRule:
    """Return what is tolerated of failing answers; with latency compared both have half of the false alarms.

    Example:
        >>> error_rule(false_alarm=0.01, extra=0.0005, is_latency_compared=True).false_alarm
        0.005
    """
    return ComparisonRule(false_alarm=false_alarm / 2 if is_latency_compared else false_alarm, extra=extra)


def slow_rule(*, false_alarm: float, limits: int) -> ComparisonRule:
    """Return what is tolerated of slow answers at each of several limits.

    Args:
        false_alarm: Probability for all comparisons of the rollout; latency has half of it.
        limits: How many limits share it.
    """
    return ComparisonRule(false_alarm=false_alarm / 2 / limits, extra=_SLOW_EXTRA, dead_share=None)


def judge(errors: Compared, slow: Sequence[Compared] = (), *, unsaid: str = "") -> Verdict:
    """Return what all comparisons come to; one that stops is enough.

    Args:
        errors: Failing answers of both fleets.
        slow: Slow answers of both, at one limit each. Default: latency is not compared.
        unsaid: What else the sentence has to say. Default: nothing.

    Example:
        >>> minutes = [Minute(new=Counts(calls=600, failed=9), old=Counts(calls=5400, failed=8))] * 3
        >>> judge(Compared(minutes=minutes, history=(), rule=ComparisonRule())).sentence
        'after 3 minutes: 27 of 1,800 answers failed against 24 of 16,200 of the live model; false alarm probability below 1.0 %'
    """
    found = [(each, each.evidence()) for each in (errors, *slow)]
    failing, shown = found[0]
    stops = [(each, evidence) for each, evidence in found if evidence.stopped_at]
    if stops:
        # what was seen when it was stopped, however much later one looks
        what, evidence = min(stops, key=lambda stop: stop[1].stopped_at)
        what, errors = (replace(each, minutes=each.minutes[: evidence.stopped_at]) for each in (what, errors))
        action, against = Action.STOP, evidence.highest
        says = f"{what.counted()}; false alarm probability below {_percent(1 / evidence.highest)}"
    else:
        against = max(evidence.against for _, evidence in found)
        is_enough = shown.good_at > 0 and against < DOUBTFUL
        action = Action.ENOUGH if is_enough else Action.CONTINUE
        says = failing.counted() + _means(errors.new, is_enough=is_enough)
    new, minutes = errors.new, len(errors.minutes)
    return Verdict(
        action=action,
        calls=new.calls - new.failed,
        evidence=against,
        good=shown.good,
        good_at=shown.good_at,
        minutes=minutes,
        sentence=f"after {minutes} {'minute' if minutes == 1 else 'minutes'}: {says}{_held(errors)}{unsaid}",
    )


def _means(new: Counts, *, is_enough: bool) -> str:
    if is_enough:
        return "; shown to fail on less than one point more"
    if new.failed == 0 and 0 < new.calls < _FEW_CALLS:
        share = float(f"{_excluded(new.calls):.2g}")
        return f"; a failing share of up to {share:g} % cannot be excluded"
    return ""


def _held(errors: Compared) -> str:
    is_alone = errors.alone_from is not None and errors.alone_from <= len(errors.minutes)
    if not is_alone:
        return ""
    if total(errors.history).calls:
        return "; in the end held to the live model's hours before"
    return f"; in the end held to a failing share of {100 * UNKNOWN_SHARE:g} %, as nothing was asked before"


def _excluded(calls: int) -> float:
    """Return the failing share in percent above which that many calls would have had a failure at 99.5 %.

    Example:
        >>> round(_excluded(20))
        23
    """
    return 100 * (1 - math.exp(math.log(_UNSURE) / calls))


def _percent(probability: float) -> str:
    """Round up: a probability is not said to be smaller than it is."""
    return f"{max(math.ceil(probability * 1000) / 10, _LEAST_PERCENT):.1f} %"
