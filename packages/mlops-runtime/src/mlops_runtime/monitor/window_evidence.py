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
    """Traffic in the newest hours of the window, one schedule period: in a whole long window a stopped feed would go unnoticed."""

    invocations: int = 0  # calls that CloudWatch counted since the model is live
    counted: int = 0  # capture objects that were counted
    uncounted: int = 0  # capture objects that were not counted
    rows: int = 0  # counted rows of the live model
    malformed: int = 0  # lines that could not be read
    synthetic: int = 0  # the platform's own calls among the captured ones: they show that capture works
    calls: int = 0  # captured calls of the live model by callers
    announced: int = 0  # the platform's announced calls, an upper bound of its own calls among the invocations


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The data that one run has read."""

    live: LivePointer | None = None  # the live version. Default: no model is live
    # the live model's baseline. Default: no model is live, or its baseline cannot be used
    baseline: Baseline | None = None
    # why the baseline cannot be used: it is missing, or differs from the approved one. Default: it can
    flaw: str | None = None
    traffic: Traffic = Traffic()  # traffic in the newest hours of the window
    rows: int = 0  # rows on which drift is decided
    counts: Counts | None = None  # counts of these rows by the platform's engines. Default: nothing was counted
    labels: Joined | None = None  # captured predictions with their labels. Default: not read
    latency_hours: Sequence[LatencyHour] | None = None  # model latency of each hour. Default: not published
    # returns the reports of earlier windows, newest first, as far back as drift needs them. Default: none
    earlier: Callable[[], Iterable[MonitorReport]] = tuple
    # results from elsewhere, a job or another engine, by monitor; their state is decided as usual. Default: each
    # monitor measures
    measured: Mapping[Monitor, MonitorResult] = field(default_factory=dict)
    hours_merged: int = 0  # hours before the window that were added because it had too few rows
    suppressed: str | None = None  # why drift must not be published. Default: it may
    # hour of the newest call that CloudWatch counted. Default: no call in the window
    newest_call: datetime | None = None
    newest_capture: datetime | None = None  # hour of the newest capture object. Default: no object in the window
    # hour of the newest label's upload. Default: no upload in the window or the label delay before it
    newest_label: datetime | None = None
    # number of lines, values or objects with each problem, by code of `counting.problems` or sentence
    problems: Mapping[str, int] = field(default_factory=dict)
    # the newest capture object with each problem that objects can have
    problem_objects: Mapping[str, str] = field(default_factory=dict)
    # the first lines of that object with the problem, from 1, if known
    problem_lines: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    objects: Mapping[str, int] = field(default_factory=dict)  # number of counted objects of each hour that was read
    # violations that an external engine wrote. Default: the platform derives them from the rest
    violations: tuple[Violation, ...] | None = None
    matured: Window | None = None  # the earlier window whose labels are due by now. Default: no window is scored
    matured_report: MonitorReport | None = None  # report of that window. Default: it has no report, or is this window
    # the analyzer that ran in place of AWS's Model Monitor image. Default: the image, or another engine
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
