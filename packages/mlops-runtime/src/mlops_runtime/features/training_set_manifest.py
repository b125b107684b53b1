"""Manifests of training sets, stored once under their id, with copies, tombstones and erasures, below a folder or an S3 prefix."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TypeVar

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.features import ErasedTable, Erasure, PinnedTable, Tombstone, TrainingSetManifest
from mlops_runtime.features.locked_files import is_held, remove_parts, write_once

_CONFLICTS = 8
# codes of HeadObject; without permission to list, a missing object is reported as 403
_MISSING = ("403", "404", "NoSuchKey")

T = TypeVar("T")

ERASURES = "erasures/"
_RESTORE = "restore the file as it was first written"


def remove(file: str, *, s3: Any = None) -> None:
    """Remove a file permanently: a path, a ``file://`` URI, or an ``s3://`` object with all its versions; it may be missing."""
    if file.startswith("s3://"):
        bucket, _, key = file.removeprefix("s3://").partition("/")
        Objects(f"s3://{bucket}", s3=s3).erase(key)
    else:
        Path(file.removeprefix("file://")).unlink(missing_ok=True)


class Objects:
    """Objects by key below one location: a folder, or ``s3://bucket`` with or without a prefix, which needs a boto3 client.

    Example:
        >>> import tempfile
        >>> objects = Objects(tempfile.mkdtemp())
        >>> objects.put_once("manifests/a.json", b"1"), objects.put_once("manifests/a.json", b"2")
        (True, False)
        >>> objects.get("manifests/a.json"), objects.keys("manifests/")
        (b'1', ['manifests/a.json'])
    """

    def __init__(self, place: str | Path, *, s3: Any = None) -> None:
        self._s3, self._bucket, self._prefix = s3, "", ""
        if isinstance(place, str) and place.startswith("s3://"):
            if s3 is None:
                raise TypeError(f"{place} needs a boto3 client of S3: pass s3=")
            self._bucket, _, prefix = place.removeprefix("s3://").partition("/")
            self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
            self._folder = None
        else:
            self._folder = Path(place)

    def __str__(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}" if self._folder is None else str(self._folder)

    def uri(self, key: str) -> str:
        """Return the URI of a key, for readers without this object.

        Example:
            >>> Objects("/sets").uri("a.json"), Objects("s3://sets", s3=object()).uri("a.json")
            ('file:///sets/a.json', 's3://sets/a.json')
        """
        return (
            f"s3://{self._bucket}/{self._prefix}{key}"
            if self._folder is None
            else f"file://{(self._folder / key).absolute()}"
        )

    def copy(self, key: str, target: str) -> None:
        """Copy an object of at most 5 GB to another key of this location, unless that exists; S3 then stores its SHA-256.

        See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        """
        if self._folder is None:
            source = {"Bucket": self._bucket, "Key": self._prefix + key}
            self._once(self._s3.copy_object, Key=self._prefix + target, CopySource=source, ChecksumAlgorithm="SHA256")
            return
        self.put_once(target, (self._folder / key).read_bytes())

    @property
    def is_folder(self) -> bool:
        """Whether the objects are files of a local folder."""
        return self._folder is not None

    def put_once(self, key: str, content: bytes) -> bool:
        """Write an object unless the key exists; return whether it was written.

        See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        """
        if self._folder is None:
            return self._put_once(key, content)
        file = write_once(self._folder / key, content)
        if file is not None:
            file.close()
        return file is not None

    def put_held(self, key: str, content: bytes) -> IO[bytes] | None:
        """Write a new object; in a local folder it stays locked until the returned file is closed, or this process ends.

        Raises:
            FileExistsError: If the key exists.
        """
        file = None if self._folder is None else write_once(self._folder / key, content)
        if file is None and (self._folder is not None or not self._put_once(key, content)):
            raise FileExistsError(f"{key} in {self} exists already")
        return file

    def is_held(self, key: str) -> bool:
        """Return whether a process holds the lock of an object in a local folder; always false in S3, which has no locks."""
        return self._folder is not None and is_held(self._folder / key)

    def _put_once(self, key: str, content: bytes) -> bool:
        return self._once(self._s3.put_object, Key=self._prefix + key, Body=content)

    def _once(self, call: Callable[..., Any], **options: Any) -> bool:
        for tries_left in reversed(range(_CONFLICTS)):
            try:
                call(Bucket=self._bucket, IfNoneMatch="*", **options)
            except self._s3.exceptions.ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "PreconditionFailed":
                    return False
                # another process is writing the same key: S3 requests a retry, and then reports which write was first
                if code != "ConditionalRequestConflict" or not tries_left:
                    raise
            else:
                return True
        raise AssertionError("unreachable")

    def get(self, key: str) -> bytes | None:
        """Return an object, or ``None`` if it does not exist."""
        if self._folder is None:
            try:
                return bytes(self._s3.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read())
            except self._s3.exceptions.NoSuchKey:
                return None
        path = self._folder / key
        return path.read_bytes() if path.is_file() else None

    def digest(self, key: str) -> tuple[int, str] | None:
        """Return the size and SHA-256 of an object, or ``None`` if it does not exist; uses S3's stored hash if there is one.

        See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
        """
        if self._folder is None:
            try:
                found = self._s3.head_object(Bucket=self._bucket, Key=self._prefix + key, ChecksumMode="ENABLED")
            except self._s3.exceptions.ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return None
                raise
            kept = found.get("ChecksumSHA256", "")
            if kept and "-" not in kept:  # the hash of a multipart upload is the hash of its parts' hashes
                return found["ContentLength"], base64.b64decode(kept).hex()
        content = self.get(key)
        return None if content is None else (len(content), hashlib.sha256(content).hexdigest())

    def keys(self, prefix: str) -> list[str]:
        """Return the keys below a prefix ending in ``/``, sorted."""
        if self._folder is None:
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            found = [item["Key"].removeprefix(self._prefix) for page in pages for item in page.get("Contents", ())]
            return sorted(found)
        paths = (
            path for path in (self._folder / prefix).rglob("*") if path.is_file() and not path.name.startswith(".")
        )
        return sorted(str(path.relative_to(self._folder)) for path in paths)

    def uploads(self, before: datetime) -> list[str]:
        """Return the keys of incomplete multipart uploads that began before a time; a local folder has none."""
        if self._folder is not None:
            return []
        pages = self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=self._prefix)
        found = [each for page in pages for each in page.get("Uploads", ())]
        return [each["Key"].removeprefix(self._prefix) for each in found if each["Initiated"] < before]

    def deleted(self) -> list[str]:
        """Return the URIs of deleted objects of which the bucket retains versions; a local folder has none."""
        if self._folder is not None:
            return []
        pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=self._prefix)
        kept: set[str] = set()
        current: set[str] = set()
        for page in pages:
            for version in page.get("Versions", ()):
                (current if version["IsLatest"] else kept).add(version["Key"])
        return [self.uri(key.removeprefix(self._prefix)) for key in sorted(kept - current)]

    def remove_parts(self) -> int:
        """Remove temporary files of ended writers in a local folder; return their number. In S3, objects are written atomically."""
        return 0 if self._folder is None else remove_parts(self._folder)

    def erase(self, key: str) -> None:
        """Remove an object with all its versions; a missing object is ignored."""
        if self._folder is not None:
            path = self._folder / key
            path.unlink(missing_ok=True)
            return
        pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=self._prefix + key)
        for page in pages:
            for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                if version["Key"] == self._prefix + key:
                    self._s3.delete_object(Bucket=self._bucket, Key=version["Key"], VersionId=version["VersionId"])


class ManifestError(ValueError):
    """A manifest is missing, does not match its id, or cannot be read."""


@dataclass(frozen=True, slots=True)
class _Copy:
    uri: str


class Manifests:
    """The manifests of a feature store.

    Below one location: ``<id>.json``, ``<id>/copies/`` with the locations of copies of its files, ``tombstones/<id>.json``, and
    ``erasures/<id>.json``, with ``<id>.done`` once the erasure is complete. Nothing there is replaced.

    Args:
        place: A folder, or an ``s3://`` prefix.
        s3: A boto3 client, for a prefix.

    Example:
        >>> import tempfile
        >>> Manifests(tempfile.mkdtemp()).ids()
        ()
    """

    def __init__(self, place: str | Path, *, s3: Any = None) -> None:
        self._objects = Objects(place, s3=s3)

    def __str__(self) -> str:
        return str(self._objects)

    @property
    def objects(self) -> Objects:
        """The objects at their location."""
        return self._objects

    def write(self, manifest: TrainingSetManifest) -> str:
        """Write a manifest, unless it exists; return its id."""
        digest = content_hash(manifest)
        self._objects.put_once(f"{digest}.json", canonical_json(manifest))
        return digest

    def read(self, manifest_id: str) -> TrainingSetManifest:
        """Read the manifest of an id.

        Raises:
            ManifestError: If the manifest is missing, has another hash, or cannot be read by this version.
        """
        content = self._objects.get(f"{manifest_id}.json")
        if content is None:
            raise ManifestError(f"no manifest {manifest_id} in {self._objects}")
        found = hashlib.sha256(content).hexdigest()
        if found != manifest_id:
            raise ManifestError(
                f"manifest {manifest_id} in {self._objects} was changed: its content has the id {found}; {_RESTORE}"
            )
        return self._parsed(TrainingSetManifest, f"{manifest_id}.json", content)

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all manifests, in order."""
        return tuple(key.removesuffix(".json") for key in self._objects.keys("") if "/" not in key)

    def add_copy(self, manifest_id: str, uri: str) -> None:
        """Record that the files of a training set were written below ``uri``."""
        name = hashlib.sha256(uri.encode()).hexdigest()[:16]
        self._objects.put_once(f"{manifest_id}/copies/{name}.json", canonical_json(_Copy(uri)))

    def copies(self, manifest_id: str) -> tuple[str, ...]:
        """Return the locations to which the files of a training set were written."""
        keys = self._objects.keys(f"{manifest_id}/copies/")
        return tuple(self._parsed(_Copy, key, self._objects.get(key) or b"{}").uri for key in keys)

    def bury(self, tombstone: Tombstone) -> None:
        """Write a tombstone, unless it exists."""
        self._objects.put_once(f"tombstones/{tombstone.manifest_id}.json", canonical_json(tombstone))

    def tombstone(self, manifest_id: str) -> Tombstone | None:
        """Return the tombstone of a training set, if rows of it were erased."""
        return self._document(Tombstone, f"tombstones/{manifest_id}.json")

    def buried(self) -> frozenset[str]:
        """Return the ids of the training sets that have a tombstone."""
        prefix = "tombstones/"
        return frozenset(key.removeprefix(prefix).removesuffix(".json") for key in self._objects.keys(prefix))

    def begin(self, erasure: Erasure) -> Erasure:
        """Record an erasure before anything is removed, unless it is recorded; return the record."""
        key = f"{ERASURES}{erasure.id}.json"
        self._objects.put_once(key, canonical_json(erasure))
        return self._document(Erasure, key) or erasure

    def take(self, erasure_id: str, taken: ErasedTable) -> ErasedTable:
        """Record what an erasure is about to remove from a table, unless it is recorded; return the record."""
        self._objects.put_once(f"{ERASURES}{erasure_id}/{taken.table}.json", canonical_json(taken))
        return self.taken(erasure_id, taken.table) or taken

    def taken(self, erasure_id: str, table: str) -> ErasedTable | None:
        """Return the record of what an erasure removes from a table, if there is one."""
        return self._document(ErasedTable, f"{ERASURES}{erasure_id}/{table}.json")

    def end(self, erasure: Erasure) -> Erasure:
        """Record that an erasure is complete, unless it is recorded; return the record."""
        self._objects.put_once(f"{ERASURES}{erasure.id}.done", canonical_json(erasure))
        return self.erased(erasure.id) or erasure

    def erased(self, erasure_id: str) -> Erasure | None:
        """Return an erasure if it is complete."""
        return self._document(Erasure, f"{ERASURES}{erasure_id}.done")

    def _document(self, kind: type[T], key: str) -> T | None:
        content = self._objects.get(key)
        return None if content is None else self._parsed(kind, key, content)

    def _parsed(self, kind: type[T], key: str, content: bytes) -> T:
        try:
            return from_json(kind, content)
        except ContractError as error:
            raise ManifestError(
                f"{key} in {self._objects} cannot be read: {error}; {_RESTORE}, or use the version of the library that wrote it"
            ) from error


def pins(manifest: TrainingSetManifest) -> tuple[PinnedTable, ...]:
    """Return every table that a training set read, with the table of its labels first."""
    return (*(() if manifest.entities is None else (manifest.entities,)), *manifest.features)
