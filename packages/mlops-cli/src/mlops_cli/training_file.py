"""A file as the next training set of a pipeline: cut as its project recorded, published with naive baselines."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_cli.aws_account import UserError
from mlops_cli.project import RECORD, read_record

if TYPE_CHECKING:
    from mlops_runtime.contracts.unit_entries import PipelineEntry
    from mlops_runtime.training_data.published_set import PublishedSet
    from mlops_runtime.training_data.table_schema import TableSchema

_CHUNK = 1024 * 1024


def publish_file(
    s3: Any, entry: "PipelineEntry", data: Path, *, holdout_from: str | None, replace_newer: bool = False
) -> "PublishedSet":
    """Cut a file by time, and publish both parts below the pipeline's prefix.

    Args:
        s3: Client that may write there.
        entry: The pipeline.
        data: A Parquet or CSV file.
        holdout_from: First time of the holdout. Default: as the project says, else the last 15 % of the rows.
        replace_newer: Whether the rows may end before those of the set that is there.

    Raises:
        UserError: If the pipeline takes no file, or with every problem of the file; nothing is published then.
    """
    from mlops_runtime.training_data.file_split import split_file
    from mlops_runtime.training_data.published_set import PublishError, publish
    from mlops_runtime.training_data.table_file import TableError

    if entry.training_set is None or entry.label is None or entry.timestamp is None:
        why = (
            "builds its training sets from the feature store"
            if entry.training_set is None
            else "names no timestamp in its evaluation, without which a file cannot be cut"
        )
        raise UserError(f"--data cannot be used: the pipeline {entry.pipeline} {why}; leave --data out")
    try:
        schema = _recorded(entry) or _read(entry, data, holdout_from)
        split = split_file(data, schema, holdout_from=holdout_from)
        return publish(
            s3,
            entry.training_set,
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


def _recorded(entry: "PipelineEntry") -> "TableSchema | None":
    """Return the schema of the project that one stands in, if the pipeline is one of its own."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / RECORD).is_file():
            model = read_record(folder)[0].model_of(entry.pipeline)
            return None if model is None else model.schema
    return None


def _read(entry: "PipelineEntry", data: Path, holdout_from: str | None) -> "TableSchema":
    from mlops_runtime.training_data.table_schema import WEEK, read_schema

    key = None if entry.block == WEEK else entry.block
    schema = read_schema(data, label=str(entry.label), time=entry.timestamp, key=key, holdout_from=holdout_from)
    return replace(schema, cluster=schema.block)  # a script that was not made takes a column more for an input


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
