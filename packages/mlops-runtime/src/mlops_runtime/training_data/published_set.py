"""Publish two splits as the training set of a pipeline that reads it from S3.

Below the pipeline's prefix are ``train/`` and ``holdout/`` (Parquet) and ``manifest/`` (one JSON), which has the hash of each
file. Everything is first uploaded beside them and finally copied within S3, the manifest last: an upload that is interrupted
changes nothing, and the evaluation rejects files that differ from the manifest. Rows that end before those of the current set are
rejected, because later models would be trained and evaluated on the past.

See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/copy-object.html
See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from botocore.exceptions import ClientError

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.features import Build, Output, OutputFile, PinnedTable, Semantics, TrainingSetManifest
from mlops_runtime.iso_time import parse_time, with_offset
from mlops_runtime.training_data.baseline_names import baseline_problems
from mlops_runtime.training_data.naive_baselines import with_baselines

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_FILE = "part-0.parquet"
_MANIFEST = "manifest/manifest.json"
_PANDAS_INDEX = "__index_level_"
_SHA256 = "sha256"  # of a file, in its object's metadata
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")  # S3's error codes for a failed condition
_BETWEEN = "another publish to the same pipeline happened at the same time; publish again"


class PublishError(ValueError):
    """A training set cannot be published.

    Args:
        problems: Each with the value got, what is allowed and the fix.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"nothing was published: {'; '.join(self.problems)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSet:
    """A training set in the form that a pipeline reads."""

    id: str  # hash of its manifest, to which evaluations refer
    place: str  # the `s3://` prefix
    train_rows: int  # rows of the training split
    holdout_rows: int
    split: Mapping[str, str]  # times `trained_until`, `holdout_from` and `holdout_until`


def publish(
    s3: "S3Client",
    place: str,
    train: Any,
    holdout: Any,
    *,
    label: str,
    timestamp: str,
    baselines: Sequence[str] = (),
    block: str | None = None,
    source: Mapping[str, str] | None = None,
    replace_newer: bool = False,
) -> PublishedSet:
    """Publish both splits with their naive baselines and manifest.

    Args:
        s3: Client that may write below the prefix.
        place: ``PipelineEntry.training_set``, ``s3://bucket/prefix``.
        train: The training split: an Arrow table, a pandas or polars frame.
        holdout: The holdout; its first time must be after the newest one of the training split.
        label: The column to predict.
        timestamp: The column with the time of prediction.
        baselines: Columns with naive predictions; those of ``naive_baselines`` are computed here.
        block: The column whose values are the blocks of the gate's bootstrap. Default: not checked.
        source: Origin of the rows, for the manifest. Default: nothing.
        replace_newer: Whether the rows may end before those of the current set, to replace a wrong one. Default: they are
            rejected.

    Raises:
        PublishError: With every problem of the splits, or if the current set is newer, before anything is written; or if
            another publish happened at the same time.
    """
    tables = {"train": as_table(train), "holdout": as_table(holdout)}
    problems = list(_problems(place, tables, label=label, timestamp=timestamp, baselines=baselines, block=block))
    if problems:
        raise PublishError(problems)
    made = with_baselines(tables["train"], tables["holdout"], baselines, label=label, timestamp=timestamp)
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    present = _present(s3, bucket, prefix)
    if not replace_newer and (problem := _newer(present, holdout_until=_times(*made, timestamp)["holdout_until"])):
        raise PublishError([problem])
    with tempfile.TemporaryDirectory(prefix="mlops-publish-") as folder:
        files = {name: _written(Path(folder), name, table) for name, table in zip(tables, made, strict=True)}
        manifest = _manifest(prefix, made, list(files.values()), timestamp, source)
        identity = content_hash(manifest)
        beside = {name: f"{prefix}/publishing/{identity}/{name}.parquet" for name in files}
        try:
            for name, key in beside.items():
                s3.upload_file(str(Path(folder) / f"{name}.parquet"), bucket, key)
            _replace(s3, bucket, prefix, beside, canonical_json(manifest), files=files, present=present)
        finally:
            for key in beside.values():
                s3.delete_object(Bucket=bucket, Key=key)
    return PublishedSet(
        id=identity, place=place, train_rows=made[0].num_rows, holdout_rows=made[1].num_rows, split=manifest.split
    )


def as_table(rows: Any) -> Any:
    """Return rows as an Arrow table without pandas' index; a pandas or polars frame is converted.

    Raises:
        PublishError: If it is not a table.
    """
    got = type(rows).__name__
    try:
        if type(rows).__module__.partition(".")[0] == "pandas":
            rows = pa.Table.from_pandas(rows, preserve_index=False)
        table = rows if isinstance(rows, pa.Table) else pa.table(rows)
    except (AttributeError, TypeError, ValueError, pa.ArrowException) as error:
        why = " ".join(str(part) for part in error.args) or type(error).__name__
        raise PublishError(
            [
                f"rows must be an Arrow table, or a pandas or polars frame, got {got}: {why}; "
                "give each column a unique name and values of one type"
            ]
        ) from error
    index = [name for name in table.column_names if name.startswith(_PANDAS_INDEX)]
    return table.drop_columns(index) if index else table


def _problems(
    place: str, tables: Mapping[str, Any], *, label: str, timestamp: str, baselines: Sequence[str], block: str | None
) -> Iterator[str]:
    if not place.startswith("s3://") or not place.removeprefix("s3://").partition("/")[2].strip("/"):
        yield f"the location must be s3://bucket/prefix, got {place!r}"
    train, holdout = tables["train"], tables["holdout"]
    for name, table in tables.items():
        if table.num_rows == 0:
            yield f"split {name!r} must have rows, got none"
        needed = [column for column in dict.fromkeys((label, timestamp, block)) if column is not None]
        missing = [column for column in needed if column not in table.column_names]
        if missing:
            yield f"split {name!r} lacks {', '.join(map(repr, missing))}; it has {', '.join(table.column_names)}"
        elif table.num_rows:
            nulls = table[label].null_count
            if nulls:
                yield f"label {label!r} must be known in every row, {nulls} of {table.num_rows} in {name!r} are null"
    if set(train.column_names) != set(holdout.column_names):
        differing = sorted(set(train.column_names) ^ set(holdout.column_names))
        yield f"both splits must have the same columns, {', '.join(map(repr, differing))} are only in one of them"
    yield from baseline_problems(baselines, train.column_names)
    if all(timestamp in table.column_names and table.num_rows for table in tables.values()):
        yield from _time_problems(train, holdout, timestamp)


def _time_problems(train: Any, holdout: Any, timestamp: str) -> Iterator[str]:
    kinds = {split[timestamp].type for split in (train, holdout)}
    wrong = [kind for kind in kinds if not pa.types.is_timestamp(kind) and not pa.types.is_date(kind)]
    if wrong:
        yield f"column {timestamp!r} must have times or dates, got {wrong[0]}; convert it"
        return
    if len(kinds) > 1:
        yield f"column {timestamp!r} must have one type in both splits, got {' and '.join(sorted(map(str, kinds)))}"
        return
    nulls = sum(split[timestamp].null_count for split in (train, holdout))
    if nulls:
        yield f"column {timestamp!r} must be known in every row, it is null in {nulls}"
        return
    newest, first = pc.max(train[timestamp]).as_py(), pc.min(holdout[timestamp]).as_py()
    if newest >= first:
        yield f"the training split must end before the holdout begins, it reaches {newest}, the holdout begins {first}"


def _written(folder: Path, name: str, table: Any) -> OutputFile:
    path = folder / f"{name}.parquet"
    pq.write_table(table, path, compression="zstd")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return OutputFile(path=f"{name}/{_FILE}", sha256=digest, bytes=path.stat().st_size, rows=table.num_rows)


def _manifest(
    prefix: str, tables: Sequence[Any], files: Sequence[OutputFile], timestamp: str, source: Mapping[str, str] | None
) -> TrainingSetManifest:
    train, holdout = tables
    name = prefix.rpartition("/")[2]
    table = PinnedTable(
        group=name,
        version=1,
        database="",
        table="",
        table_uuid="",
        snapshot_id=0,
        sequence=0,
        schema_id=0,
        tag="",
        columns=tuple(train.column_names),
    )
    both = hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()
    return TrainingSetManifest(
        name=name,
        semantics=Semantics(as_of="event_time", cutoff=None),
        entities=table,
        features=(),
        build=Build(engine="published", engine_version="", planner="", client="", source=source),
        output=Output(
            rows=train.num_rows + holdout.num_rows,
            content_hash=f"sha256:{both}",
            files=tuple(files),
            columns={field.name: str(field.type) for field in train.schema},
        ),
        split=_times(train, holdout, timestamp),
    )


def _times(train: Any, holdout: Any, timestamp: str) -> dict[str, str]:
    times = {
        "trained_until": pc.max(train[timestamp]).as_py(),
        "holdout_from": pc.min(holdout[timestamp]).as_py(),
        "holdout_until": pc.max(holdout[timestamp]).as_py(),
    }
    return {each: _iso(time) for each, time in times.items()}


def _iso(time: date) -> str:
    if not isinstance(time, datetime):
        time = datetime(time.year, time.month, time.day, tzinfo=UTC)
    return with_offset(time).isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Present:
    """The current set: the ETag of its manifest and, if valid, the manifest."""

    etag: str
    manifest: TrainingSetManifest | None


def _present(s3: "S3Client", bucket: str, prefix: str) -> _Present | None:
    try:
        found = s3.get_object(Bucket=bucket, Key=f"{prefix}/{_MANIFEST}")
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return None
        raise
    try:
        manifest = from_json(TrainingSetManifest, found["Body"].read())
    except ContractError:  # the evaluation rejects such a set, so it may be replaced by any other
        manifest = None
    return _Present(etag=found["ETag"], manifest=manifest)


def _newer(present: _Present | None, *, holdout_until: str) -> str | None:
    """Return a message if the current set ends later than this time."""
    if present is None or present.manifest is None:
        return None
    until = present.manifest.split.get("holdout_until", "")
    try:
        if parse_time(holdout_until) >= parse_time(until):
            return None
    except ValueError:  # the current set has no valid time
        return None
    return (
        f"the rows end at {holdout_until}, those of the published set {content_hash(present.manifest)[:12]} at {until}; "
        "publish rows that reach at least as far, or replace the newer set on purpose: --replace-newer "
        "(in Python replace_newer=True)"
    )


def _replace(
    s3: "S3Client",
    bucket: str,
    prefix: str,
    beside: Mapping[str, str],
    manifest: bytes,
    *,
    files: Mapping[str, OutputFile],
    present: _Present | None,
) -> None:
    """Copy the uploaded files to their final keys, with calls within S3 only.

    The manifest only replaces the one that this publish has read. Of several concurrent publishes, the one that writes its
    manifest last detects files of another, because it checks last.
    """
    for name, key in beside.items():
        options = {"Metadata": {_SHA256: files[name].sha256}, "MetadataDirective": "REPLACE"}
        s3.copy({"Bucket": bucket, "Key": key}, bucket, f"{prefix}/{name}/{_FILE}", options)
    kept = {f"{prefix}/{name}/{_FILE}" for name in beside} | {f"{prefix}/{_MANIFEST}"}
    for folder in (*beside, "manifest"):  # delete additional files of an earlier export, which would be read too
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/{folder}/"):
            for item in page.get("Contents", ()):
                if item["Key"] not in kept:
                    s3.delete_object(Bucket=bucket, Key=item["Key"])
    key, kind = f"{prefix}/{_MANIFEST}", "application/json"
    try:
        if present is None:
            s3.put_object(Bucket=bucket, Key=key, Body=manifest, ContentType=kind, IfNoneMatch="*")
        else:
            s3.put_object(Bucket=bucket, Key=key, Body=manifest, ContentType=kind, IfMatch=present.etag)
    except ClientError as error:
        if error.response["Error"]["Code"] in _CHANGED:
            raise PublishError([_BETWEEN]) from error
        raise
    there = {
        name: s3.head_object(Bucket=bucket, Key=f"{prefix}/{name}/{_FILE}")["Metadata"].get(_SHA256) for name in files
    }
    is_ours = there == {name: file.sha256 for name, file in files.items()}
    if not is_ours or s3.get_object(Bucket=bucket, Key=key)["Body"].read() != manifest:
        raise PublishError([_BETWEEN])
