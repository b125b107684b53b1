"""Verdict on the evidence of a rollout: stop, promote or continue, with a sentence that states the reason."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from mlops_runtime.rollout.fleet_comparison import UNKNOWN_SHARE, ComparisonRule, Evidence, Minute, compare
from mlops_runtime.rollout.live_history import Counts, total

# tolerated share of slow responses on top of the live fleet's; a cold cache is not a dead fleet
_SLOW_EXTRA = 0.001
# with more evidence against it, a fleet is not called good
DOUBTFUL = 3.0
# with evidence of ten to one against it, a fleet is not promoted, even if no more evidence will come
BAD_ODDS = 10.0
# error probability of the upper bound without a failure
_UNSURE = 0.005
# fewer calls have an informative bound
_FEW_CALLS = 300
_LEAST_PERCENT = 0.1


class Action(StrEnum):
    """What to do with the rollout now."""

    STOP = "stop"
    ENOUGH = "enough"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One comparison of two fleets."""

    minutes: Sequence[Minute]  # minutes since the new fleet's first call, oldest first
    history: Sequence[Counts]  # minutes of the live fleet before
    rule: ComparisonRule  # tolerance
    did: str = "failed"  # verb for the counted responses of the new fleet, such as "failed"
    old_did: str = ""  # phrase for those of the live model, if different. Default: the same
    # number of the minute since which the live fleet gets no calls. Default: it always gets calls
    alone_from: int | None = None

    @property
    def new(self) -> Counts:
        """All responses of the new fleet."""
        return total([minute.new for minute in self.minutes])

    @property
    def old(self) -> Counts:
        """All responses of the live fleet over the same minutes."""
        return total([minute.old for minute in self.minutes])

    def evidence(self) -> Evidence:
        """Return the evidence of the minutes."""
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
    """Action and its reason."""

    action: Action  # next action
    calls: int  # successful responses of the new fleet, of which a promotion needs a minimum
    evidence: float  # evidence against the fleet: the highest value if it is stopped, else the current one
    good: float  # evidence that its failing share is at most a percentage point above the live fleet's
    good_at: int  # minute since which that evidence suffices; 0 if it does not
    minutes: int  # minutes from its first call until now or until it was stopped
    sentence: str  # duration, counts and conclusion


def error_rule(*, false_alarm: float, extra: float, is_latency_compared: bool) -> ComparisonRule:
    """Return the tolerance for failed responses; if latency is compared too, each has half of the false-alarm probability.

    Example:
        >>> error_rule(false_alarm=0.01, extra=0.0005, is_latency_compared=True).false_alarm
        0.005
    """
    return ComparisonRule(false_alarm=false_alarm / 2 if is_latency_compared else false_alarm, extra=extra)


def slow_rule(*, false_alarm: float, limits: int) -> ComparisonRule:
    """Return the tolerance for slow responses at each of several limits.

    Args:
        false_alarm: Probability for all comparisons of the rollout; latency has half of it.
        limits: Number of limits that share it.
    """
    return ComparisonRule(false_alarm=false_alarm / 2 / limits, extra=_SLOW_EXTRA, dead_share=None)


def judge(errors: Compared, slow: Sequence[Compared] = (), *, left_out_note: str = "") -> Verdict:
    """Return the verdict on all comparisons; one of them is enough to stop.

    Args:
        errors: Failed responses of both fleets.
        slow: Slow responses of both fleets, one comparison for each limit. Default: latency is not compared.
        left_out_note: Addition to the sentence. Default: none.

    Example:
        >>> minutes = [Minute(new=Counts(calls=600, failed=9), old=Counts(calls=5400, failed=8))] * 3
        >>> judge(Compared(minutes=minutes, history=(), rule=ComparisonRule())).sentence
        'after 3 minutes: 27 of 1,800 answers failed against 24 of 16,200 of the live model; false alarm probability below 1.0 %'
    """
    found = [(each, each.evidence()) for each in (errors, *slow)]
    failing, shown = found[0]
    stops = [(each, evidence) for each, evidence in found if evidence.stopped_at]
    if stops:
        # the state at the time of the stop, even if evaluated later
        what, evidence = min(stops, key=lambda stop: stop[1].stopped_at)
        what, errors = (replace(each, minutes=each.minutes[: evidence.stopped_at]) for each in (what, errors))
        action, against = Action.STOP, evidence.highest
        message = f"{what.counted()}; false alarm probability below {_percent(1 / evidence.highest)}"
    else:
        against = max(evidence.against for _, evidence in found)
        is_enough = shown.good_at > 0 and against < DOUBTFUL
        action = Action.ENOUGH if is_enough else Action.CONTINUE
        message = failing.counted() + _means(errors.new, is_enough=is_enough)
    new, minutes = errors.new, len(errors.minutes)
    return Verdict(
        action=action,
        calls=new.calls - new.failed,
        evidence=against,
        good=shown.good,
        good_at=shown.good_at,
        minutes=minutes,
        sentence=f"after {minutes} {'minute' if minutes == 1 else 'minutes'}: {message}{_held(errors)}{left_out_note}",
    )


def _means(new: Counts, *, is_enough: bool) -> str:
    if is_enough:
        return "; shown to fail less than one percentage point more often"
    if new.failed == 0 and 0 < new.calls < _FEW_CALLS:
        share = float(f"{_excluded(new.calls):.2g}")
        return f"; a failing share of up to {share:g} % cannot be excluded"
    return ""


def _held(errors: Compared) -> str:
    is_alone = errors.alone_from is not None and errors.alone_from <= len(errors.minutes)
    if not is_alone:
        return ""
    if total(errors.history).calls:
        return "; at the end compared with the live model's hours before"
    return f"; at the end compared with a failing share of {100 * UNKNOWN_SHARE:g} %, as there were no calls before"


def _excluded(calls: int) -> float:
    """Return the failing share, in percent, above which that many calls would include a failure with probability 99.5 %.

    Example:
        >>> round(_excluded(20))
        23
    """
    return 100 * (1 - math.exp(math.log(_UNSURE) / calls))


def _percent(probability: float) -> str:
    """Format a probability, rounded up so that it is never understated."""
    return f"{max(math.ceil(probability * 1000) / 10, _LEAST_PERCENT):.1f} %"
