"""From what one run knows to its report."""

from typing import Literal

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.monitor import MonitorReport
from mlops_runtime.monitor.counting.problems import invalid_values, sentence
from mlops_runtime.monitor.monitors.drift.drift_monitor import uncovered_rows
from mlops_runtime.monitor.monitors.monitor_table import overall, states
from mlops_runtime.monitor.monitors.quality import wape_ratio
from mlops_runtime.monitor.monitors.staleness import staleness
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window, stamp
from mlops_runtime.monitor.window_evidence import Evidence

Engine = Literal["LAMBDA", "PROCESSING", "SAGEMAKER_MODEL_MONITOR"]


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
        uncovered_rows=uncovered_rows(evidence),
        staleness=staleness(evidence, window, spec),
        spec=spec,
        live_since=None if live is None else live.since,
        problem_objects={sentence(problem): key for problem, key in evidence.problem_objects.items()} or None,
        unannounced_calls=None if evidence.counts is None else evidence.counts.unannounced or 0,
    )


def _problems(evidence: Evidence) -> dict[str, int]:
    flaw = {} if evidence.flaw is None else {evidence.flaw: 1}
    baseline, counts = evidence.baseline, evidence.counts
    invalid = {} if baseline is None or counts is None else invalid_values(baseline, counts)
    return {**flaw, **{sentence(problem): times for problem, times in {**evidence.problems, **invalid}.items()}}
