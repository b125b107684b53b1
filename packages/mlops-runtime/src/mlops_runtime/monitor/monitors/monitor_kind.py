"""The interface of a monitor: measurement, state, metrics, violations and wording. `monitor_table` lists the monitors."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mlops_runtime.contracts.monitor import Baseline, MetricValue, MonitorState, Violation
from mlops_runtime.contracts.monitor_report import Measured, MonitorReport, MonitorResult
from mlops_runtime.monitor.cloudwatch_metrics import Monitor
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window
from mlops_runtime.monitor.window_evidence import Evidence, Traffic

Result = TypeVar("Result", bound=MonitorResult)
DATASET = "dataset"
NAMED = 3  # features and metrics named in a sentence; the report has all
LISTED = 10
# share of the newest hours' capture objects
_MAXIMUM_UNCOUNTED = 0.1
# states without a result, in words
SILENT = {
    MonitorState.NOT_YET_DEPLOYED: "no model is live yet",
    MonitorState.NO_TRAFFIC: "no requests in this window",
    MonitorState.NO_CAPTURE: "calls were made, but none was captured",
    MonitorState.BASELINE_OLDER_THAN_MODEL: "baseline and model have different training sets",
    MonitorState.MONITOR_NOT_RUN: "captures of the newest hours are not counted",
}


@dataclass(frozen=True, slots=True)
class StateText:
    """The wording of a state."""

    tone: str  # `good`, `warn`, `bad` or `unknown`
    word: str  # the state in two or three words
    means: str  # explanation, as a sentence without its period
    do: str = ""  # next step; empty without one


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
        name: Name of the monitor: the dimension ``Monitor`` of its metrics, and the field of its result in a report.
        measure: Returns the result without its state; None if the monitor is not configured.
        state: Returns the state of a result if the baseline is usable.
        metrics: Yields the metric values of a result, without missing ones.
        sentence: Yields the monitor's parts of the verdict.
        holds: Meaning of OK.
        violated: Meaning of VIOLATION, and the next step.
        violations: Yields lines of ``constraint_violations.json``. Default: none.
        happened: Yields the findings listed in a message. Default: none.
        advice: Yields the next steps of a message. Default: none.
        meaning: Returns the wording of a result's state if it differs from the common one. Default: never.
        section: Returns the value ``shown`` of the page's template ``<name>.html.jinja`` next to the module; empty for no section.
            Default: no section.
        needs_baseline: Whether the monitor needs a usable baseline. Default: yes.
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

    Calls beyond the platform's own ones come from callers: if none of their rows is captured, the state is ``NO_CAPTURE`` instead
    of ``NO_TRAFFIC``. Captures are not counted if more than a tenth of the objects are not, and more than one, which may have just
    arrived.

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
    """Return the combined state of metrics with a verdict; ``INSUFFICIENT_DATA`` without any."""
    verdicts = [metric.violated for metric in metrics if metric.violated is not None]
    if not verdicts:
        return MonitorState.INSUFFICIENT_DATA
    return MonitorState.VIOLATION if any(verdicts) else MonitorState.OK


def more(count: int) -> str:
    """Return the suffix of a sentence for the entries that it does not name."""
    return f" and {count - NAMED} more" if count > NAMED else ""
