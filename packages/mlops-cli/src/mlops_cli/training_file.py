"""Use a data file for training: publish it as a pipeline's training set, or write it to the unit's feature store."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_cli.aws_account import Account, UserError
from mlops_cli.feature_location import deployed, load_groups
from mlops_cli.project import RECORD, ModelAnswers, read_record

if TYPE_CHECKING:
    from mlops_runtime.contracts.unit_entries import PipelineEntry
    from mlops_runtime.training_data.feature_rows import WrittenRows
    from mlops_runtime.training_data.published_set import PublishedSet
    from mlops_runtime.training_data.table_schema import TableSchema

_CHUNK = 1024 * 1024


def publish_file(
    s3: Any, entry: "PipelineEntry", data: Path, *, holdout_from: str | None, replace_newer: bool = False
) -> "PublishedSet":
    """Split a file by time, and publish both parts below the pipeline's prefix.

    Args:
        s3: Client with write access to the prefix.
        entry: A pipeline that reads published sets.
        data: A Parquet or CSV file.
        holdout_from: Start time of the holdout. Default: from the project, else the last 15 % of the rows.
        replace_newer: Whether the rows may end before those of the published set.

    Raises:
        UserError: If the pipeline does not accept a file, or with all problems of the file; then nothing is published.
    """
    from mlops_runtime.training_data.file_split import split_file
    from mlops_runtime.training_data.published_set import PublishError, publish
    from mlops_runtime.training_data.table_file import TableError

    if entry.label is None or entry.timestamp is None:
        raise UserError(
            f"--data cannot be used: the evaluation of the pipeline {entry.pipeline} has no timestamp to split a file by; omit "
            "--data"
        )
    try:
        recorded = _recorded(entry)
        schema = _read(entry, data, holdout_from) if recorded is None else recorded[1].schema
        split = split_file(data, schema, holdout_from=holdout_from)
        return publish(
            s3,
            str(entry.training_set),
            split.train,
            split.holdout,
            label=entry.label,
            timestamp=entry.timestamp,
            baselines=entry.baselines or (),
            block=entry.block,
            source={"file": data.name, "sha256": _sha256(data)},
            replace_newer=replace_newer,
        )
    except TableError as error:
        raise UserError(f"nothing was published: {error}") from error
    except PublishError as error:
        raise UserError(str(error)) from error


def store_file(aws: Account, entry: "PipelineEntry", data: Path) -> "tuple[WrittenRows, ...]":
    """Write the new rows of a file to the unit's feature store, as known at their own times.

    Args:
        aws: The account.
        entry: A pipeline that builds its training sets from the store.
        data: A Parquet or CSV file.

    Raises:
        UserError: If the pipeline does not belong to the current project, or with all problems of the file.
    """
    recorded = _recorded(entry)
    if recorded is None or not recorded[1].groups:
        raise UserError(
            f"--data cannot be used: the pipeline {entry.pipeline} builds its training sets from the feature store; run this in "
            "the folder of its project, if that was created by mlops new --feature-store, or write rows with mlops features ingest "
            "and omit --data"
        )
    folder, model = recorded
    try:
        from mlops_runtime.features.batch_delivery import AnnounceError
        from mlops_runtime.training_data.feature_rows import write_rows
        from mlops_runtime.training_data.table_file import TableError

        client = deployed(entry.unit, aws).client
    except ImportError as error:
        raise UserError(f"mlops train --data needs {error.name}; run: pip install 'mlops-runtime[features]'") from error
    _, declared = load_groups(f"{model.package}.features:GROUPS", folder)
    own = {group.name for group in model.groups}
    groups = [group for group in declared if group.name in own]
    try:
        return write_rows(client, data, model.schema, groups)
    except TableError as error:
        raise UserError(f"nothing was written: {error}") from error
    except (ValueError, OSError, AnnounceError) as error:
        raise UserError(" ".join(str(error).split())) from error


def _recorded(entry: "PipelineEntry") -> tuple[Path, ModelAnswers] | None:
    """Return the folder of the current project and its model of the pipeline; ``None`` if there is no such model."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / RECORD).is_file():
            model = read_record(folder)[0].model_of(entry.pipeline)
            return None if model is None else (folder, model)
    return None


def _read(entry: "PipelineEntry", data: Path, holdout_from: str | None) -> "TableSchema":
    from mlops_runtime.training_data.table_schema import WEEK, read_schema

    key = None if entry.block == WEEK else entry.block
    schema = read_schema(data, label=str(entry.label), time=entry.timestamp, key=key, holdout_from=holdout_from)
    return replace(schema, cluster=schema.block)  # a hand-written script would use an additional column as input


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
