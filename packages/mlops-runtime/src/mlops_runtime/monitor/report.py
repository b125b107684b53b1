"""From what one run knows to its report."""

from datetime import UTC, datetime
from typing import Literal

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.monitor import MonitorReport
from mlops_runtime.monitor.counting.problems import invalid_values, sentence
from mlops_runtime.monitor.monitors.drift.comparison import coverage
from mlops_runtime.monitor.monitors.monitor_table import overall, states, wape_ratio
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import HOUR, Window, stamp
from mlops_runtime.monitor.window_evidence import Evidence

Engine = Literal["LAMBDA", "PROCESSING", "SAGEMAKER_MODEL_MONITOR"]

_DAY = 24 * HOUR


def build(
    evidence: Evidence,
    spec: MonitorSpec,
    *,
    endpoint: str,
    variant: str,
    window: Window,
    engine: Engine = "LAMBDA",
) -> MonitorReport:
    """Return the report of one run, all but its verdict.

    Args:
        evidence: What the run knows.
        spec: Thresholds, which the report keeps.
        endpoint: Name of the endpoint.
        variant: Name of the variant.
        window: What was decided about.
        engine: What counted. Default: functions.
    """
    live, baseline, quality, explanation = evidence.live, evidence.baseline, evidence.quality, evidence.explanation
    found = states(evidence, spec)
    ratio = None if quality is None or baseline is None else wape_ratio(quality, baseline)
    measured = {} if quality is None else {"wape": quality.wape, "bias": quality.bias, "wape_ratio": ratio}
    return MonitorReport(
        endpoint=endpoint,
        variant=variant,
        window_from=stamp(window.start),
        window_until=stamp(window.end),
        state=overall(found, evidence),
        drift_state=found["drift"],
        quality_state=found["quality"],
        bias_state=found.get("bias"),
        explainability_state=found.get("explainability"),
        latency_state=found.get("latency"),
        rows=evidence.rows,
        labelled_rows=0 if quality is None else quality.rows,
        baseline_sha256=None if baseline is None else content_hash(baseline),
        baseline_uri=None if live is None else live.baseline_uri,
        baseline_flaw=evidence.flaw,
        model_package_arn=None if live is None else live.model_package_arn,
        features=evidence.features,
        quality={name: value for name, value in measured.items() if value is not None},
        quality_baseline={} if baseline is None else dict(baseline.quality),
        quality_metrics=None if quality is None else quality.metrics or None,
        quality_segments=None if quality is None else quality.segments or None,
        quality_unjudged=None if quality is None else quality.unjudged,
        coverage=None if quality is None else quality.coverage,
        label_delay_hours=None if quality is None else quality.label_delay_hours,
        bias=None if quality is None else quality.bias_metrics or None,
        attributions=None if explanation is None else explanation.attributions,
        ndcg=None if explanation is None else explanation.ndcg,
        latency=None if evidence.latency is None else evidence.latency.measured,
        engine=engine,
        analyzer=evidence.analyzer,
        hours_merged=evidence.hours_merged,
        suppressed=evidence.suppressed,
        problems=_problems(evidence) or None,
        left_out=None if baseline is None else baseline.left_out,
        uncovered_rows=_uncovered(evidence),
        staleness=staleness(evidence, window, spec),
        spec=spec,
        live_since=None if live is None else live.since,
        problem_objects={sentence(problem): key for problem, key in evidence.problem_objects.items()} or None,
        unannounced_calls=None if evidence.counts is None else evidence.counts.unannounced or 0,
    )


def staleness(evidence: Evidence, window: Window, spec: MonitorSpec) -> dict[str, float] | None:
    """Return how old what the monitor rests on is: captures, labels and baseline, and how many predictions have their label.

    ``capture_lag_hours`` is from the newest capture to the newest call, 0 where nobody called since; without any capture, as long
    as was looked at. ``label_lag_hours`` is from the newest label's upload to the window's end; without any label, as long as was
    looked at. ``baseline_age_days`` is of the training data that the baseline was made of. ``label_coverage`` is the share of the
    predictions due a label that have one.

    Args:
        evidence: What the run knows.
        window: What was decided about.
        spec: How long labels take.

    Returns:
        None before the first rollout.
    """
    if evidence.live is None:
        return None
    quality, baseline = evidence.quality, evidence.baseline
    found: dict[str, float] = {"capture_lag_hours": _capture_lag(evidence, window)}
    if baseline is not None:
        oldest = window.start - spec.label_delay_hours * HOUR
        found["label_lag_hours"] = (window.end - (evidence.newest_label or oldest)) / HOUR
        found["baseline_age_days"] = max(0.0, (window.end - _time(baseline.created)) / _DAY)
    if quality is not None and quality.coverage is not None:
        found["label_coverage"] = quality.coverage
    return found


def _capture_lag(evidence: Evidence, window: Window) -> float:
    if evidence.newest_call is None:
        return 0.0
    if evidence.newest_capture is None:
        return float(window.hours)
    return max(0.0, (evidence.newest_call - evidence.newest_capture) / HOUR)


def _problems(evidence: Evidence) -> dict[str, int]:
    flaw = {} if evidence.flaw is None else {evidence.flaw: 1}
    baseline, counts = evidence.baseline, evidence.counts
    invalid = {} if baseline is None or counts is None else invalid_values(baseline, counts)
    return {**flaw, **{sentence(problem): times for problem, times in {**evidence.problems, **invalid}.items()}}


def _uncovered(evidence: Evidence) -> int | None:
    if evidence.baseline is None or evidence.counts is None or evidence.baseline.strata is None:
        return None
    return sum(coverage(evidence.baseline, evidence.counts).uncovered.values())


def _time(text: str) -> datetime:
    """Return a time; one without a zone is in UTC."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
