"""Description of a running rollout: step, traffic, time left, responses of both fleets, and unmet conditions of a promotion."""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

from mlops_runtime.contracts.rollout import DeployReason
from mlops_runtime.rollout.rollout_progress import Phase, RolloutProgress
from mlops_runtime.rollout.verdict import BAD_ODDS

_HOUR, _MINUTE = 3600, 60
_ALL = 100


def length(seconds: float) -> str:
    """Return a duration in words, rounded up.

    Example:
        >>> length(600), length(61), length(3900), length(40), length(7200)
        ('10 minutes', '2 minutes', '1 hour 5 minutes', '40 seconds', '2 hours')
    """
    whole = math.ceil(seconds)
    if whole < _MINUTE:
        return _count(whole, "second")
    minutes = math.ceil(whole / _MINUTE)
    hours, rest = divmod(minutes, _HOUR // _MINUTE)
    return " ".join(_count(number, unit) for number, unit in ((hours, "hour"), (rest, "minute")) if number)


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def doing(progress: RolloutProgress) -> str:
    """Return the current activity of a rollout, without times; with traffic, the number of its step."""
    is_back = progress.request_reason == DeployReason.ROLLBACK
    if progress.step:
        end = f", alarms and answers are read {_last_time(progress)}" if progress.phase is Phase.JUDGING else ""
        end += ", the requested version already has all of it" if is_back and progress.percent == _ALL else ""
        return f"{progress.step} of {progress.steps}: {progress.percent:g} % of the traffic{end}"
    found = {
        Phase.WAITING: "waits for another rollout of the endpoint to end",
        Phase.PLANNING: "plans the rollout",
        Phase.REHEARSING: "the candidate answers golden requests on an endpoint of its own; it has no traffic yet",
        Phase.SHADOWING: "the candidate answers copies of calls; callers get the live model's answers",
        Phase.STARTING: "the new fleet starts; it has no traffic yet",
        Phase.BAKING: "the new fleet has traffic",
        Phase.JUDGING: "alarms and answers are read a last time",
        Phase.ROLLING_BACK: "is rolled back: the old fleet gets the traffic",
        Phase.RECORDING: "writes the record and cleans up",
    }[progress.phase]
    if progress.is_between_slots and progress.phase is Phase.REHEARSING:
        found = "the candidate's slot answers golden requests; it has no traffic yet"
    if is_back and progress.phase is Phase.STARTING and progress.steps == 1:
        found += " and gets all of it at once"
    return found


def _last_time(progress: RolloutProgress) -> str:
    is_last = not progress.is_between_slots or progress.step == progress.steps
    return "a last time" if is_last else "before it gets all of the traffic"


def _needed_when(progress: RolloutProgress) -> str:
    if not progress.step:
        return "while it has traffic"
    is_first = progress.is_between_slots and progress.step < progress.steps
    return "before it gets all of the traffic" if is_first else "before its last step ends"


def remaining(progress: RolloutProgress, now: datetime) -> str:
    """Return the remaining time; empty if unknown."""
    parts = []
    if progress.until is not None:
        rest = (datetime.fromisoformat(progress.until) - now).total_seconds()
        parts.append(f"{length(rest)} more of this step" if rest > 0 else "this step ends at one of the next polls")
    if progress.at_least > 0 and not (progress.step and progress.step == progress.steps):
        parts.append(f"{length(progress.at_least)} in all{_steps(progress)} at least")
    if not parts:
        return ""
    most = f"; {length(progress.at_most)} at most" if progress.at_most else ""
    return f"{', '.join(parts)}{most}"


def _steps(progress: RolloutProgress) -> str:
    """Return the number of steps, before the first one: a bake of ten minutes in two steps takes twenty."""
    if progress.step or progress.steps < 2:
        return ""
    each = {length(seconds) for seconds in progress.bakes}
    how = f" of {each.pop()}" if len(each) == 1 else ""
    return f" ({progress.steps} steps{how})"


def answers(progress: RolloutProgress) -> str:
    """Return the responses of both fleets so far; empty if they are not compared."""
    verdict = progress.verdict
    if not progress.is_watched:
        return ""
    if verdict is None or verdict.minutes == 0:
        return "none of the new fleet counted yet" if progress.step else ""
    return f"{'stopped ' if verdict.action == 'stop' else ''}{verdict.sentence}"


def needs(progress: RolloutProgress, endpoint: str) -> str:
    """Return the unmet conditions of a promotion, for missing calls with the command that sends them; else empty."""
    verdict, is_over = progress.verdict, progress.phase in (Phase.ROLLING_BACK, Phase.RECORDING)
    if not progress.is_watched or is_over or (verdict is not None and verdict.action == "stop"):
        return ""
    if progress.missing:
        calls = f"{progress.missing} more answer{'' if progress.missing == 1 else 's'} without an error"
        when = _needed_when(progress)
        return f"{calls} {when}, else it is rolled back; send calls: mlops traffic replay {endpoint} FILE --time COLUMN --now"
    if verdict is not None and verdict.evidence >= BAD_ODDS:
        return (
            f"better answers: there is evidence of {math.floor(verdict.evidence)} to one against it, and with {BAD_ODDS:g} or more "
            "it is not promoted"
        )
    return "only time" if progress.step else ""


def facts(progress: RolloutProgress, endpoint: str, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield the facts about a rollout, each with its name."""
    yield "step" if progress.step else "doing", doing(progress)
    for name, text in (
        ("left", remaining(progress, now)),
        ("bakes", progress.bake_reason.removeprefix("bakes ")),
        ("answers", answers(progress)),
        ("needs", needs(progress, endpoint)),
    ):
        if text:
            yield name, text


def jump(progress: RolloutProgress, now: datetime) -> str:
    """Return the argument of ``mlops local clock`` that moves the embedded cloud's clock to the end of the step."""
    rest = timedelta() if progress.until is None else datetime.fromisoformat(progress.until) - now
    return f"{max(1, math.ceil(rest.total_seconds() / _MINUTE))}m"
