"""Search of bytes for an entity: raw, in Parquet, in Avro, and in the state of an embedded cloud."""

import base64
import io
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.avro.file import AvroFile

# DynamoDB stores the tokens of transactions for ten minutes, for idempotency
_REMEMBERED = "ministack.dynamodb._txn_idempotency"
_BOUND = 15  # Iceberg's manifests contain 16 letters of a bound; the last letter of an upper bound is incremented


def names(content: bytes, entities: Collection[str]) -> bool:
    """Return whether content, compressed or not, names an entity."""
    if any(entity.encode() in content for entity in entities):
        return True
    if content[:4] == b"PAR1" and content[-4:] == b"PAR1":
        rows = pq.read_table(pa.BufferReader(content))
        return "store_id" in rows.column_names and not set(entities).isdisjoint(rows["store_id"].to_pylist())
    if content[:4] == b"Obj\x01":
        file: Any = SimpleNamespace(open=lambda: io.BytesIO(content))
        with AvroFile[Any](file) as records:
            text = str(list(records))
        return any(entity[:_BOUND] in text for entity in entities)
    return False


def in_folder(folder: Path, entities: Collection[str]) -> list[str]:
    """Return the files of a folder that name an entity."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [str(path.relative_to(folder)) for path in files if names(path.read_bytes(), entities)]


def in_bucket(s3: Any, bucket: str, entities: Collection[str]) -> list[str]:
    """Return the keys of a bucket with a version that names an entity."""
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
    there = [
        {"Key": each["Key"], "VersionId": each["VersionId"]} for page in pages for each in page.get("Versions", ())
    ]
    return [of["Key"] for of in there if names(s3.get_object(Bucket=bucket, **of)["Body"].read(), entities)]


def in_state(saved: Path, entities: Collection[str]) -> list[str]:
    """Return where the last saved state of an embedded cloud names an entity, in its stores and their blobs.

    The transaction tokens that DynamoDB stores for ten minutes are left out.

    Args:
        saved: The folder of snapshots.
        entities: Entities to search for.
    """
    stores = json.loads((saved / "snapshot.json").read_bytes())["stores"]
    stores.pop(_REMEMBERED, None)
    return ["/".join(place) for place, content in _contents(stores, (), saved / "files") if names(content, entities)]


def _contents(value: Any, place: tuple[str, ...], files: Path) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """Return every string and bytes object of a value, with its path."""
    if isinstance(value, str):
        yield place, value.encode()
    elif isinstance(value, dict):
        for key, part in value.items():
            if key == "$bytes":
                yield place, base64.b64decode(part)
            elif key == "$file":
                yield place, (files / part).read_bytes()
            else:
                yield place, key.encode()
                yield from _contents(part, (*place, key) if not key.startswith("$") else place, files)
    elif isinstance(value, list):
        name = _name(value)
        for part in value:
            yield from _contents(part, place if name is None else (*place, name), files)


def _name(value: list[Any]) -> str | None:
    """Return the key of a key-value pair, if it is one."""
    key = value[0] if len(value) == 2 and not isinstance(value[1], str) else None
    if isinstance(key, dict) and "$tuple" in key:
        return str(key["$tuple"][-1])
    return key if isinstance(key, str) else None
