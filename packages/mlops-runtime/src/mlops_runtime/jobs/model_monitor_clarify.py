"""``python -m mlops_runtime.jobs.model_monitor_clarify``: a replacement for Clarify's container in schedules, bias or attributions.

It replaces the image ``sagemaker-clarify-processing`` where that is not available. Attributions require the package ``shap``.
"""

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlops_runtime.jobs.job_environment import JobError, OptMl
from mlops_runtime.jobs.model_monitor import Analysis, document, number, records_of, write_message
from mlops_runtime.monitor.model_monitor.captured_records import INPUT, OUTPUT, Record, RecordError, rows_of, value_of
from mlops_runtime.monitor.model_monitor.clarify_files import (
    BiasConfig,
    ClarifyError,
    attribution_analysis,
    bias_analysis,
    read_bias_config,
    worse,
)
from mlops_runtime.monitor.model_monitor.executions import ANALYZER, ExecutionFiles, MonitorName, read_executions
from mlops_runtime.monitor.monitors.attribution_ranking import AttributionError, attribution_violations, compare
from mlops_runtime.monitor.monitors.attributions import mean_absolute_shap
from mlops_runtime.monitor.monitors.facet_bias import of_holdout
from mlops_runtime.monitor.monitors.rows import Rows, Texts
from mlops_runtime.registry.model_package import MODEL_SHA256
from mlops_runtime.serving.model_source import ModelEnvironment, archived_model
from mlops_runtime.serving.request_payload import CSV, JSON, PayloadError, Reader
from mlops_runtime.serving.served_model import CategoryCodes, ModelError, ServedModel

_MINIMUM_NDCG = 0.9
_ROWS = 500  # explained rows, spread evenly over the window
_SEED = 7
_LABEL = "label0"
ModelOf = Callable[[str], AbstractContextManager[ServedModel]]


def run(environment: Mapping[str, str], model_of: ModelOf) -> None:
    """Run one analysis: attributions if the configuration has the method SHAP, else bias.

    Raises:
        JobError: If the configuration, a baseline or the data cannot be used.
    """
    analysis = replace(Analysis.from_environment(environment), problem_type=None)
    config = document(
        Path(environment["analysis_config"]) if "analysis_config" in environment else None, "analysis_config"
    )
    problems: Counter[str] = Counter()
    records = list(records_of(analysis, problems))
    explains = "shap" in (config.get("methods") or {})
    try:
        if explains:
            result, violations = _attributions(config, analysis, records, model_of)
        else:
            result, violations = _bias(config, analysis, records)
    except (ClarifyError, AttributionError, ModelError, PayloadError, RecordError) as error:
        raise JobError(str(error)) from error
    analysis.output.mkdir(parents=True, exist_ok=True)
    report = {**result, "analyzer": ANALYZER, "problems": dict(problems)}
    files = {"analysis.json": report, "constraint_violations.json": {"version": "1.0", "violations": violations}}
    for name, content in files.items():
        (analysis.output / name).write_text(json.dumps(content, indent=1))
    write_message(OptMl.from_environment(environment), len(violations))
    sys.stdout.write(f"{len(violations)} violations of {len(records)} calls\n")


def main() -> None:
    """Run the job; an error is its last line of output."""
    try:
        run(os.environ, _deployed)
    except JobError as error:
        sys.exit(f"model_monitor_clarify: {error}")


def _bias(
    config: Mapping[str, Any], analysis: Analysis, records: Sequence[Record]
) -> tuple[dict[str, object], list[Any]]:
    bias_config = read_bias_config(config)
    rows = _labelled(bias_config, analysis, records)
    if not len(rows):
        raise JobError("no call of the window has a label and a prediction that are numbers")
    absent = sorted({facet.name for facet in bias_config.facets} - set(rows.columns))
    if absent:
        raise JobError(
            f"facets must be columns of the input, {', '.join(map(repr, absent))} are not; name them in headers"
        )
    values, _ = of_holdout(rows, bias_config.facets, positive=bias_config.positive, strata=())
    baseline = _read("bias", analysis).bias
    return bias_analysis(values, bias_config.label), worse(baseline, values)


def _labelled(bias_config: BiasConfig, analysis: Analysis, records: Sequence[Record]) -> Rows:
    table: list[tuple[int, float, float]] = []
    texts: dict[str, list[str | None]] = {facet.name: [] for facet in bias_config.facets}
    known: set[str] = set()
    attribute = analysis.probability or analysis.inference
    for call, record in enumerate(records):
        outputs = record.sides.get(OUTPUT, ())
        if record.labels is None or len(record.labels) != len(outputs):
            continue
        inputs = rows_of(record, bias_config.headers, (INPUT,))
        for row, output, label in zip(inputs, outputs, record.labels, strict=True):
            pair = number(value_of(output, attribute)), number(label)
            if not np.isfinite(pair).all():
                continue
            table.append((call, *pair))
            known |= row.keys()
            for name, column in texts.items():
                value = row.get(name)
                column.append(None if value is None or value == "" else str(value))
    found = np.array(table, dtype=np.float64).reshape(-1, 3)
    columns = {name: Texts.of(column) for name, column in texts.items() if name in known}
    return Rows.of(found[:, 1], found[:, 2], call=found[:, 0].astype(np.int64), columns=columns)


def _attributions(
    config: Mapping[str, Any], analysis: Analysis, records: Sequence[Record], model_of: ModelOf
) -> tuple[dict[str, object], list[Any]]:
    name = (config.get("predictor") or {}).get("model_name")
    background = config["methods"]["shap"].get("baseline")
    problems = [
        None if isinstance(name, str) else f"predictor must have a model_name, got {name!r}",
        None
        if isinstance(background, list) and background
        else "shap must have a baseline with rows: this analyzer neither reads a URI nor computes one",
    ]
    if any(problems):
        raise JobError("; ".join(filter(None, problems)))
    with model_of(str(name)) as model:
        names = [column.name for column in model.signature.inputs]
        reader = Reader(model.signature)
        rows = [[row.get(each) for each in names] for record in records for row in rows_of(record, names, (INPUT,))]
        if not rows:
            raise JobError("the window has no row to explain")
        chosen = [rows[int(place)] for place in np.linspace(0, len(rows) - 1, min(_ROWS, len(rows)))]
        # captures of CSV contain strings, those of JSON the values that the caller sent
        seen = [reader.rows([row], CSV if all(isinstance(value, str) for value in row) else JSON) for row in chosen]
        codes = CategoryCodes(model.signature)
        compared, explained = codes.of(reader.rows(background, JSON)), codes.of(np.concatenate(seen))
        values = mean_absolute_shap(model.predict, compared, explained, names, seed=_SEED)
    baseline = _read("explainability", analysis).attributions
    if baseline is None:
        raise JobError("baseline_constraints must be the analysis.json of a baseline with global_shap_values")
    violations = attribution_violations(baseline, compare(baseline, values, _MINIMUM_NDCG), _MINIMUM_NDCG, _LABEL)
    return attribution_analysis(values, _LABEL), violations


def _read(monitor: MonitorName, analysis: Analysis) -> Any:
    """Read the ``analysis.json`` of the baseline."""
    body = json.dumps(document(analysis.constraints, "baseline_constraints")).encode()
    return read_executions([ExecutionFiles(monitor=monitor, at="", files={"analysis.json": body})])


@contextmanager
def _deployed(name: str) -> Iterator[ServedModel]:
    import boto3  # noqa: PLC0415 - only attributions ask AWS

    described = boto3.client("sagemaker").describe_model(ModelName=name)
    container = described.get("PrimaryContainer") or described["Containers"][0]
    expected = container.get("Environment", {}).get(MODEL_SHA256)
    if expected is None:
        raise JobError(f"model {name} must have {MODEL_SHA256} in its environment, else any model would be explained")
    bucket, _, key = container["ModelDataUrl"].removeprefix("s3://").partition("/")
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "model.tar.gz"
        boto3.client("s3").download_file(bucket, key, str(archive))
        environment = ModelEnvironment.from_variables(os.environ)
        with archived_model(archive, environment, expected_sha256=expected) as model:
            yield model


if __name__ == "__main__":
    main()
