"""The monitor of the model's latency: percentiles against limits and the weeks before."""

from collections.abc import Iterator

from mlops_runtime.contracts.monitor import TESTED, MetricValue, MonitorReport, MonitorState
from mlops_runtime.monitor.monitors.latency_measures import BASELINE_WEEKS, MINIMUM_CALLS
from mlops_runtime.monitor.monitors.monitor_kind import NAMED, MonitorKind, StateText, judged
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window_evidence import Evidence
from mlops_runtime.monitor.wording import number


def _state(evidence: Evidence, spec: MonitorSpec) -> MonitorState | None:
    del spec
    latency = evidence.latency
    if latency is None:
        return None
    if latency.calls == 0:
        return MonitorState.NO_TRAFFIC
    return MonitorState.INSUFFICIENT_DATA if latency.calls < MINIMUM_CALLS else judged(latency.measured)


def _metrics(report: MonitorReport, spec: MonitorSpec) -> Iterator[MetricValue]:
    del spec
    if report.latency_state not in TESTED:
        return
    measured = report.latency or ()
    ratios = [m.value / m.baseline for m in measured if m.value is not None and m.baseline]
    if ratios:
        yield MetricValue("latency", "LatencyRatio", max(ratios))
    yield MetricValue("latency", "LatencyViolations", sum(bool(m.violated) for m in measured))


def _sentence(report: MonitorReport) -> Iterator[str]:
    if report.latency_state is MonitorState.VIOLATION:
        slow = [metric for metric in report.latency or () if metric.violated]
        yield "the model is slow: " + ", ".join(
            f"{m.name} {number(m.value or 0)} ms, at most {number(m.limit or 0)}" for m in slow[:NAMED]
        )


def _advice(report: MonitorReport) -> Iterator[str]:
    if report.latency_state is MonitorState.VIOLATION:
        yield "look at the instances' load and at what was promoted last"


def _meaning(report: MonitorReport, state: MonitorState) -> StateText | None:
    if state is not MonitorState.INSUFFICIENT_DATA:
        return None
    calls = max((each.rows or 0 for each in report.latency or ()), default=0)
    if calls < MINIMUM_CALLS:
        means = f"{calls} calls are too few for a 99th percentile, {MINIMUM_CALLS} are needed"
        return StateText("unknown", "too few calls", means, "nothing, or a longer window")
    return StateText(
        "unknown",
        "nothing before",
        f"the {BASELINE_WEEKS} weeks before had fewer than {MINIMUM_CALLS} calls to compare with",
        "nothing: the next windows have them; latency_limits need none",
    )


LATENCY = MonitorKind(
    name="latency",
    state=_state,
    metrics=_metrics,
    sentence=_sentence,
    happened=_sentence,
    advice=_advice,
    holds="the model is as quick as it may be",
    violated=("the model is slower than it may be", "look at the instances' load and at the newest promotion"),
    meaning=_meaning,
    needs_baseline=False,
)
