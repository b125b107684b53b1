"""Manifests of training sets: kept under their id, never changed; where copies lie; and tombstones of what was erased."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.features import Erasure, Tombstone, TrainingSetManifest
from mlops_runtime.features.objects import Objects

T = TypeVar("T")

_RESTORE = "restore the file as it was first written"


class ManifestError(ValueError):
    """There is no manifest of an id, or it is not what its id says, or it cannot be read."""


@dataclass(frozen=True, slots=True)
class _Copy:
    uri: str


class Manifests:
    """The manifests of a feature store.

    Below one place: ``<id>.json``, ``<id>/copies/`` with the places that its files were written to, ``tombstones/<id>.json`` and
    ``erasures/<id>.json``. Nothing there is ever replaced.

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

    def write(self, manifest: TrainingSetManifest) -> str:
        """Write a manifest, unless it is there; return its id."""
        digest = content_hash(manifest)
        self._objects.put_once(f"{digest}.json", canonical_json(manifest))
        return digest

    def read(self, manifest_id: str) -> TrainingSetManifest:
        """Read the manifest of an id.

        Raises:
            ManifestError: If there is none, or its content has another hash, or is no manifest that this version knows.
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
        """Note that the files of a training set were written below ``uri``."""
        name = hashlib.sha256(uri.encode()).hexdigest()[:16]
        self._objects.put_once(f"{manifest_id}/copies/{name}.json", canonical_json(_Copy(uri)))

    def copies(self, manifest_id: str) -> tuple[str, ...]:
        """Return where the files of a training set were written."""
        keys = self._objects.keys(f"{manifest_id}/copies/")
        return tuple(self._parsed(_Copy, key, self._objects.get(key) or b"{}").uri for key in keys)

    def bury(self, tombstone: Tombstone) -> None:
        """Write a tombstone, unless there is one."""
        self._objects.put_once(f"tombstones/{tombstone.manifest_id}.json", canonical_json(tombstone))

    def tombstone(self, manifest_id: str) -> Tombstone | None:
        """Return the tombstone of a training set, if rows of it were erased."""
        return self._document(Tombstone, f"tombstones/{manifest_id}.json")

    def begin(self, erasure: Erasure) -> None:
        """Write down what an erasure is about to take, so that whoever comes next can finish it."""
        self._objects.put_once(f"erasures/{erasure.id}.json", canonical_json(erasure))

    def end(self, erasure: Erasure) -> None:
        """Write down that an erasure is complete."""
        self._objects.put_once(f"erasures/{erasure.id}.done", b"")

    def unfinished(self) -> tuple[Erasure, ...]:
        """Return the erasures that were begun and not ended."""
        keys = self._objects.keys("erasures/")
        begun = [key for key in keys if key.endswith(".json") and key.replace(".json", ".done") not in keys]
        return tuple(found for key in begun if (found := self._document(Erasure, key)) is not None)

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
