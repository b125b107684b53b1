"""The list of monitors, and their combined states, metrics and violations.

Each monitor is in exactly one state, a pure function of the evidence. Missing data are a state of their own, never OK: the state is
the first reason that prevents a verdict, and OK or VIOLATION only without such a reason.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mlops_runtime.contracts.monitor import MetricValue, MonitorState, Violation, Violations
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.monitor.cloudwatch_metrics import Monitor
from mlops_runtime.monitor.monitors import staleness
from mlops_runtime.monitor.monitors.bias import BIAS
from mlops_runtime.monitor.monitors.drift.drift_monitor import DRIFT
from mlops_runtime.monitor.monitors.estimates.estimates_monitor import ESTIMATES
from mlops_runtime.monitor.monitors.explainability import EXPLAINABILITY
from mlops_runtime.monitor.monitors.latency import LATENCY
from mlops_runtime.monitor.monitors.monitor_kind import DATASET, MonitorKind
from mlops_runtime.monitor.monitors.quality import QUALITY
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window
from mlops_runtime.monitor.window_evidence import Evidence

# in display order
_KINDS: tuple[MonitorKind[Any], ...] = (DRIFT, QUALITY, ESTIMATES, BIAS, EXPLAINABILITY, LATENCY)
MONITORS: Mapping[str, MonitorKind[Any]] = {kind.name: kind for kind in _KINDS}
# by urgency, descending
_ORDER = (
    MonitorState.VIOLATION,
    MonitorState.MONITOR_NOT_RUN,
    MonitorState.NO_CAPTURE,
    MonitorState.BASELINE_OLDER_THAN_MODEL,
    MonitorState.NOT_YET_DEPLOYED,
    MonitorState.NO_TRAFFIC,
    MonitorState.INSUFFICIENT_DATA,
    MonitorState.NO_LABELS_YET,
    MonitorState.OK,
)


def decide(evidence: Evidence, window: Window, spec: MonitorSpec) -> dict[Monitor, Any]:
    """Return the result of each configured monitor, with its state.

    Drift and quality always have a result; estimates if the platform's engine counted, bias if the baseline has facets,
    explainability if attributions were computed, latency if it is published.

    Example:
        >>> from datetime import UTC, datetime
        >>> found = decide(Evidence(), Window.before(datetime(2017, 8, 8, tzinfo=UTC), 24), MonitorSpec())
        >>> {name: result.state.value for name, result in found.items()}
        {'drift': 'NOT_YET_DEPLOYED', 'quality': 'NOT_YET_DEPLOYED'}
    """
    found: dict[Monitor, Any] = {}
    for kind in MONITORS.values():
        result = evidence.measured.get(kind.name) or kind.measure(evidence, window, spec)
        if result is not None:
            unusable = evidence.unusable if kind.needs_baseline or evidence.live is None else None
            found[kind.name] = replace(result, state=unusable or kind.state(result, evidence, spec))
    return found


def overall(states: Mapping[str, MonitorState], flaw: str | None) -> MonitorState:
    """Return the overall state: the worst of drift and quality, and of ``VIOLATION`` or ``MONITOR_NOT_RUN`` of other monitors.

    A missing or changed baseline is always a violation. Other states of other monitors, such as too few calls for a 99th percentile
    or for a facet, do not count.

    Example:
        >>> overall({"drift": MonitorState.OK, "quality": MonitorState.NO_LABELS_YET}, None).value
        'NO_LABELS_YET'
    """
    if flaw is not None:
        return MonitorState.VIOLATION
    counted = [state for name, state in states.items() if name in ("drift", "quality") or state in _ORDER[:2]]
    return min(counted, key=_ORDER.index)


def results(report: MonitorReport) -> Iterator[tuple[MonitorKind[Any], Any]]:
    """Yield each monitor with its result in a report, if it has one."""
    for kind in MONITORS.values():
        result = getattr(report, kind.name)
        if result is not None:
            yield kind, result


def metrics(report: MonitorReport) -> tuple[MetricValue, ...]:
    """Return a report's metric values: sample counts and staleness always, results only if known.

    Unknown results are not published: alarms on drift, quality, bias, explainability and latency ignore missing data. Drift is not
    published during a rollout. Whether the monitor runs at all is monitored by AWS Lambda's own metrics.
    """
    of_monitors = (value for kind, result in results(report) for value in kind.metrics(result, report))
    return tuple(value for value in (*staleness.metrics(report), *of_monitors) if math.isfinite(value.value))


def violations(report: MonitorReport, evidence: Evidence) -> Violations:
    """Return the violations of all monitors in one file, with the names of Model Monitor's checks.

    For features that drifted in this window or in enough of the last ones: ``completeness_check`` if nulls decided the verdict,
    ``categorical_values_check`` if new levels did, else ``baseline_drift_check``. ``data_type_check`` if a share of more than
    ``minimum_share`` of the values is not of the feature's type; ``missing_column_check`` and ``extra_column_check`` if such a
    share of rows lacks a column or has an additional one. Quality: ``LessThanThreshold`` or ``GreaterThanThreshold``, if higher or
    lower is better. Bias: ``bias_drift_check``. Attributions: ``feature_attribution_drift_check``. Not in Model Monitor:
    ``unreadable_rows_check`` if more than 5 % of the rows cannot be read, ``call_times_check`` if more than 5 % of the calls have a
    time outside the hour of their capture object, ``baseline_integrity_check`` of the baseline.

    See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-violations.html,
    https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html,
    https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-model-monitor-bias-drift-violations.html
    and https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-model-monitor-model-attribution-drift-violations.html
    """
    if evidence.flaw is not None:
        check = "baseline_integrity_check"
        return Violations(
            violations=(Violation(feature_name=DATASET, constraint_check_type=check, description=evidence.flaw),)
        )
    if evidence.violations is not None:
        return Violations(violations=evidence.violations)
    found = (line for kind, result in results(report) for line in kind.violations(result, evidence, report.spec))
    return Violations(violations=tuple(found))
