"""The data that one monitor run has read about a window, before any decision."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mlops_runtime.contracts.monitor import Baseline, Counts, MonitorState, Violation
from mlops_runtime.contracts.monitor_report import MonitorReport, MonitorResult
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.monitor.cloudwatch_metrics import Monitor
from mlops_runtime.monitor.counting.problems import unreadable_rows
from mlops_runtime.monitor.monitors.label_join import Joined
from mlops_runtime.monitor.monitors.latency_measures import LatencyHour
from mlops_runtime.monitor.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Traffic in the newest hours of the window, one schedule period: in a whole long window a stopped feed would go unnoticed.

    Args:
        invocations: Calls that CloudWatch counted since the model is live.
        counted: Capture objects that were counted.
        uncounted: Capture objects that were not counted.
        rows: Counted rows of the live model.
        malformed: Lines that could not be read.
        synthetic: The platform's own calls among the captured ones: they show that capture works.
        calls: Captured calls of the live model by callers.
        announced: The platform's announced calls, an upper bound of its own calls among the invocations.
    """

    invocations: int = 0
    counted: int = 0
    uncounted: int = 0
    rows: int = 0
    malformed: int = 0
    synthetic: int = 0
    calls: int = 0
    announced: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The data that one run has read.

    Args:
        live: The live version. Default: no model is live.
        baseline: The live model's baseline. Default: no model is live, or its baseline cannot be used.
        flaw: Why the baseline cannot be used: it is missing, or differs from the approved one. Default: it can.
        traffic: Traffic in the newest hours of the window.
        rows: Rows on which drift is decided.
        counts: Counts of these rows by the platform's engines. Default: nothing was counted.
        labels: Captured predictions with their labels. Default: not read.
        latency_hours: Model latency of each hour. Default: not published.
        earlier: Returns the reports of earlier windows, newest first, as far back as drift needs them. Default: none.
        measured: Results from elsewhere, a job or another engine, by monitor; their state is decided as usual. Default: each
            monitor measures.
        hours_merged: Hours before the window that were added because it had too few rows.
        suppressed: Why drift must not be published. Default: it may.
        newest_call: Hour of the newest call that CloudWatch counted. Default: no call in the window.
        newest_capture: Hour of the newest capture object. Default: no object in the window.
        newest_label: Hour of the newest label's upload. Default: no upload in the window or the label delay before it.
        problems: Number of lines, values or objects with each problem, by code of `counting.problems` or sentence.
        problem_objects: The newest capture object with each problem that objects can have.
        problem_lines: The first lines of that object with the problem, from 1, if known.
        objects: Number of counted objects of each hour that was read.
        violations: Violations that an external engine wrote. Default: the platform derives them from the rest.
        matured: The earlier window whose labels are due by now. Default: no window is scored.
        matured_report: Report of that window. Default: it has no report, or is this window.
        analyzer: The analyzer that ran in place of AWS's Model Monitor image. Default: the image, or another engine.
    """

    live: LivePointer | None = None
    baseline: Baseline | None = None
    flaw: str | None = None
    traffic: Traffic = Traffic()
    rows: int = 0
    counts: Counts | None = None
    labels: Joined | None = None
    latency_hours: Sequence[LatencyHour] | None = None
    earlier: Callable[[], Iterable[MonitorReport]] = tuple
    measured: Mapping[Monitor, MonitorResult] = field(default_factory=dict)
    hours_merged: int = 0
    suppressed: str | None = None
    newest_call: datetime | None = None
    newest_capture: datetime | None = None
    newest_label: datetime | None = None
    problems: Mapping[str, int] = field(default_factory=dict)
    problem_objects: Mapping[str, str] = field(default_factory=dict)
    problem_lines: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    objects: Mapping[str, int] = field(default_factory=dict)
    violations: tuple[Violation, ...] | None = None
    matured: Window | None = None
    matured_report: MonitorReport | None = None
    analyzer: str | None = None

    @property
    def rows_sent(self) -> int:
        """Number of rows on which drift is decided, and of rows that could not be read."""
        return self.rows + (0 if self.counts is None else unreadable_rows(self.counts))

    @property
    def unusable(self) -> MonitorState | None:
        """Why no comparison is possible: no model is live, or its baseline is missing, changed, or another model's."""
        if self.live is None:
            return MonitorState.NOT_YET_DEPLOYED
        if self.baseline is None or self.flaw is not None:
            return MonitorState.MONITOR_NOT_RUN
        is_older = self.baseline.training_set_id != self.live.training_set_id
        return MonitorState.BASELINE_OLDER_THAN_MODEL if is_older else None
