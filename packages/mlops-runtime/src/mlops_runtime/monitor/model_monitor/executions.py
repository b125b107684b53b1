"""Read the files of SageMaker Model Monitor's executions from S3, and convert them to results of the platform's report.

Documentation, SDK and containers differ in the files' spellings; every documented one is supported, and unreadable parts are
counted as problems. Model Monitor returns neither a PSI nor a p-value: here the PSI of a feature is 0, its p-value 0 if it was
reported and 1 otherwise.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-violations.html,
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-statistics.html,
https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-model-monitor-bias-drift-violations.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/clarify-model-monitor-model-attribution-drift-violations.html
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, Literal

from mlops_runtime.contracts.monitor import Violation, Violations
from mlops_runtime.contracts.monitor_report import BiasMetric, FeatureDrift, Measured
from mlops_runtime.monitor.window import HOUR, Window, hour_of, stamp

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MonitorName = Literal["data_quality", "model_quality", "bias", "explainability"]
MONITORS: tuple[MonitorName, ...] = ("data_quality", "model_quality", "bias", "explainability")
# the page byoc-contract-outputs has the second name, every other page and the container the first
VIOLATION_FILES = ("constraint_violations.json", "constraints_violations.json")
STATISTICS_FILE = "statistics.json"
ANALYSIS_FILE = "analysis.json"
_MAIN: Mapping[MonitorName, str] = {
    "data_quality": STATISTICS_FILE,
    "model_quality": STATISTICS_FILE,
    "bias": ANALYSIS_FILE,
    "explainability": ANALYSIS_FILE,
}
RULE = "model_monitor"
# https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-violations.html
_OF_FEED = (
    "categorical_values_check",
    "completeness_check",
    "data_type_check",
    "extra_column_check",
    "missing_column_check",
)
# name of the platform's analyzer in the files that it writes in place of AWS's image
ANALYZER = "mlops_runtime"
NORMAL_QUANTILE = 1.959963984540054  # of 0.975, for an interval at 95 %

_DISTANCE = re.compile(r"distance:?\s*([0-9.eE+-]+[0-9])", re.IGNORECASE)
_METRIC = re.compile(r"Metric\s+([A-Za-z0-9_]+)\b")
_ATTRIBUTION = re.compile(r"drift:?\s*([0-9.eE+-]+[0-9])", re.IGNORECASE)
_METRICS = ("regression_metrics", "binary_classification_metrics", "multiclass_classification_metrics")
_STAGES: tuple[tuple[str, Literal["pre_training", "post_training"]], ...] = (
    ("pre_training_bias_metrics", "pre_training"),
    ("post_training_bias_metrics", "post_training"),
)
_READ = (STATISTICS_FILE, *VIOLATION_FILES, ANALYSIS_FILE)


def schedule_name(endpoint: str, monitor: MonitorName) -> str:
    """Return the name of a monitor's schedule, within SageMaker's limit of 63 characters.

    Example:
        >>> schedule_name("demand-forecast", "data_quality")
        'demand-forecast-data-quality'
    """
    end = "-" + monitor.replace("_", "-")
    room = 63 - len(end)
    if len(endpoint) > room:
        digest = hashlib.sha256(endpoint.encode()).hexdigest()[:8]
        endpoint = f"{endpoint[: room - 9].rstrip('-')}-{digest}"
    return endpoint + end


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionFiles:
    """The files of one execution."""

    monitor: MonitorName  # the monitor that ran
    at: str  # the hour of the execution (ISO 8601, UTC), from its output's key
    files: Mapping[str, bytes]  # contents by file name; may include files that are not read


@dataclass(frozen=True, slots=True, kw_only=True)
class Executions:
    """Results of the newest execution of each monitor."""

    rows: int  # rows that the data-quality monitor analyzed; 0 without one
    labelled_rows: int  # rows that the model-quality monitor analyzed
    drift: tuple[FeatureDrift, ...]  # a verdict for each feature, reported ones first
    quality: tuple[Measured, ...]  # the model-quality monitor's metrics
    bias: tuple[BiasMetric, ...]  # the bias monitor's metrics
    attributions: Mapping[str, float] | None  # mean absolute attribution by feature, of the first label
    # similarity of their ranking to the baseline's, if violated: Model Monitor reports it in violations only
    ndcg: float | None
    violations: Violations  # all violations, as lines of one `constraint_violations.json`
    reported: Mapping[MonitorName, str]  # monitors with a report, with the hour of the newest execution
    problems: Mapping[str, int]  # number of occurrences of each problem of reading
    analyzer: str | None  # the analyzer that ran in place of AWS's image; None if the image ran


def read_executions(executions: Iterable[ExecutionFiles], *, alarm_windows: int = 2, of_windows: int = 3) -> Executions:
    """Return the results of a window's newest executions by monitor; earlier ones determine whether drift is persistent.

    Args:
        executions: Executions of the window, in any order.
        alarm_windows: Number of the last ``of_windows`` executions that must report a feature for it to be ``persistent``.
            Default: 2.
        of_windows: Number of executions that ``alarm_windows`` refers to. Default: 3.

    Example:
        >>> body = b'{"violations": [{"feature_name": "price", "constraint_check_type": "completeness_check", "description": "d"}]}'
        >>> given = ExecutionFiles(monitor="data_quality", at="2017-08-08T05:00:00Z", files={"constraint_violations.json": body})
        >>> [(found.name, found.drifted) for found in read_executions([given]).drift]
        [('price', True)]
    """
    problems: Counter[str] = Counter()
    ordered: dict[MonitorName, list[ExecutionFiles]] = {name: [] for name in MONITORS}
    for execution in sorted(executions, key=lambda e: e.at, reverse=True):
        ordered[execution.monitor].append(execution)
    newest = {name: found[0] for name, found in ordered.items() if found}
    documents = {name: _document(execution, (_MAIN[name],), problems) for name, execution in newest.items()}
    listed = {name: _violations(execution, problems) for name, execution in newest.items()}
    for name, document in documents.items():
        problems.update(_reported_problems(name, document))
    earlier = [
        _features(_violations(execution, Counter())) for execution in ordered["data_quality"][1 : max(1, of_windows)]
    ]
    return Executions(
        rows=_items(documents.get("data_quality", {})),
        labelled_rows=_items(documents.get("model_quality", {})),
        drift=_drift(documents.get("data_quality", {}), listed.get("data_quality", []), earlier, alarm_windows),
        quality=_quality(documents.get("model_quality", {}), listed.get("model_quality", [])),
        bias=_bias(documents.get("bias", {}), listed.get("bias", [])),
        attributions=_attributions(documents.get("explainability", {})),
        ndcg=_ndcg(listed.get("explainability", [])),
        violations=Violations(violations=tuple(_line(raw) for name in MONITORS for raw in listed.get(name, []))),
        reported={name: execution.at for name, execution in newest.items()},
        problems=dict(problems),
        analyzer=ANALYZER if any(d.get("analyzer") == ANALYZER for d in documents.values()) else None,
    )


def _document(execution: ExecutionFiles, names: Sequence[str], problems: Counter[str]) -> Mapping[str, Any]:
    body = next((execution.files[name] for name in names if name in execution.files), None)
    if body is None:
        return {}
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    problems[f"{execution.monitor}: {names[0]} is not a JSON object"] += 1
    return {}


def _reported_problems(monitor: MonitorName, document: Mapping[str, Any]) -> Mapping[str, int]:
    """Return the problems of reading that the platform's analyzer adds to Model Monitor's members."""
    if document.get("analyzer") != ANALYZER:
        return {}
    counts = {f"{monitor}: {reason}": _number(times) for reason, times in _mapping(document.get("problems")).items()}
    return {reason: int(times) for reason, times in counts.items() if times is not None}


def _violations(execution: ExecutionFiles, problems: Counter[str]) -> Sequence[Mapping[str, Any]]:
    document = _document(execution, VIOLATION_FILES, problems)
    listed = document.get("violations", [])
    if not isinstance(listed, list):
        problems[f"{execution.monitor}: violations are not a list"] += 1
        return []
    found = [raw for raw in listed if isinstance(raw, dict) and isinstance(raw.get("constraint_check_type"), str)]
    if len(found) < len(listed):
        problems[f"{execution.monitor}: a violation has no constraint_check_type"] += len(listed) - len(found)
    return found


def _features(violations: Iterable[Mapping[str, Any]]) -> set[str]:
    return {str(raw["feature_name"]) for raw in violations if raw.get("feature_name")}


def _items(statistics: Mapping[str, Any]) -> int:
    count = _number(_mapping(statistics.get("dataset")).get("item_count"))
    return 0 if count is None else int(count)


def _drift(
    statistics: Mapping[str, Any],
    violations: Sequence[Mapping[str, Any]],
    earlier: Sequence[set[str]],
    alarm_windows: int,
) -> tuple[FeatureDrift, ...]:
    reported: dict[str, list[Mapping[str, Any]]] = {}
    for raw in violations:
        reported.setdefault(str(raw.get("feature_name") or "dataset"), []).append(raw)
    known = {str(f["name"]): f for f in _list(statistics.get("features")) if isinstance(f, dict) and "name" in f}
    names = [*reported, *(name for name in known if name not in reported)]
    return tuple(_feature(name, reported.get(name, ()), known.get(name), earlier, alarm_windows) for name in names)


def _feature(
    name: str,
    violations: Sequence[Mapping[str, Any]],
    statistics: Mapping[str, Any] | None,
    earlier: Sequence[set[str]],
    alarm_windows: int,
) -> FeatureDrift:
    drifted = bool(violations)
    text = "; ".join(map(_description, violations))
    distances = [d for raw in violations if (d := _found(_DISTANCE, raw)) is not None]
    return FeatureDrift(
        name=name,
        psi=0.0,
        p_value=0.0 if drifted else 1.0,
        drifted=drifted,
        persistent=drifted and 1 + sum(name in features for features in earlier) >= alarm_windows,
        rule=RULE,
        description=text or None,
        l_infinity=max(distances, default=None),
        null_rate=_null_rate(statistics),
        feed_fault="; ".join(_description(raw) for raw in violations if raw["constraint_check_type"] in _OF_FEED)
        or None,
    )


def _description(violation: Mapping[str, Any]) -> str:
    return f"{violation['constraint_check_type']}: {violation.get('description', '')}"


def _null_rate(statistics: Mapping[str, Any] | None) -> Measured | None:
    kinds = ("numerical_statistics", "string_statistics", "common")
    found = next((_mapping((statistics or {}).get(kind)) for kind in kinds if (statistics or {}).get(kind)), {})
    common = _mapping(found.get("common", found))
    present, missing = _number(common.get("num_present")), _number(common.get("num_missing"))
    if present is None or missing is None or present + missing == 0:
        return None
    rows = int(present + missing)
    return Measured(name="null_rate", value=missing / rows, rows=rows)


def _quality(statistics: Mapping[str, Any], violations: Sequence[Mapping[str, Any]]) -> tuple[Measured, ...]:
    violated = {_metric_name(raw): raw for raw in violations}
    rows = _items(statistics)
    found = []
    for kind in _METRICS:
        for name, raw in _mapping(statistics.get(kind)).items():
            entry = _mapping(raw)
            value, spread = _number(entry.get("value")), _number(entry.get("standard_deviation"))
            if value is None:  # the confusion matrix and the curves
                continue
            margin = None if spread is None else NORMAL_QUANTILE * spread
            found.append(
                Measured(
                    name=name,
                    value=value,
                    low=None if margin is None else value - margin,
                    high=None if margin is None else value + margin,
                    rows=rows or None,
                    violated=name in violated,
                )
            )
    measured = {metric.name for metric in found}
    found += [Measured(name=name, value=None, violated=True) for name in violated if name and name not in measured]
    return tuple(found)


def _metric_name(raw: Mapping[str, Any]) -> str:
    if raw.get("metric_name"):
        return str(raw["metric_name"])
    match = _METRIC.search(str(raw.get("description", "")))
    return match.group(1) if match else str(raw.get("feature_name", ""))


def _bias(analysis: Mapping[str, Any], violations: Sequence[Mapping[str, Any]]) -> tuple[BiasMetric, ...]:
    violated = {(str(raw.get("facet")), str(raw.get("facet_value")), _metric_name(raw)) for raw in violations}
    found = []
    for section, stage in _STAGES:
        for facet, groups in _mapping(_mapping(analysis.get(section)).get("facets")).items():
            for group in _list(groups):
                value = str(_mapping(group).get("value_or_threshold", ""))
                for raw in _list(_mapping(group).get("metrics")):
                    name = str(_mapping(raw).get("name", ""))
                    measured = Measured(
                        name=name, value=_number(_mapping(raw).get("value")), violated=(facet, value, name) in violated
                    )
                    found.append(BiasMetric(facet=facet, facet_value=value, metric=measured, stage=stage))
    known = {(metric.facet, metric.facet_value, metric.metric.name) for metric in found}
    for facet, value, name in sorted(violated - known):
        found.append(
            BiasMetric(
                facet=facet,
                facet_value=value,
                metric=Measured(name=name, value=None, violated=True),
                stage="post_training",
            )
        )
    return tuple(found)


def _attributions(analysis: Mapping[str, Any]) -> Mapping[str, float] | None:
    for method in _mapping(analysis.get("explanations")).values():
        for label in _mapping(method).values():
            shap = _mapping(_mapping(label).get("global_shap_values"))
            values = {str(name): number for name, raw in shap.items() if (number := _number(raw)) is not None}
            if values:
                return values
    return None


def _ndcg(violations: Sequence[Mapping[str, Any]]) -> float | None:
    scores = [score for raw in violations if (score := _found(_ATTRIBUTION, raw)) is not None]
    return min(scores, default=None)


def _line(raw: Mapping[str, Any]) -> Violation:
    """Return a violation of any monitor as a line of the report, its subject as ``feature_name``."""
    about = [raw.get(name) for name in ("feature_name", "facet", "facet_value", "label", "metric_name")]
    return Violation(
        feature_name="/".join(str(part) for part in about if part not in (None, "")) or _metric_name(raw) or "dataset",
        constraint_check_type=str(raw["constraint_check_type"]),
        description=str(raw.get("description", "")),
    )


def _found(pattern: re.Pattern[str], raw: Mapping[str, Any]) -> float | None:
    match = pattern.search(str(raw.get("description", "")))
    return None if match is None else _number(match.group(1))


def _number(value: Any) -> float | None:
    """Return a finite number or None; the files may contain the string ``NaN`` and numbers as strings."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


class ModelMonitorReports:
    """One endpoint's executions in S3.

    Args:
        s3: Client.
        bucket: Bucket of the definitions' outputs.
        monitors: Scheduled monitors.
        prefix: Key prefix of all outputs, without a trailing slash. Default: ``model_monitor_prefix(endpoint)``.
    """

    def __init__(
        self, s3: "S3Client", *, bucket: str, endpoint: str, monitors: Sequence[MonitorName], prefix: str | None = None
    ) -> None:
        self._s3, self._bucket, self._endpoint = s3, bucket, endpoint
        self._monitors = tuple(monitors)
        self._prefix = model_monitor_prefix(endpoint) if prefix is None else prefix

    def of(self, window: Window) -> Iterator[ExecutionFiles]:
        """Yield the executions that analyzed hours of a window, each once.

        The key of an execution has the hour at which it was due; it analyzed the captures before that hour.

        Args:
            window: Whole hours; executions due after its start and up to its end are read.
        """
        for monitor in self._monitors:
            found: dict[str, dict[str, bytes]] = {}
            for hour, key in self._keys(monitor, window):
                name = key.rsplit("/", 1)[-1]
                if name in _READ:
                    body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
                    found.setdefault(hour, {})[name] = body
                else:  # a container may write other files only; the execution still counts
                    found.setdefault(hour, {})
            for at, files in found.items():
                yield ExecutionFiles(monitor=monitor, at=at, files=files)

    def _keys(self, monitor: MonitorName, window: Window) -> Iterator[tuple[str, str]]:
        """Yield the hour and key of each object of a window; one listing a day."""
        folder = f"{self._prefix}/{monitor}/{self._endpoint}/{schedule_name(self._endpoint, monitor)}/"
        pages = self._s3.get_paginator("list_objects_v2")
        first, last = window.start + HOUR, window.end
        day = first.astimezone(UTC).replace(hour=0)
        while day <= last:
            for page in pages.paginate(Bucket=self._bucket, Prefix=f"{folder}{day:%Y/%m/%d}/"):
                for entry in page.get("Contents", []):
                    due = hour_of(entry["Key"], folder)
                    if due is not None and first <= due <= last:
                        yield stamp(due), entry["Key"]
            day += timedelta(days=1)


def model_monitor_prefix(endpoint: str) -> str:
    """Return the key prefix of an endpoint's executions in the unit's bucket of artifacts.

    Example:
        >>> model_monitor_prefix("demand-forecast")
        'monitor/demand-forecast/model_monitor'
    """
    return f"monitor/{endpoint}/model_monitor"
