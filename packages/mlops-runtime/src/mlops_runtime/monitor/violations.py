"""``constraint_violations.json``: what one run found, in the words of Model Monitor's checks.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-violations.html,
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html,
https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-model-monitor-bias-drift-violations.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-model-monitor-model-attribution-drift-violations.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from mlops_runtime.contracts.monitor import (
    Baseline,
    Counts,
    FeatureDrift,
    Measured,
    Violation,
    Violations,
    is_confirmed,
)
from mlops_runtime.monitor.counting.problems import (
    COLUMN_FOREIGN,
    COLUMN_MISSING,
    ROW_WIDTH,
    arguments_of,
    kind_of,
    unreadable_rows,
)
from mlops_runtime.monitor.monitors.drift.decision import UNREADABLE
from mlops_runtime.monitor.monitors.drift.rules import Rule
from mlops_runtime.monitor.monitors.facet_bias import bias_violations
from mlops_runtime.monitor.monitors.label_measures import HIGHER_IS_BETTER
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window_evidence import Evidence

DATASET = "dataset"
# Model Monitor's own name for what is wrong with the number of columns
_MISSING, _EXTRA = "Missing columns", "Extra columns"
_CHECKS = {
    Rule.NULL_SHARE.value: "completeness_check",
    Rule.NEW_LEVEL.value: "categorical_values_check",
    Rule.TYPE.value: "data_type_check",
    UNREADABLE: "unreadable_rows_check",
}


def violations(evidence: Evidence, spec: MonitorSpec) -> Violations:
    """Return what one run found, of every monitor, in one file.

    Of data: ``completeness_check`` where nulls, ``categorical_values_check`` where levels that were never seen made the verdict,
    else ``baseline_drift_check``, of the features that drifted in this window or in enough of the last ones; ``data_type_check``
    where more values than ``minimum_share`` could not be read as the feature's type; ``missing_column_check`` and
    ``extra_column_check`` where as many rows lacked a column, or had one more. Of quality: ``LessThanThreshold`` or
    ``GreaterThanThreshold``, as the metric is better the higher or the lower. Of bias: ``bias_drift_check``. Of attributions:
    ``feature_attribution_drift_check``. What Model Monitor does not check: ``unreadable_rows_check`` where more than 5 % of the
    rows cannot be read, ``baseline_integrity_check`` of the baseline itself.

    Args:
        evidence: What the run knows.
        spec: How much counts.
    """
    if evidence.flaw is not None:
        return Violations(violations=(_dataset("baseline_integrity_check", evidence.flaw),))
    if evidence.violations is not None:
        return Violations(violations=evidence.violations)
    found = [_drift(feature) for feature in evidence.features if feature.drifted or is_confirmed(feature)]
    if evidence.baseline is not None and evidence.counts is not None:
        told = {line.feature_name for line in found if line.constraint_check_type == "data_type_check"}
        found += [line for line in _types(evidence.baseline, evidence.counts, spec) if line.feature_name not in told]
        found += _columns(evidence.problems, evidence.counts, spec)
    if evidence.quality is not None:
        found += [_metric(metric) for metric in evidence.quality.metrics if metric.violated]
        found += [
            Violation(feature_name=f"{line['facet']}={line['facet_value']}", **line)
            for line in bias_violations(evidence.quality.bias_metrics)["violations"]
        ]
    if evidence.explanation is not None:
        label = (
            "prediction"
            if evidence.baseline is None or evidence.baseline.prediction is None
            else evidence.baseline.prediction.name
        )
        found += [replace(line, label=label, metric_name="shap") for line in evidence.explanation.violations]
    return Violations(violations=tuple(found))


def _drift(feature: FeatureDrift) -> Violation:
    said = f"PSI {feature.psi:.4f}" if feature.description is None else feature.description
    return Violation(
        feature_name=feature.name,
        constraint_check_type=_CHECKS.get(feature.rule or "", "baseline_drift_check"),
        description=f"{said} (p-value {feature.p_value:.2g})",
    )


def _types(baseline: Baseline, counts: Counts, spec: MonitorSpec) -> Iterator[Violation]:
    kinds = {feature.name: feature.type for feature in baseline.features}
    for counted in counts.features:
        values = sum(counted.counts) + counted.invalid
        if values and counted.invalid / values > spec.minimum_share:
            yield Violation(
                feature_name=counted.name,
                constraint_check_type="data_type_check",
                description=(
                    f"Data type match requirement is not met: {counted.invalid / values:.2%} of {values} values are not of type "
                    f"{kinds[counted.name]}"
                ),
            )


def _columns(problems: Mapping[str, int], counts: Counts, spec: MonitorSpec) -> Iterator[Violation]:
    rows = counts.rows + unreadable_rows(counts)
    for problem, times in problems.items():
        if not rows or times / rows <= spec.minimum_share:
            continue
        found = kind_of(problem)
        if found is COLUMN_MISSING:
            said = f"There is a missing column in {times} of {rows} rows"
            yield Violation(
                feature_name=str(arguments_of(problem)[0]),
                constraint_check_type="missing_column_check",
                description=said,
            )
        elif found is COLUMN_FOREIGN:
            said = f"There is an extra column in {times} of {rows} rows"
            yield Violation(
                feature_name=str(arguments_of(problem)[0]), constraint_check_type="extra_column_check", description=said
            )
        elif found is ROW_WIDTH:
            here, there = map(int, arguments_of(problem))
            name, kind, check = (
                (_MISSING, "missing", "missing_column_check")
                if here < there
                else (_EXTRA, "extra", "extra_column_check")
            )
            said = (
                f"There are {kind} columns in current dataset. Number of columns in current dataset: {here}, Number of columns in "
                f"baseline constraints: {there}"
            )
            yield Violation(feature_name=name, constraint_check_type=check, description=said)


def _metric(metric: Measured) -> Violation:
    check = "LessThanThreshold" if metric.name in HIGHER_IS_BETTER else "GreaterThanThreshold"
    within = "" if metric.low is None or metric.high is None else f" ({metric.low:.4g} to {metric.high:.4g})"
    return Violation(
        feature_name=DATASET,
        constraint_check_type=check,
        description=f"Metric {metric.name} with {metric.value}{within} was {check} '{metric.limit}'",
        metric_name=metric.name,
    )


def _dataset(check: str, description: str) -> Violation:
    return Violation(feature_name=DATASET, constraint_check_type=check, description=description)
