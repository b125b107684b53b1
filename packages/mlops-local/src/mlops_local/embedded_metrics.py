"""Metrics in log lines of functions and jobs, in CloudWatch's embedded metric format.

A metric line is one JSON object with ``_aws.CloudWatchMetrics``; other lines are ignored. It may come from any function, job or
model server, in any log group, also from a container without a network. A line that violates the specification produces no metric,
and the launcher's log gives the reason; in AWS the metric ``EMFValidationErrors`` counts it.

See: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ministack.services import cloudwatch, cloudwatch_logs

from mlops_local.functions import log_pipe

LOGGER = logging.getLogger(__name__)

_MARK = '"CloudWatchMetrics"'
# limits of the specification: metrics per directive, dimensions per set, values per metric
_METRICS = 100
_DIMENSIONS = 30
_VALUES = 100
_RESERVED = "AWS/"


class EmbeddedMetricError(ValueError):
    """A log event in the embedded metric format violates the specification; the message lists every problem."""


@dataclass(frozen=True, slots=True)
class Datum:
    """Values of one metric in one log event; ``at`` is in epoch seconds."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    at: float
    unit: str
    values: tuple[float, ...]


def read(message: str) -> list[Datum]:
    """Return the metrics of a log event, one per dimension set; empty for other lines.

    Raises:
        EmbeddedMetricError: Listing every violation of the specification.

    Example:
        >>> directive = '{"Namespace": "N", "Dimensions": [["D"]], "Metrics": [{"Name": "M"}]}'
        >>> read('{"_aws": {"Timestamp": 0, "CloudWatchMetrics": [%s]}, "D": "a", "M": 2}' % directive)[0].values
        (2.0,)
    """
    # claim: embedded-metrics-follow-the-format
    if not message.startswith("{") or _MARK not in message:
        return []
    try:
        root = json.loads(message)
        metadata = root["_aws"]
        directives, at = metadata["CloudWatchMetrics"], float(metadata["Timestamp"]) / 1000
    except (ValueError, KeyError, TypeError) as error:
        raise EmbeddedMetricError(f"the metadata cannot be read: {type(error).__name__}: {error}") from error
    problems: list[str] = []
    found = [datum for directive in directives for datum in _directive(directive, root, at, problems)]
    if problems:
        raise EmbeddedMetricError("; ".join(problems))
    return found


def _directive(
    directive: Mapping[str, Any], root: Mapping[str, Any], at: float, problems: list[str]
) -> Iterable[Datum]:
    namespace, sets, metrics = (directive.get(name) for name in ("Namespace", "Dimensions", "Metrics"))
    if not namespace or not isinstance(sets, list) or not isinstance(metrics, list):
        problems.append("a directive must have Namespace, Dimensions and Metrics")
        return
    # claim: aws-namespaces-are-reserved
    if str(namespace).startswith(_RESERVED):
        problems.append(f"a namespace that begins with {_RESERVED} is AWS's own, got {namespace!r}")
        return
    if len(metrics) > _METRICS:
        problems.append(f"a directive must have at most {_METRICS} metrics, got {len(metrics)}")
    for names in sets:
        missing = [name for name in names if not isinstance(root.get(name), str)]
        if missing or len(names) > _DIMENSIONS:
            problems.append(f"a dimension set must name at most {_DIMENSIONS} strings of the root object, got {names}")
            continue
        for metric in metrics:
            value = root.get(metric.get("Name"))
            values = value if isinstance(value, list) else [value]
            if not 0 < len(values) <= _VALUES or not all(_is_number(v) for v in values):
                problems.append(
                    f"metric {metric.get('Name')!r} must be a number or 1 to {_VALUES} of them, got {value!r}"
                )
                continue
            yield Datum(
                namespace,
                metric["Name"],
                {n: root[n] for n in names},
                at,
                metric.get("Unit", "None"),
                tuple(map(float, values)),
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def extract(message: str) -> None:
    """Store the metrics of a log event; the launcher logs an invalid one."""
    try:
        data = read(message)
    except EmbeddedMetricError as error:
        LOGGER.warning("a log event embeds no metrics: %s", error)
        return
    for datum in data:
        cloudwatch._store_datum(
            datum.namespace,
            datum.name,
            dict(datum.dimensions),
            datum.at,
            datum.unit,
            None,
            list(datum.values),
            None,
            None,
        )


def install() -> None:
    """Extract metrics from functions' log lines, and from events that jobs and others put into log streams."""
    # claim: embedded-metrics-need-no-right
    put = cloudwatch_logs._put_log_events

    def put_and_extract(data: dict[str, Any]) -> Any:
        answer = put(data)
        if answer[0] == 200:
            for event in data.get("logEvents", []):
                extract(str(event.get("message", "")))
        return answer

    cloudwatch_logs._put_log_events = put_and_extract
    log_pipe.install(extract)
