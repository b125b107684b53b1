"""Build the report of one monitor run from its evidence."""

from dataclasses import replace
from typing import Literal

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.monitor.counting.problems import invalid_values, sentence
from mlops_runtime.monitor.monitors.monitor_table import decide, metrics, overall
from mlops_runtime.monitor.monitors.staleness import staleness
from mlops_runtime.monitor.report_message import verdict
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
    """Return the report of one run.

    Args:
        evidence: The data that the run read.
        spec: Thresholds, included in the report.
        endpoint: Name of the endpoint.
        variant: Name of the variant.
        window: The evaluated window.
        engine: Engine that counted. Default: Lambda functions.
    """
    live, baseline = evidence.live, evidence.baseline
    found = decide(evidence, window, spec)
    report = MonitorReport(
        endpoint=endpoint,
        variant=variant,
        window_from=stamp(window.start),
        window_until=stamp(window.end),
        state=overall({name: result.state for name, result in found.items()}, evidence.flaw),
        rows=evidence.rows,
        baseline_sha256=None if baseline is None else content_hash(baseline),
        baseline_uri=None if live is None else live.baseline_uri,
        baseline_flaw=evidence.flaw,
        model_package_arn=None if live is None else live.model_package_arn,
        **found,
        staleness=staleness(evidence, found["quality"], window, spec),
        engine=engine,
        analyzer=evidence.analyzer,
        hours_merged=evidence.hours_merged,
        suppressed=evidence.suppressed,
        problems=_problems(evidence) or None,
        problem_objects={sentence(problem): key for problem, key in evidence.problem_objects.items()} or None,
        problem_lines={sentence(problem): lines for problem, lines in evidence.problem_lines.items()} or None,
        live_since=None if live is None else live.since,
        unannounced_calls=None if evidence.counts is None else evidence.counts.unannounced or 0,
        spec=spec,
    )
    return replace(report, verdict=verdict(report), metrics=metrics(report))


def _problems(evidence: Evidence) -> dict[str, int]:
    flaw = {} if evidence.flaw is None else {evidence.flaw: 1}
    baseline, counts = evidence.baseline, evidence.counts
    invalid = {} if baseline is None or counts is None else invalid_values(baseline, counts)
    return {**flaw, **{sentence(problem): times for problem, times in {**evidence.problems, **invalid}.items()}}
