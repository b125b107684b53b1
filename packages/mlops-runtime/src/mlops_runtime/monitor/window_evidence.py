"""What one run of the monitor knows, before anything is concluded from it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mlops_runtime.contracts.monitor import Baseline, Counts, MonitorState, Violation
from mlops_runtime.contracts.monitor_report import MonitorReport, MonitorResult
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.monitor.counting.problems import unreadable_rows
from mlops_runtime.monitor.metric_names import Monitor
from mlops_runtime.monitor.monitors.label_join import Joined
from mlops_runtime.monitor.monitors.latency_measures import LatencyHour
from mlops_runtime.monitor.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What happened in the newest part of the window, a schedule's period: a long window must not hide that a feed has stopped.

    Args:
        invocations: Calls that CloudWatch counted since the live model serves.
        counted: Capture objects that were counted.
        uncounted: Capture objects that were not.
        rows: Counted rows of the live model.
        malformed: Lines that could not be read.
        synthetic: The platform's own calls among the captured ones: they show that capture works.
        calls: Captured calls of the live model that callers made.
        announced: The platform's own calls that were announced: at most so many of the invocations.
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
    """What one run read.

    Args:
        live: The live version. Default: none yet.
        baseline: The live model's baseline. Default: nothing serves, or it cannot be used.
        flaw: Why the baseline cannot be used: it is missing, or not the one that was approved. Default: it can.
        traffic: The newest part of the window.
        rows: Rows that drift is decided on.
        counts: Their counts, where an engine of ours counted. Default: nothing was counted.
        labels: Captured predictions with their labels. Default: they were not read.
        latency_hours: How long the model took in each hour. Default: not published.
        earlier: Gives the reports of the windows before, newest first, as far back as drift needs them. Default: none.
        measured: Results that were measured elsewhere, in a job or by another engine, by monitor; their state is decided as that
            of any other. Default: each monitor measures.
        hours_merged: Hours before the window that were added to have rows enough.
        suppressed: Why drift must not be published. Default: it may.
        newest_call: Hour of the newest call that CloudWatch counted. Default: no call in the window.
        newest_capture: Hour of the newest capture object. Default: no object in the window or the hours that may be added to it.
        newest_label: Hour in which the newest label was uploaded. Default: none was, in the window and the label delay before it.
        problems: What could not be read or counted, and how often, by what `counting.problems` writes or a sentence.
        problem_objects: The newest capture object with each problem that an object has.
        problem_lines: The first lines of that object with it, from 1, where they are known.
        objects: Counted objects of each hour that was read.
        violations: What an engine that is not ours wrote as violations. Default: ours are made from the rest.
        matured: The earlier window whose labels are due by now. Default: none is scored.
        matured_report: What was decided over it. Default: it was not watched, or is this window.
        analyzer: What ran in place of AWS's image of Model Monitor. Default: the image, or another engine.
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
        """Rows that drift is decided on, and those that could not be read."""
        return self.rows + (0 if self.counts is None else unreadable_rows(self.counts))

    @property
    def unusable(self) -> MonitorState | None:
        """Why nothing can be compared: no model serves, or its baseline is missing, changed, or another model's."""
        if self.live is None:
            return MonitorState.NOT_YET_DEPLOYED
        if self.baseline is None or self.flaw is not None:
            return MonitorState.MONITOR_NOT_RUN
        is_older = self.baseline.training_set_id != self.live.training_set_id
        return MonitorState.BASELINE_OLDER_THAN_MODEL if is_older else None
