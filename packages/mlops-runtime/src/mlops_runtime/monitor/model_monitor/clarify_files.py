"""Clarify's files: read ``analysis_config.json``, write ``analysis.json``, and find bias metrics worse than the baseline's.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-processing-job-configure-analysis.html,
https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-processing-job-analysis-results.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-model-monitor-bias-drift-violations.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_runtime.contracts.monitor import Facet
from mlops_runtime.contracts.monitor_report import BiasMetric
from mlops_runtime.monitor.monitors.bias_metrics import STAGES

# a ratio is fair at 1, all other metrics at 0
_FAIR = {"DI": 1.0}
_POSITIVE = 0.5
_SECTIONS = {"pre_training": "pre_training_bias_metrics", "post_training": "post_training_bias_metrics"}


class ClarifyError(ValueError):
    """A configuration is invalid; the message lists every problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasConfig:
    """The bias configuration of an ``analysis_config.json``."""

    headers: tuple[str, ...]  # columns of the input in order; empty if inputs are objects
    label: str
    positive: float  # threshold above which a label is positive
    facets: tuple[Facet, ...]


def read_bias_config(document: Mapping[str, Any]) -> BiasConfig:
    """Read ``analysis_config.json``.

    Raises:
        ClarifyError: With every problem.

    Example:
        >>> config = read_bias_config({"label": "bought", "facet": [{"name_or_index": "age", "value_or_threshold": [40]}]})
        >>> config.facets[0].threshold
        40.0
    """
    problems: list[str] = []
    headers = tuple(map(str, document.get("headers") or ()))
    label = document.get("label")
    if not isinstance(label, str) or not label:
        problems.append(f"label must be the name of the label, got {label!r}")
    raw = document.get("facet")
    facets = tuple(_facet(entry, headers, problems) for entry in raw) if isinstance(raw, list) else ()
    if not facets:
        problems.append("facet must list at least one group")
    labels = document.get("label_values_or_threshold", [1])
    positive = _threshold(labels, problems)
    if problems:
        raise ClarifyError("; ".join(problems))
    return BiasConfig(
        headers=tuple(name for name in headers if name != label), label=str(label), positive=positive, facets=facets
    )


def bias_analysis(values: Mapping[str, float], label: str) -> dict[str, Any]:
    """Return ``analysis.json`` of bias metrics.

    Args:
        values: Values by ``<facet>=<value>/<metric>``, see `mlops_runtime.monitor.monitors.facet_bias.of_holdout`.
    """
    found: dict[str, dict[str, dict[str, list[dict[str, Any]]]]] = {}
    for key, value in values.items():
        group, _, name = key.rpartition("/")
        facet, _, of = group.partition("=")
        metrics = found.setdefault(_SECTIONS[STAGES[name]], {}).setdefault(facet, {}).setdefault(of, [])
        metrics.append({"name": name, "value": value})
    return {"version": "1.0"} | {
        section: {
            "label": label,
            "facets": {
                facet: [{"value_or_threshold": of, "metrics": metrics} for of, metrics in groups.items()]
                for facet, groups in facets.items()
            },
        }
        for section, facets in found.items()
    }


def worse(baseline: Sequence[BiasMetric], values: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the violations: metrics that are farther from fair than the baseline's."""
    found = []
    for metric in baseline:
        name, limit = metric.metric.name, metric.metric.value
        value = values.get(f"{metric.facet}={metric.facet_value}/{name}")
        fair = _FAIR.get(name, 0.0)
        if value is not None and limit is not None and abs(value - fair) > abs(limit - fair):
            found.append(
                {
                    "facet": metric.facet,
                    "facet_value": metric.facet_value,
                    "metric_name": name,
                    "constraint_check_type": "bias_drift_check",
                    "description": f"Value {value} does not meet the constraint requirement",
                }
            )
    return found


def attribution_analysis(values: Mapping[str, float], label: str) -> dict[str, Any]:
    """Return ``analysis.json`` of mean absolute attributions."""
    return {"version": "1.0", "explanations": {"kernel_shap": {label: {"global_shap_values": dict(values)}}}}


def _facet(raw: Any, headers: Sequence[str], problems: list[str]) -> Facet:
    entry = raw if isinstance(raw, dict) else {}
    given, wanted = entry.get("name_or_index"), entry.get("value_or_threshold")
    name = headers[given] if isinstance(given, int) and given < len(headers) else given
    if not isinstance(name, str) or not name:
        problems.append(f"name_or_index of a facet must be a column, got {given!r}")
        name = ""
    values = wanted if isinstance(wanted, list) else [] if wanted is None else [wanted]
    if len(values) == 1 and isinstance(values[0], int | float) and values[0] not in (0, 1):
        return Facet(name=name, threshold=float(values[0]))
    return Facet(name=name, values=tuple(map(str, values)))


def _threshold(labels: Any, problems: list[str]) -> float:
    values = labels if isinstance(labels, list) else [labels]
    if values in ([1], ["1"], [1.0]):
        return _POSITIVE
    try:
        (value,) = map(float, values)
    except (TypeError, ValueError):
        problems.append(f"label_values_or_threshold must be [1] or one threshold here, got {labels!r}")
        return _POSITIVE
    return value
