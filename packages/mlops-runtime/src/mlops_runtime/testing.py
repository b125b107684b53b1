"""What the tests of a model's project import: training, evaluation and gate without a cloud, on generated or own rows.

The test that ``mlops new`` writes uses rows generated from the recorded schema; ``rehearse`` takes rows of a test.
``mlops_constructs.testing`` checks stacks.

Example:
    >>> column = {"name": "price", "type": "number", "kind": "float", "nullable": False, "low": 1, "high": 3}
    >>> document = {
    ...     "format": "mlops.table-schema/1", "label": "units", "label_kind": "number", "metric": "wape", "time": "day",
    ...     "block": "block_week", "cluster": "block_week", "baselines": ["naive_median"], "inputs": [column], "left_out": [],
    ...     "rows": 0, "holdout_rows": 0, "minimum_rows": 0}
    >>> import json
    >>> schema = Path("schema.json")
    >>> _ = schema.write_text(json.dumps(document))
    >>> rows = sample_rows(schema)
    >>> rows.column_names, rows.num_rows
    (['price', 'day', 'units'], 2400)
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.model import GateVerdict
from mlops_runtime.contracts.retraining import EvaluationPlan, GateSpec, SignaturePlan, TrainingSetPlan
from mlops_runtime.features.feature_group import FeatureGroup
from mlops_runtime.image.requirements_lock import RequirementsLock
from mlops_runtime.jobs.pipeline_rehearsal import Rehearsal, rehearse
from mlops_runtime.serving.model_source import ModelEnvironment
from mlops_runtime.training_data.feature_rows import write_rows
from mlops_runtime.training_data.sample_rows import sample_splits, sample_table
from mlops_runtime.training_data.table_schema import TableSchema

if TYPE_CHECKING:
    from mlops_runtime.features.training_set import TrainingSet

__all__ = [
    "GateVerdict",
    "ModelEnvironment",
    "Rehearsal",
    "SignaturePlan",
    "rehearse",
    "rehearse_with_sample_rows",
    "sample_rows",
    "this_environment",
    "training_set_of_sample_rows",
]

_HOLDOUT_DAYS = 100  # of the sample rows, which cover 100 weeks


def this_environment(lock: Path, *, trust: Sequence[str]) -> ModelEnvironment:
    """Return the running Python as the environment of a model.

    Args:
        lock: The model's lock file, with the packages that this environment should have.
        trust: What loading a model may do, as in ``ModelRegistry(trust=)``.

    Raises:
        RequirementsError: If the lock file is invalid.
    """
    parsed = RequirementsLock.parsed(lock.read_bytes())
    return ModelEnvironment(python=Path(sys.executable), requirements_sha256=parsed.sha256, trusts=tuple(trust))


def sample_rows(schema: Path) -> Any:
    """Return rows generated from a schema, as an Arrow table; the same schema gives the same rows.

    Args:
        schema: The file ``schema.json`` that ``mlops new`` wrote.
    """
    return sample_table(_read(schema))


def rehearse_with_sample_rows(
    schema: Path,
    *,
    code: Path,
    script: str,
    inputs: Sequence[str],
    evaluation: EvaluationPlan,
    gate: GateSpec,
    lock: Path,
    trust: Sequence[str],
    folder: Path,
    promises: Sequence[Path] = (),
) -> Rehearsal:
    """Train, evaluate and run the gate as in the account, in this environment, on rows generated from a schema.

    The rows are split by time, with the naive baselines of ``mlops train --data``.

    Args:
        schema: The file ``schema.json`` that ``mlops new`` wrote.
        code: Folder with the training code, as in ``TrainingJob(source=)``.
        script: The script in it.
        inputs: Columns of a request, in the model's order.
        evaluation: The stack's plan.
        gate: The stack's gate.
        lock: The model's lock file.
        trust: What loading the model may do, as in ``ModelRegistry(trust=)``.
        folder: An empty folder to work in.
        promises: Request formats that APIs of the endpoint promise, files of ``mlops api schema``. Default: none.

    Raises:
        JobError: If the script fails, writes no model that can be served, or the rows do not fit the plan.
    """
    read = _read(schema)
    split = sample_splits(read, folder)
    return rehearse(
        code=code,
        script=script,
        train_rows=split.train,
        holdout_rows=split.holdout,
        evaluation=evaluation,
        gate=gate,
        folder=folder / "rehearsal",
        environment=this_environment(lock, trust=trust),
        signature=SignaturePlan(label=evaluation.label, kind=read.prediction_kind, inputs=tuple(inputs)),
        promises=promises,
    )


def training_set_of_sample_rows(
    schema: Path, *, groups: Sequence[FeatureGroup], plan: TrainingSetPlan, folder: Path
) -> "TrainingSet":
    """Write rows generated from a schema to a feature store in a folder, as ``mlops train --data`` does, and build a training set.

    Args:
        schema: The file ``schema.json`` that ``mlops new`` wrote.
        groups: The model's feature groups.
        plan: The stack's plan; the holdout has the last 100 days, because the rows cover two years.
        folder: An empty folder to work in.
    """
    from mlops_runtime.features.store_client import FeatureStoreClient  # noqa: PLC0415 - an extra

    read, path = _read(schema), folder / "rows.parquet"
    pq.write_table(sample_table(read), path)
    client = FeatureStoreClient.local(folder / "store")
    write_rows(client, path, read, groups)
    return client.split_training_set(replace(plan, holdout_days=_HOLDOUT_DAYS), as_of=datetime.now(UTC))


def _read(schema: Path) -> TableSchema:
    return from_json(TableSchema, schema.read_bytes())
