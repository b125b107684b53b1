"""The estimates monitor: performance expected before labels arrive. It is never a violation, and its OK confirms no quality.

It cannot detect a change of the relation between inputs and label (concept drift), since it assumes the holdout's share of
positives and loss in each cell. Only labels show such a change: each window is scored once, when its labels are due.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.monitor import Baseline, MetricValue, MonitorState
from mlops_runtime.contracts.monitor_report import EstimateScore, EstimatesResult, Measured, MonitorReport, ScoredWindow
from mlops_runtime.monitor.cloudwatch_metrics import BEYOND_LIMITS, METRICS, camel
from mlops_runtime.monitor.monitors.classification import usable_rows
from mlops_runtime.monitor.monitors.estimates.estimator_fit import MAXIMUM_OUTPUTS
from mlops_runtime.monitor.monitors.estimates.expectation import (
    expected_metrics,
    other_column,
    predictions_of,
    shown_columns,
)
from mlops_runtime.monitor.monitors.estimates.support import NO_HOLDOUT, unsupported, were_confirmed, were_wrong
from mlops_runtime.monitor.monitors.label_measures import Target, is_worse
from mlops_runtime.monitor.monitors.monitor_kind import MonitorKind, StateText, silence
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import Window, stamp
from mlops_runtime.monitor.window_evidence import Evidence
from mlops_runtime.monitor.wording import interval, number

KEPT = 10
# share of a window's predictions: fewer labels may not be representative
_LEAST_LABELLED = 0.5


def _measure(evidence: Evidence, window: Window, spec: MonitorSpec) -> EstimatesResult | None:
    baseline, counts = evidence.baseline, evidence.counts
    if baseline is None or counts is None:
        return None
    estimator = baseline.estimator
    if estimator is None:
        return EstimatesResult(not_estimable=_without(baseline))
    rows = predictions_of(counts)
    found = EstimatesResult(rows=rows)
    if rows < spec.minimum_rows:
        found = replace(found, not_estimable=f"{rows:,} predictions are too few, {spec.minimum_rows:,} are needed")
    elif reason := unsupported(shown_columns(estimator, baseline, counts), estimator.rows):
        found = replace(found, not_estimable=reason)
    else:
        other = other_column(estimator, baseline, counts)
        note = None if other is None else f"expected from {other}, not from the prediction"
        found = replace(found, metrics=expected_metrics(estimator, baseline, counts), note=note)
    scored = scored_windows(evidence, window, found, spec.minimum_labels)
    found = replace(found, scored=scored, not_estimable=found.not_estimable or were_wrong(scored))
    return _limited(found, spec.estimate_limits) if spec.estimate_limits else found


def _limited(found: EstimatesResult, limits: Mapping[str, float]) -> EstimatesResult:
    """Return estimates with their limits; limits of metrics that are not estimated are noted."""
    confirmed = found.not_estimable is None and were_confirmed(found.scored)
    metrics = tuple(
        replace(
            metric,
            limit=limits.get(metric.name),
            violated=is_worse(metric.name, metric.low, metric.high, limits[metric.name])
            if confirmed and metric.name in limits and metric.low is not None and metric.high is not None
            else None,
        )
        for metric in found.metrics
    )
    notes = [] if found.note is None else [found.note]
    if unknown := sorted(set(limits) - {metric.name for metric in metrics}) if metrics else []:
        known = ", ".join(metric.name for metric in metrics)
        notes.append(f"estimate_limits names {', '.join(map(repr, unknown))}; the estimated metrics are {known}")
    return replace(
        found,
        metrics=metrics,
        note="; ".join(notes) or None,
        beyond_limits=sum(metric.violated is True for metric in metrics),
    )


def _without(baseline: Baseline) -> str:
    if baseline.target == "vector":
        return "a model of vectors has no estimate"
    if len(baseline.outputs or ()) > MAXIMUM_OUTPUTS:
        return (
            f"a model of {len(baseline.outputs or ())} outputs has no estimate, at most {MAXIMUM_OUTPUTS} are supported"
        )
    return NO_HOLDOUT


def _state(result: EstimatesResult, evidence: Evidence, _spec: MonitorSpec) -> MonitorState:
    silent = silence(evidence.traffic)
    if silent is not None:
        return silent
    return MonitorState.OK if _shown(result) else MonitorState.INSUFFICIENT_DATA


def _shown(result: EstimatesResult) -> tuple[Measured, ...]:
    """Return the estimates that are reliable."""
    return result.metrics if result.not_estimable is None else ()


def _metrics(result: EstimatesResult, _report: MonitorReport) -> Iterator[MetricValue]:
    if result.beyond_limits is not None:
        yield MetricValue("estimates", BEYOND_LIMITS, result.beyond_limits)
    if result.state is not MonitorState.OK:
        return
    for metric in _shown(result):
        name = f"Estimated{camel(metric.name)}"
        if name in METRICS["estimates"] and metric.value is not None:
            yield MetricValue("estimates", name, metric.value)


def _sentence(result: EstimatesResult, _report: MonitorReport) -> Iterator[str]:
    if result.state is MonitorState.OK:
        yield f"estimated {_known_by(result)}"
        for metric in result.metrics:
            if metric.violated and metric.limit is not None:
                yield f"estimated {_written(metric.name)} beyond its limit of {number(metric.limit)}, not measured yet"
    elif result.state is MonitorState.INSUFFICIENT_DATA and (result.metrics or result.rows):
        yield f"not estimable: {result.not_estimable}"


def _known_by(result: EstimatesResult) -> str:
    metric = result.metrics[0]
    return f"{_written(metric.name)} {interval(metric)}{'' if result.note is None else f' ({result.note})'}"


def _written(name: str) -> str:
    return name.upper() if len(name) <= 4 else name.replace("_", " ")


def _meaning(result: EstimatesResult, _report: MonitorReport) -> StateText | None:
    if result.state is MonitorState.OK:
        return StateText("unknown", "estimated", f"expected before labels arrive, not measured: {_known_by(result)}")
    if result.state is MonitorState.INSUFFICIENT_DATA:
        return StateText("unknown", "not estimable", result.not_estimable or "no metric is defined")
    return None


def _section(result: EstimatesResult, _baseline: Baseline | None) -> EstimatesResult | None:
    return result if result.metrics or result.scored or result.not_estimable else None


ESTIMATES = MonitorKind(
    name="estimates",
    measure=_measure,
    state=_state,
    metrics=_metrics,
    sentence=_sentence,
    section=_section,
    holds="performance was estimated",
    violated=("an estimate is never a violation", "wait for labels: only they show a violation"),
    meaning=_meaning,
)


def scored_windows(evidence: Evidence, window: Window, own: EstimatesResult, minimum: int) -> tuple[ScoredWindow, ...]:
    """Return the scored windows, newest first: those of the previous report, and the window whose labels are due now.

    Windows do not overlap. Windows of another model or baseline are dropped. A window with merged earlier hours is not scored,
    since its labels cover the window alone; nor is one in which fewer than half of the predictions, or fewer rows than ``minimum``,
    have a label.

    Args:
        evidence: The evidence of the run.
        window: The window of the run.
        own: The estimates of that window.
        minimum: Minimum number of labelled rows.
    """
    baseline, live = evidence.baseline, evidence.live
    if baseline is None or live is None:
        return ()
    before = next(iter(evidence.earlier()), None)
    kept = before.estimates.scored if before is not None and before.estimates and _is_same(before, evidence) else ()
    due = evidence.matured
    if due is None or (kept and kept[0].window_until > stamp(due.start)):
        return kept
    report = evidence.matured_report
    if due == window:
        found = own if evidence.hours_merged == 0 else None
    elif report is None or report.hours_merged or not _is_same(report, evidence):
        found = None
    else:
        found = report.estimates
    scored = None if found is None else _scored(found.metrics, evidence, baseline, due, minimum)
    return kept if scored is None else (scored, *kept)[:KEPT]


def _is_same(report: MonitorReport, evidence: Evidence) -> bool:
    return (
        evidence.live is not None
        and evidence.baseline is not None
        and report.model_package_arn == evidence.live.model_package_arn
        and report.baseline_sha256 == content_hash(evidence.baseline)
    )


def _scored(
    metrics: Sequence[Measured], evidence: Evidence, baseline: Baseline, due: Window, minimum: int
) -> ScoredWindow | None:
    if evidence.labels is None or not metrics:
        return None
    rows = usable_rows(evidence.labels.matured, baseline)
    predictions = (metrics[0].rows or 0) * evidence.labels.share
    if len(rows) < max(minimum, _LEAST_LABELLED * predictions):
        return None
    measured = Target.of(baseline).values(rows)
    # the interval is for labels of all predictions: widen it for fewer
    wider = max(1.0, predictions / len(rows)) ** 0.5
    found = tuple(_score(metric, measured[metric.name], wider) for metric in metrics if _is_known(metric, measured))
    # a window without its primary metric is not scored
    if not found or found[0].name != metrics[0].name:
        return None
    return ScoredWindow(window_from=stamp(due.start), window_until=stamp(due.end), rows=len(rows), metrics=found)


def _is_known(metric: Measured, measured: dict[str, float]) -> bool:
    value = measured.get(metric.name, float("nan"))
    return value == value and None not in (metric.value, metric.low, metric.high)  # noqa: PLR0124 - NaN


def _score(metric: Measured, measured: float, wider: float) -> EstimateScore:
    value, low, high = (float(each or 0.0) for each in (metric.value, metric.low, metric.high))
    return EstimateScore(
        name=metric.name,
        estimated=value,
        low=value - wider * (value - low),
        high=value + wider * (high - value),
        measured=measured,
    )
