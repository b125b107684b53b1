"""The monitors, one line each, and what they say together: states, metrics, violations.

Each monitor is in exactly one state, a pure function of the evidence. Silence is a state of its own, never OK: the first reason not
to know is the state; only where nothing keeps a monitor from knowing is it OK or VIOLATION.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mlops_runtime.contracts.monitor import MetricValue, MonitorState, Violation, Violations
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.monitor.metric_names import Monitor
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

# in the order in which people read them
_KINDS: tuple[MonitorKind[Any], ...] = (DRIFT, QUALITY, ESTIMATES, BIAS, EXPLAINABILITY, LATENCY)
MONITORS: Mapping[str, MonitorKind[Any]] = {kind.name: kind for kind in _KINDS}
# from what asks for a person to what asks for nothing
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
    """Return the result of each monitor, with its state; monitors that are not configured are left out.

    Drift and quality always have one. Estimates have one where an engine of ours counted, bias where the
    baseline names facets, explainability where something was explained, latency where it is published.

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
    """Return the one state of all: the worst of drift and quality, or what another monitor asks a person for.

    A baseline that is missing or was changed is a violation in any case. Too few calls for a 99th percentile, or for a
    facet, are that monitor's own matter.

    Example:
        >>> overall({"drift": MonitorState.OK, "quality": MonitorState.NO_LABELS_YET}, None).value
        'NO_LABELS_YET'
    """
    if flaw is not None:
        return MonitorState.VIOLATION
    counted = [state for name, state in states.items() if name in ("drift", "quality") or state in _ORDER[:2]]
    return min(counted, key=_ORDER.index)


def results(report: MonitorReport) -> Iterator[tuple[MonitorKind[Any], Any]]:
    """Yield each monitor that has a result in a report, with it."""
    for kind in MONITORS.values():
        result = getattr(report, kind.name)
        if result is not None:
            yield kind, result


def metrics(report: MonitorReport) -> tuple[MetricValue, ...]:
    """Return a report's values: sample counts and staleness always, results only where there are some.

    A result that is not known is not published: alarms on drift, quality, bias, explainability and latency ignore missing data.
    While a rollout runs nothing is published as drift. Whether the monitor runs at all is known from AWS Lambda's own metrics,
    which nothing else can write.
    """
    of_monitors = (value for kind, result in results(report) for value in kind.metrics(result, report))
    return tuple(value for value in (*staleness.metrics(report), *of_monitors) if math.isfinite(value.value))


def violations(report: MonitorReport, evidence: Evidence) -> Violations:
    """Return what one run found, of every monitor, in one file, in the words of Model Monitor's checks.

    Of data: ``completeness_check`` where nulls, ``categorical_values_check`` where levels that were never seen made the verdict,
    else ``baseline_drift_check``, of the features that drifted in this window or in enough of the last ones; ``data_type_check``
    where more values than ``minimum_share`` could not be read as the feature's type; ``missing_column_check`` and
    ``extra_column_check`` where as many rows lacked a column, or had one more. Of quality: ``LessThanThreshold`` or
    ``GreaterThanThreshold``, as the metric is better the higher or the lower. Of bias: ``bias_drift_check``. Of attributions:
    ``feature_attribution_drift_check``. What Model Monitor does not check: ``unreadable_rows_check`` where more than 5 % of the
    rows cannot be read, ``call_times_check`` where as many calls have a time outside the hour of their capture object,
    ``baseline_integrity_check`` of the baseline itself.

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
