"""``python -m mlops_runtime.jobs.model_monitor``: an analyzer with the contract of AWS's Model Monitor container.

It replaces the image ``sagemaker-model-monitor-analyzer`` where that is not available, and identifies itself in its results.
See: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-contract-inputs.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-contract-outputs.html
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlops_runtime.contracts import to_dict
from mlops_runtime.jobs.job_environment import JobError, OptMl
from mlops_runtime.monitor.counting.capture_lines import is_since
from mlops_runtime.monitor.model_monitor.captured_records import (
    INPUT,
    OUTPUT,
    Record,
    RecordError,
    read_record,
    rows_of,
    value_of,
)
from mlops_runtime.monitor.model_monitor.constraints import (
    Constraints,
    ConstraintsError,
    evaluate,
    numerical_distance,
    read_constraints,
)
from mlops_runtime.monitor.model_monitor.executions import ANALYZER
from mlops_runtime.monitor.model_monitor.profile import Column, profile, statistics_document
from mlops_runtime.monitor.model_monitor.quality_file import QualityError, quality_statistics, quality_violations
from mlops_runtime.monitor.monitors.classification import THRESHOLD, usable
from mlops_runtime.monitor.monitors.rows import Rows

_FORMATS = ("sagemakerCaptureJson", "sagemakerMergeJson")
_UNSUPPORTED = ("record_preprocessor_script", "post_analytics_processor_script")


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Settings of an analysis, from the environment."""

    source: Path  # folder of the data, with hours below endpoint and variant
    output: Path  # folder of the results
    indexes: tuple[str, ...]  # sides of a call to read
    start: str  # earlier calls are skipped (ISO 8601); empty for all
    end: str  # calls from it on are skipped; empty for all
    constraints: Path | None  # path of the baseline's `constraints.json`; None if it is missing
    statistics: Path | None  # path of its `statistics.json`; None if it is missing
    publishes: bool  # whether CloudWatch metrics are written
    dimensions: Mapping[str, str]  # dimensions of these metrics
    problem_type: str | None  # problem type of a model-quality analysis; None for data quality
    inference: str  # attribute of the prediction
    probability: str | None  # attribute of the probability; None without one
    threshold: float  # probability above which a prediction is positive

    @property
    def of_metrics(self) -> Mapping[str, Any]:
        """Time and dimensions of every CloudWatch metric."""
        dimensions = [{"Name": name, "Value": value} for name, value in self.dimensions.items()]
        return {"Timestamp": self.start or self.end, "Dimensions": dimensions}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Analysis":
        """Read the variables of the contract.

        Raises:
            JobError: With every variable that is missing or has an unsupported value.
        """
        problems = [
            f"{name} is not set"
            for name in ("dataset_format", "dataset_source", "output_path")
            if name not in environment
        ]
        problems += [
            f"{name} is not supported by this analyzer, got {environment[name]!r}"
            for name in _UNSUPPORTED
            if name in environment
        ]
        try:
            given = json.loads(environment.get("dataset_format", "{}"))
        except ValueError:
            given = None
        kind = next((name for name in _FORMATS if isinstance(given, dict) and name in given), None)
        if "dataset_format" in environment and kind is None:
            problems.append(
                f"dataset_format must be one of {' or '.join(_FORMATS)}, got {environment['dataset_format']!r}"
            )
        is_quality = environment.get("analysis_type") == "MODEL_QUALITY"
        if is_quality and kind == "sagemakerCaptureJson":
            problems.append("analysis_type MODEL_QUALITY needs records merged with labels, got captures")
        if problems:
            raise JobError("; ".join(problems))
        names = (given or {}).get(str(kind), {}).get("captureIndexNames") or [INPUT, OUTPUT]
        dimensions = {"Endpoint": "sagemaker_endpoint_name", "MonitoringSchedule": "sagemaker_monitoring_schedule_name"}
        return cls(
            source=Path(environment["dataset_source"]),
            output=Path(environment["output_path"]),
            indexes=tuple(names),
            # the times in the contract's own example contain spaces
            start=environment.get("start_time", "").replace(" ", ""),
            end=environment.get("end_time", "").replace(" ", ""),
            constraints=_path(environment, "baseline_constraints"),
            statistics=_path(environment, "baseline_statistics"),
            publishes=environment.get("publish_cloudwatch_metrics") == "Enabled",
            dimensions={
                name: environment[variable] for name, variable in dimensions.items() if variable in environment
            },
            problem_type=environment.get("problem_type") if is_quality else None,
            inference=environment.get("inference_attribute", "0"),
            probability=environment.get("probability_attribute"),
            threshold=float(environment.get("probability_threshold_attribute", THRESHOLD)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Results of an analysis."""

    statistics: Mapping[str, Any]
    violations: Sequence[Mapping[str, Any]]
    metrics: Sequence[Mapping[str, Any]] = ()


def analyze(analysis: Analysis) -> Findings:
    """Return statistics and violations of the data in the source folder.

    Raises:
        JobError: If there is no record, or baseline files cannot be used.
    """
    problems: Counter[str] = Counter()
    records = (
        list(records_of(analysis, problems)) if analysis.problem_type is not None else records_of(analysis, problems)
    )
    try:
        found = _quality(analysis, records) if analysis.problem_type is not None else _data(analysis, records, problems)
    except (ConstraintsError, QualityError) as error:
        raise JobError(str(error)) from error
    report = {"analyzer": ANALYZER, "problems": dict(problems)}
    return Findings(statistics={**found.statistics, **report}, violations=found.violations, metrics=found.metrics)


def records_of(analysis: Analysis, problems: Counter[str]) -> Iterator[Record]:
    """Yield the calls of the window; "we sometimes download more than what is specified by the start and end times"."""
    for path in sorted(analysis.source.rglob("*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                if not line.strip():
                    continue
                try:
                    record = read_record(line)
                except RecordError as error:
                    problems[str(error)] += 1
                    continue
                is_in = not analysis.start or is_since(record.time, analysis.start)
                if is_in and not (record.time and analysis.end and is_since(record.time, analysis.end)):
                    yield record


def write(findings: Findings, analysis: Analysis, root: OptMl) -> None:
    """Write the files of the contract, and the message that becomes ``ExitMessage``."""
    analysis.output.mkdir(parents=True, exist_ok=True)
    documents = {
        "statistics.json": findings.statistics,
        "constraint_violations.json": {"violations": findings.violations},
    }
    for name, document in documents.items():
        (analysis.output / name).write_text(json.dumps(document, indent=1))
    if analysis.publishes and findings.metrics:
        folder = root.root / "output" / "metrics" / "cloudwatch"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cloudwatch_metrics.jsonl").write_text(
            "".join(json.dumps(metric) + "\n" for metric in findings.metrics)
        )
    write_message(root, len(findings.violations))


def write_message(root: OptMl, violations: int) -> None:
    """Write the result of the job, in the words of AWS's container."""
    root.write_message(
        f"CompletedWithViolations: Job completed successfully with {violations} violations."
        if violations
        else "Completed: Job completed successfully with no violations."
    )


def document(path: Path | None, what: str) -> Mapping[str, Any]:
    """Return a JSON file of the baseline.

    Raises:
        JobError: If the file is missing or not a JSON object.
    """
    if path is None:
        raise JobError(f"{what} is not set: there is no baseline to compare with")
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise JobError(f"{what} {path.name} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise JobError(f"{what} {path.name} must be a JSON object")
    return found


def run(environment: Mapping[str, str]) -> None:
    """Run one analysis.

    Raises:
        JobError: As in `Analysis.from_environment` and `analyze`.
    """
    analysis = Analysis.from_environment(environment)
    findings = analyze(analysis)
    write(findings, analysis, OptMl.from_environment(environment))
    rows = findings.statistics["dataset"]["item_count"]
    sys.stdout.write(f"{len(findings.violations)} violations of {rows} rows\n")


def main() -> None:
    """Run the job; an error is its last line of output."""
    try:
        run(os.environ)
    except JobError as error:
        sys.exit(f"model_monitor: {error}")


def _data(analysis: Analysis, records: Iterator[Record] | list[Record], problems: Counter[str]) -> Findings:
    constraints = read_constraints(document(analysis.constraints, "baseline_constraints"))
    baseline = {} if analysis.statistics is None else document(analysis.statistics, "baseline_statistics")
    names = [feature.name for feature in constraints.features]

    def rows() -> Iterator[Mapping[str, Any]]:
        for record in records:
            try:
                yield from rows_of(record, names, analysis.indexes)
            except RecordError as error:
                problems[str(error)] += 1

    columns, count = profile(rows(), names)
    if count == 0:
        reasons = "; ".join(f"{reason} ({times} times)" for reason, times in problems.items())
        raise JobError(f"the window has no row{': ' + reasons if reasons else ''}")
    found = evaluate(constraints, baseline, columns)
    return Findings(
        statistics=statistics_document(columns.values(), count),
        violations=[to_dict(violation) for violation in found],
        metrics=list(_metrics(analysis, constraints, columns, baseline)) if constraints.emits_metrics else (),
    )


def _metrics(
    analysis: Analysis, constraints: Constraints, columns: Mapping[str, Column], baseline: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    known = {f.get("name"): f.get("numerical_statistics") for f in baseline.get("features", []) if isinstance(f, dict)}
    for feature in constraints.features:
        column = columns.get(feature.name)
        if column is None:
            continue
        present = {"MetricName": f"feature_non_null_{feature.name}", "Value": float(column.present), "Unit": "Count"}
        yield {**analysis.of_metrics, **present}
        numbers = column.numbers
        if not len(numbers):
            continue
        statistics = {
            "SampleCount": len(numbers),
            "Sum": numbers.sum(),
            "Minimum": numbers.min(),
            "Maximum": numbers.max(),
        }
        values = {name: float(value) for name, value in statistics.items()}
        yield {**analysis.of_metrics, "MetricName": f"feature_data_{feature.name}", "StatisticValues": values}
        distance = numerical_distance(known.get(feature.name) or {}, numbers, is_robust=feature.thresholds.is_robust)
        if distance is not None:
            drift = {"MetricName": f"feature_baseline_drift_{feature.name}", "Value": distance}
            yield {**analysis.of_metrics, **drift}


def _quality(analysis: Analysis, records: Iterator[Record] | list[Record]) -> Findings:
    problem_type = str(analysis.problem_type)
    pairs = [
        (number(value_of(row, analysis.probability or analysis.inference)), number(label))
        for record in records
        if record.labels is not None and len(record.labels) == len(record.sides.get(OUTPUT, ()))
        for row, label in zip(record.sides[OUTPUT], record.labels, strict=True)
    ]
    table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    table = table[np.isfinite(table).all(axis=1)]
    rows = Rows.of(table[:, 0], table[:, 1])
    if problem_type == "BinaryClassification":
        rows = rows.where(usable(rows))
    if not len(rows):
        raise JobError("no call of the window has a label and a prediction that are numbers")
    times = {"start_time": analysis.start, "end_time": analysis.end, "evaluation_time": analysis.end}
    statistics = quality_statistics(rows, problem_type, threshold=analysis.threshold, times=times)
    violations = quality_violations(statistics, document(analysis.constraints, "baseline_constraints"), problem_type)
    section = next(value for name, value in statistics.items() if name.endswith("_metrics"))
    metrics = [
        {"MetricName": name, **analysis.of_metrics, "Value": entry["value"]}
        for name, entry in section.items()
        if "value" in entry
    ]
    return Findings(statistics=statistics, violations=violations, metrics=metrics)


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    return Path(environment[name]) if environment.get(name) else None


def number(value: Any) -> float:
    """Return a captured value as a number, NaN if it is not one."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


if __name__ == "__main__":
    main()
