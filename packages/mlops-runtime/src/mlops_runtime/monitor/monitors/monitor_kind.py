"""What a monitor is: its state, metrics, violations and words. `monitor_table` lists the monitors, one line each."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mlops_runtime.contracts.monitor import Baseline, MetricValue, MonitorState, Violation
from mlops_runtime.contracts.monitor_report import Measured, MonitorReport, MonitorResult
from mlops_runtime.monitor.metric_names import Monitor
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window
from mlops_runtime.monitor.window_evidence import Evidence, Traffic

Result = TypeVar("Result", bound=MonitorResult)
DATASET = "dataset"
NAMED = 3  # features and metrics that a sentence names; the report has all
LISTED = 10
# of the newest hours' capture objects
_MAXIMUM_UNCOUNTED = 0.1
# of any monitor, in a sentence
SILENT = {
    MonitorState.NOT_YET_DEPLOYED: "nothing serves yet",
    MonitorState.NO_TRAFFIC: "no requests in this window",
    MonitorState.NO_CAPTURE: "calls were made and none was captured",
    MonitorState.BASELINE_OLDER_THAN_MODEL: "the baseline is of another training set than the model",
    MonitorState.MONITOR_NOT_RUN: "captures of the newest hours are not counted",
}


@dataclass(frozen=True, slots=True)
class StateText:
    """A state as people read it.

    Args:
        tone: ``good``, ``warn``, ``bad`` or ``unknown``.
        word: Two or three words.
        means: What it says, as a sentence without its period.
        do: What to do about it; empty where nothing is to be done.
    """

    tone: str
    word: str
    means: str
    do: str = ""


def _none(_result: MonitorResult, _of: object) -> Sequence[str]:
    return ()


def _no_lines(_result: MonitorResult, _evidence: Evidence, _spec: MonitorSpec) -> Sequence[Violation]:
    return ()


def _as_ever(_result: MonitorResult, _report: MonitorReport) -> StateText | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorKind(Generic[Result]):
    """One monitor.

    Args:
        name: Its name: what the dimension ``Monitor`` of its metrics says, and the field of its result in a report.
        measure: Its result, all but the state; None if it is not configured.
        state: The state of a result once the baseline can be used.
        metrics: What it publishes of a result; values only where there are some.
        sentence: Its parts of the verdict.
        holds: What OK means.
        violated: What VIOLATION means, and what to do about it.
        violations: Its lines of ``constraint_violations.json``. Default: none.
        happened: What a message lists of it. Default: nothing.
        advice: What a message says to do. Default: nothing.
        meaning: What the state of a result means, where it is not what it means of any monitor. Default: that.
        section: What its section of the page shows: ``shown`` in the template ``<name>.html.jinja`` beside its module. Empty where
            there is nothing to show. Default: it has no section.
        needs_baseline: Whether it knows nothing without a baseline that can be used. Default: it does not.
    """

    name: Monitor
    measure: Callable[[Evidence, Window, MonitorSpec], Result | None]
    state: Callable[[Result, Evidence, MonitorSpec], MonitorState]
    metrics: Callable[[Result, MonitorReport], Iterable[MetricValue]]
    sentence: Callable[[Result, MonitorReport], Iterable[str]]
    holds: str
    violated: tuple[str, str]
    violations: Callable[[Result, Evidence, MonitorSpec], Iterable[Violation]] = _no_lines
    happened: Callable[[Result, MonitorReport], Iterable[str]] = _none
    advice: Callable[[Result, MonitorReport], Iterable[str]] = _none
    meaning: Callable[[Result, MonitorReport], StateText | None] = _as_ever
    section: Callable[[Result, Baseline | None], Any] = _none
    needs_baseline: bool = True


def silence(traffic: Traffic) -> MonitorState | None:
    """Return the state of a period that cannot be evaluated (captures not counted, none captured, no traffic), else None.

    Calls beyond the platform's own were made by a caller: without any of their rows they are not captured, rather than not there.
    Captures are not counted where more than a tenth of the objects are not, and more than one, which may have landed this minute.

    Example:
        >>> silence(Traffic(invocations=5)).value
        'NO_CAPTURE'
    """
    newest = traffic.counted + traffic.uncounted
    if traffic.uncounted > _MAXIMUM_UNCOUNTED * newest and (traffic.uncounted > 1 or traffic.counted == 0):
        return MonitorState.MONITOR_NOT_RUN
    if traffic.rows or traffic.malformed:
        return None
    own = max(traffic.synthetic, traffic.announced)
    return MonitorState.NO_CAPTURE if traffic.calls or traffic.invocations > own else MonitorState.NO_TRAFFIC


def judged(metrics: Sequence[Measured]) -> MonitorState:
    """Return what metrics with a verdict say together; without one, that there are too few data."""
    verdicts = [metric.violated for metric in metrics if metric.violated is not None]
    if not verdicts:
        return MonitorState.INSUFFICIENT_DATA
    return MonitorState.VIOLATION if any(verdicts) else MonitorState.OK


def more(count: int) -> str:
    """Return how many a sentence does not name."""
    return f" and {count - NAMED} more" if count > NAMED else ""
