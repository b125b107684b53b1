"""The latency monitor: compares percentiles of model latency with limits and with the preceding weeks."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from mlops_runtime.contracts.monitor import TESTED, Baseline, MetricValue, MonitorState
from mlops_runtime.contracts.monitor_report import LatencyResult, Measured, MonitorReport
from mlops_runtime.monitor.monitors.latency_measures import BASELINE_WEEKS, MINIMUM_CALLS, measure_latency
from mlops_runtime.monitor.monitors.monitor_kind import NAMED, MonitorKind, StateText, judged
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window
from mlops_runtime.monitor.window_evidence import Evidence
from mlops_runtime.monitor.wording import number


def _measure(evidence: Evidence, window: Window, spec: MonitorSpec) -> LatencyResult | None:
    if evidence.latency_hours is None or evidence.live is None:
        return None
    return measure_latency(evidence.latency_hours, window, spec, since=datetime.fromisoformat(evidence.live.since))


def _state(result: LatencyResult, _evidence: Evidence, _spec: MonitorSpec) -> MonitorState:
    if result.calls == 0:
        return MonitorState.NO_TRAFFIC
    return MonitorState.INSUFFICIENT_DATA if result.calls < MINIMUM_CALLS else judged(result.metrics)


def _metrics(result: LatencyResult, _report: MonitorReport) -> Iterator[MetricValue]:
    if result.state not in TESTED:
        return
    ratios = [m.value / m.baseline for m in result.metrics if m.value is not None and m.baseline]
    if ratios:
        yield MetricValue("latency", "LatencyRatio", max(ratios))
    yield MetricValue("latency", "LatencyViolations", sum(bool(m.violated) for m in result.metrics))


def _sentence(result: LatencyResult, _report: MonitorReport) -> Iterator[str]:
    if result.state is MonitorState.VIOLATION:
        slow = [metric for metric in result.metrics if metric.violated]
        yield "the model is slow: " + ", ".join(
            f"{m.name} {number(m.value or 0)} ms, at most {number(m.limit or 0)}" for m in slow[:NAMED]
        )


def _advice(result: LatencyResult, _report: MonitorReport) -> Iterator[str]:
    if result.state is MonitorState.VIOLATION:
        yield "check the instances' load and the last promotion"


def _meaning(result: LatencyResult, _report: MonitorReport) -> StateText | None:
    if result.state is not MonitorState.INSUFFICIENT_DATA:
        return None
    if result.calls < MINIMUM_CALLS:
        means = f"{result.calls} calls are too few for a 99th percentile, {MINIMUM_CALLS} are needed"
        return StateText("unknown", "too few calls", means, "nothing, or use a longer window")
    return StateText(
        "unknown",
        "no comparison yet",
        f"the {BASELINE_WEEKS} weeks before had fewer than {MINIMUM_CALLS} calls to compare with",
        "nothing: later windows have enough; latency_limits need no earlier calls",
    )


def _section(result: LatencyResult, _baseline: Baseline | None) -> Sequence[Measured]:
    return result.metrics


LATENCY = MonitorKind(
    name="latency",
    measure=_measure,
    state=_state,
    metrics=_metrics,
    sentence=_sentence,
    happened=_sentence,
    advice=_advice,
    section=_section,
    holds="latency is within its limits",
    violated=("the model is slower than allowed", "check the instances' load and the newest promotion"),
    meaning=_meaning,
    needs_baseline=False,
)
