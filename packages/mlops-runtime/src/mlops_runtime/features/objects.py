"""Small objects below a folder or an ``s3://`` prefix: written once, read, listed, and erased with all their versions."""

import os
from glob import escape
from pathlib import Path
from typing import Any
from uuid import uuid4

_CONFLICTS = 8


def remove(file: str, *, s3: Any = None) -> None:
    """Remove a file for good: a path, a ``file://`` URI, or an ``s3://`` object with all its versions.

    Args:
        file: The file; one that is gone is no error.
        s3: A boto3 client, for ``s3://``.
    """
    if file.startswith("s3://"):
        bucket, _, key = file.removeprefix("s3://").partition("/")
        Objects(f"s3://{bucket}", s3=s3).erase(key)
    else:
        Path(file.removeprefix("file://")).unlink(missing_ok=True)


class Objects:
    """Objects by key below one place.

    Args:
        place: A folder, or ``s3://bucket`` with or without a prefix.
        s3: A boto3 client, for ``s3://``.

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

    def put_once(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one of that key; return whether it was written.

        See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        """
        if self._folder is None:
            return self._put_once(key, content)
        path = self._folder / key
        if path.exists():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        # whoever reads sees the whole object or none, also if this process ends now; of two who write, one does
        half = path.with_name(f".{path.name}.{uuid4().hex}.part")
        try:
            half.write_bytes(content)
            os.link(half, path)
        except FileExistsError:
            return False
        finally:
            half.unlink(missing_ok=True)
        return True

    def _put_once(self, key: str, content: bytes) -> bool:
        for tries_left in reversed(range(_CONFLICTS)):
            try:
                self._s3.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=content, IfNoneMatch="*")
            except self._s3.exceptions.ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "PreconditionFailed":
                    return False
                # somebody else writes the same key: S3 asks to try again, and then says who was first
                if code != "ConditionalRequestConflict" or not tries_left:
                    raise
            else:
                return True
        raise AssertionError("unreachable")

    def get(self, key: str) -> bytes | None:
        """Return an object, or ``None`` where there is none."""
        if self._folder is None:
            try:
                return bytes(self._s3.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read())
            except self._s3.exceptions.NoSuchKey:
                return None
        path = self._folder / key
        return path.read_bytes() if path.is_file() else None

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with a prefix ending in ``/``, in order."""
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

    def erase(self, key: str) -> None:
        """Remove an object with all its versions; one that is gone is no error."""
        if self._folder is not None:
            path = self._folder / key
            for half in path.parent.glob(f".{escape(path.name)}.*.part"):  # of a process that ended while it wrote
                half.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            return
        pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=self._prefix + key)
        for page in pages:
            for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                if version["Key"] == self._prefix + key:
                    self._s3.delete_object(Bucket=self._bucket, Key=version["Key"], VersionId=version["VersionId"])
