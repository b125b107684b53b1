"""Evaluate ``constraints.json`` like Model Monitor: types, completeness, columns, known values, distance from the baseline.

A threshold of types or known values is the minimum share that must match, as in the container's messages ("Expected match:
100.0%"). The distance of numbers is the largest difference of the two distribution functions, minus ``1.8 sqrt((n + m) / nm)`` with
the method ``Robust``; that of strings is the largest difference of a value's share.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-constraints.html,
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-violations.html
and https://github.com/awslabs/deequ/blob/master/src/main/scala/com/amazon/deequ/analyzers/Distance.scala
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_runtime.contracts.monitor import Violation
from mlops_runtime.monitor.model_monitor.profile import Column, InferredType, Wide

_TYPES: tuple[InferredType, ...] = ("Integral", "Fractional", "String", "Unknown")
_ROBUST = 1.8
_SHOWN = 3  # unknown values listed in a description


class ConstraintsError(ValueError):
    """A constraints file is invalid; the message lists every problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Thresholds of one feature; ``numerical`` and ``categorical`` are ``None`` if distributions are not compared."""

    data_type: float
    domain: float
    numerical: float | None
    categorical: float | None
    is_robust: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConstraint:
    """Constraints of one feature; ``domain`` is ``None`` if any string is allowed."""

    name: str
    inferred_type: InferredType
    completeness: float | None
    domain: frozenset[str] | None
    thresholds: Thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """A parsed ``constraints.json``."""

    features: tuple[FeatureConstraint, ...]
    is_evaluated: bool
    emits_metrics: bool


def read_constraints(document: Mapping[str, Any]) -> Constraints:
    """Parse ``constraints.json`` in the spellings of documentation, SDK and container.

    Raises:
        ConstraintsError: With every problem, such as an unsupported method.

    Example:
        >>> found = read_constraints({"features": [{"name": "price", "inferred_type": "Fractional", "completeness": 1.0}]})
        >>> found.features[0].thresholds.numerical
        0.1
    """
    config = _mapping(document.get("monitoring_config"))
    problems: list[str] = []
    listed = document.get("features")
    features = tuple(_feature(_mapping(raw), config, problems) for raw in (listed if isinstance(listed, list) else ()))
    if not features:
        problems.append("constraints.json lists no features")
    if problems:
        raise ConstraintsError("; ".join(dict.fromkeys(problems)))
    return Constraints(
        features=features,
        is_evaluated=config.get("evaluate_constraints", "Enabled") == "Enabled",
        emits_metrics=config.get("emit_metrics", "Enabled") == "Enabled",
    )


def evaluate(constraints: Constraints, baseline: Mapping[str, Any], columns: Mapping[str, Column]) -> list[Violation]:
    """Return the violations of constraints: those of the dataset first, then by feature.

    Args:
        constraints: The baseline's constraints.
        baseline: The baseline's ``statistics.json``; empty to skip the comparison of distributions.
        columns: Columns of the data.
    """
    if not constraints.is_evaluated:
        return []
    known = {str(f["name"]): f for f in baseline.get("features", []) if isinstance(f, dict) and "name" in f}
    found = list(_columns(constraints, columns))
    for feature in constraints.features:
        column = columns.get(feature.name)
        if column is not None:
            found += _checks(feature, known.get(feature.name, {}), column)
    return found


def numerical_distance(baseline: Mapping[str, Any], numbers: Wide, *, is_robust: bool) -> float | None:
    """Return the distance of numbers from a feature's ``numerical_statistics``; None if either is empty.

    The baseline's sketch is compared at each of its items; without a sketch, its buckets are compared at their bounds.

    Example:
        >>> buckets = [{"lower_bound": 0, "upper_bound": 1, "count": 5}, {"lower_bound": 1, "upper_bound": 2, "count": 5}]
        >>> statistics = {"common": {"num_present": 10}, "distribution": {"kll": {"buckets": buckets}}}
        >>> numerical_distance(statistics, np.array([1.5, 1.5]), is_robust=False)
        0.5
    """
    kll = _mapping(_mapping(baseline.get("distribution")).get("kll"))
    values, weights = _items(_mapping(kll.get("sketch")).get("data"))
    if len(numbers) == 0:
        return None
    ordered = np.sort(numbers)
    if weights.sum() > 0:
        order = np.argsort(values)
        values, below = values[order], np.cumsum(weights[order]) / weights.sum()
        points = np.concatenate([values, ordered])
        at = np.searchsorted(values, points, side="right")
        ours = np.searchsorted(ordered, points, side="right") / len(ordered)
        theirs = np.concatenate([[0.0], below])[at]
    else:
        buckets = [b for b in kll.get("buckets", []) if isinstance(b, dict) and b.get("upper_bound") is not None]
        counts = np.array([float(b.get("count", 0)) for b in buckets])
        if counts.sum() <= 0:
            return None
        bounds = np.array([float(b["upper_bound"]) for b in buckets])
        ours = np.searchsorted(ordered, bounds, side="left") / len(ordered)
        theirs = np.cumsum(counts) / counts.sum()
        ours[-1] = np.searchsorted(ordered, bounds[-1], side="right") / len(ordered)  # the last bound is in its bucket
    distance = float(np.abs(ours - theirs).max())
    if not is_robust:
        return distance
    n = _count(baseline) or len(ordered)
    return max(0.0, distance - _ROBUST * math.sqrt((n + len(ordered)) / (n * len(ordered))))


def categorical_distance(baseline: Mapping[str, Any], column: Column) -> float | None:
    """Return the distance of strings from a feature's ``string_statistics``; None if the baseline has no buckets."""
    distribution = _mapping(baseline.get("distribution"))
    buckets = _mapping(distribution.get("categorical")).get("buckets")
    counts = {str(b["value"]): float(b.get("count", 0)) for b in buckets or () if isinstance(b, dict) and "value" in b}
    total = _count(baseline) or sum(counts.values())
    if not counts or total <= 0 or not column.present:
        return None
    levels = column.levels()
    return max(
        abs(levels[value] / column.present - counts.get(value, 0) / total) for value in counts.keys() | levels.keys()
    )


def _feature(raw: Mapping[str, Any], config: Mapping[str, Any], problems: list[str]) -> FeatureConstraint:
    name = str(raw.get("name", ""))
    kind = str(raw.get("inferred_type", "Unknown"))
    if not name:
        problems.append("a feature has no name")
    if kind not in _TYPES:
        problems.append(f"inferred_type of {name!r} must be one of {', '.join(_TYPES)}, got {kind!r}")
    strings = _mapping(raw.get("string_constraints"))
    domains = strings.get("domains")
    layers = [
        config,
        *(
            _mapping(holder.get(spelling))
            for holder in (raw, strings, _mapping(raw.get("num_constraints")))
            for spelling in ("monitoring_config_overrides", "monitoringConfigOverrides")
        ),
    ]
    completeness = raw.get("completeness")
    return FeatureConstraint(
        name=name,
        inferred_type=kind if kind in _TYPES else "Unknown",
        completeness=None if completeness is None else float(completeness),
        domain=frozenset(map(str, domains)) if isinstance(domains, list) and domains else None,
        thresholds=_thresholds(name, layers, problems),
    )


def _thresholds(name: str, layers: list[Mapping[str, Any]], problems: list[str]) -> Thresholds:
    merged: dict[str, Any] = {}
    distribution: dict[str, Any] = {}
    for layer in layers:
        merged |= layer
        distribution |= _mapping(layer.get("distribution_constraints"))
    method = distribution.get("categorical_drift_method", "LInfinity")
    if method != "LInfinity":
        problems.append(f"categorical_drift_method must be LInfinity here, got {method!r} for {name!r}")
    # one page of the documentation misspells the key
    comparison = distribution.get("comparison_method", distribution.get("comparion_method", "Simple"))
    if comparison not in ("Simple", "Robust"):
        problems.append(f"comparison_method must be Simple or Robust, got {comparison!r} for {name!r}")
    # the SDK's fixture has other names of the switch and of the domain's threshold
    compares = distribution.get("enable_comparisons", distribution.get("perform_comparison", "Enabled"))
    is_compared = compares in (True, "Enabled")
    numerical = float(distribution.get("comparison_threshold", 0.1))
    return Thresholds(
        data_type=float(merged.get("datatype_check_threshold", 0.1)),
        domain=float(merged.get("domain_content_threshold", distribution.get("min_domain_mass", 0.1))),
        numerical=numerical if is_compared else None,
        categorical=float(distribution.get("categorical_comparison_threshold", numerical)) if is_compared else None,
        is_robust=comparison == "Robust",
    )


def _columns(constraints: Constraints, columns: Mapping[str, Column]) -> Iterator[Violation]:
    names = [feature.name for feature in constraints.features]
    missing = [name for name in names if name not in columns]
    extra = [name for name in columns if name not in names]
    for kind, label, found in (("missing", "Missing columns", missing), ("extra", "Extra columns", extra)):
        if found:
            yield Violation(
                feature_name=label,
                constraint_check_type=f"{kind}_column_check",
                description=f"There are {kind} columns in current dataset: {', '.join(found)}. Number of columns in current "
                f"dataset: {len(columns)}, Number of columns in baseline constraints: {len(names)}",
            )


def _checks(feature: FeatureConstraint, baseline: Mapping[str, Any], column: Column) -> Iterator[Violation]:
    limits = feature.thresholds
    match = column.matching(feature.inferred_type)
    if match is not None and match < limits.data_type:
        yield _violation(
            feature,
            "data_type_check",
            f"Data type match requirement is not met. Expected data type: {feature.inferred_type}, Expected match: "
            f"{limits.data_type:.1%}. Observed: Only {match:.4%} of data is {feature.inferred_type}.",
        )
    completeness = column.completeness
    if completeness is not None and feature.completeness is not None and completeness < feature.completeness:
        yield _violation(
            feature,
            "completeness_check",
            f"Completeness requirement is not met. Expected: at least {feature.completeness:.4%}. Observed: {completeness:.4%}.",
        )
    yield from _domain(feature, column)
    if feature.inferred_type == "String":
        distance, limit, kind = (
            categorical_distance(_mapping(baseline.get("string_statistics")), column),
            limits.categorical,
            "Categorical",
        )
    else:
        numerical = _mapping(baseline.get("numerical_statistics"))
        distance = numerical_distance(numerical, column.numbers, is_robust=limits.is_robust)
        limit, kind = limits.numerical, "Numerical"
    if distance is not None and limit is not None and distance > limit:
        text = f"{kind} distance: {distance:.6g} exceeds {kind.lower()} threshold: {limit:g}"
        yield _violation(feature, "baseline_drift_check", text)


def _domain(feature: FeatureConstraint, column: Column) -> Iterator[Violation]:
    if feature.domain is None or not column.present:
        return
    unknown = {value: count for value, count in column.levels().items() if value not in feature.domain}
    known = 1 - sum(unknown.values()) / column.present
    if known < feature.thresholds.domain:
        most = sorted(unknown, key=lambda value: (-unknown[value], value))[:_SHOWN]
        yield _violation(
            feature,
            "categorical_values_check",
            f"Known values requirement is not met. Expected: at least {feature.thresholds.domain:.1%}. Observed: {known:.4%}. "
            f"Unknown: {', '.join(map(repr, most))}.",
        )


def _violation(feature: FeatureConstraint, kind: str, description: str) -> Violation:
    return Violation(feature_name=feature.name, constraint_check_type=kind, description=description)


def _items(data: Any) -> tuple[Wide, Wide]:
    """Return a sketch's values and their weights."""
    levels = [level for level in data if isinstance(level, list)] if isinstance(data, list) else []
    values = [np.array(level, dtype=np.float64) for level in levels]
    weights = [np.full(len(level), 2.0**power) for power, level in enumerate(values)]
    return (np.concatenate(values), np.concatenate(weights)) if values else (np.empty(0), np.empty(0))


def _count(baseline: Mapping[str, Any]) -> float:
    return float(_mapping(baseline.get("common")).get("num_present") or 0)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
