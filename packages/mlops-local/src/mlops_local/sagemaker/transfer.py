"""Files between S3 and a container's folders, with the permissions of the execution role."""

import gzip
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlops_local.sagemaker.roles import Identity


def split(uri: str) -> tuple[str, str]:
    """Return bucket and key of an S3 URI.

    Example:
        >>> split("s3://bucket/a/b")
        ('bucket', 'a/b')
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def relative(prefix: str, key: str) -> str:
    """Return where an object of an ``S3Prefix`` lies below the folder of its channel.

    Args:
        prefix: Key part of the channel's URI.
        key: The object's key.

    Example:
        >>> relative("sets/train", "sets/train/part-0.parquet"), relative("code/code.zip", "code/code.zip")
        ('part-0.parquet', 'code.zip')
        >>> relative("sets/tr", "sets/train/part-0.parquet")
        'train/part-0.parquet'
    """
    if key == prefix:
        return key.rsplit("/", 1)[-1]
    rest = key[len(prefix) :]
    if not prefix or prefix.endswith("/") or rest.startswith("/"):
        return rest.lstrip("/")
    return key[prefix.rfind("/") + 1 :]


def objects(client: Any, uri: str) -> Iterator[str]:
    """Yield the keys under an S3 URI, folder markers aside."""
    bucket, prefix = split(uri)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from (found["Key"] for found in page.get("Contents", []) if not found["Key"].endswith("/"))


def download(uri: str, folder: Path, role: Identity) -> int:
    """Copy what lies under an S3 URI into a folder.

    Returns:
        The number of objects.

    Raises:
        ClientError: The role may not list or read, or the bucket is absent.
        ValueError: A key leads out of the folder.
    """
    # claim: archive-stays-in-its-folder
    client = role.client("s3")
    bucket, prefix = split(uri)
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for key in objects(client, uri):
        path = (folder / relative(prefix, key)).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ValueError(f"key {key!r} leads out of the folder of {uri!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(bucket, key, str(path))
        count += 1
    return count


def upload(folder: Path, uri: str, role: Identity, key: str | None) -> None:
    """Copy a folder's files under an S3 URI.

    Args:
        folder: The folder.
        uri: S3 URI of the prefix.
        role: Execution role.
        key: KMS key. Default (``None``): the bucket's own encryption.
    """
    bucket, prefix = split(uri)
    client = role.client("s3")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = "/".join(part for part in (prefix.rstrip("/"), path.relative_to(folder).as_posix()) if part)
        client.upload_file(str(path), bucket, name, ExtraArgs=_encryption(key))


def upload_archive(folder: Path, uri: str, role: Identity, key: str | None) -> None:
    """Put a folder as a ``tar.gz`` object whose bytes depend on nothing but names and contents."""
    archive = folder.with_name(folder.name + ".tar.gz")
    with (
        archive.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for path in sorted(folder.rglob("*")):
            tar.add(path, arcname=path.relative_to(folder).as_posix(), recursive=False, filter=_plain)
    bucket, name = split(uri)
    role.client("s3").upload_file(str(archive), bucket, name, ExtraArgs=_encryption(key))
    archive.unlink()


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
    info.mode = 0o755 if info.isdir() else 0o644
    return info


def _encryption(key: str | None) -> dict[str, str]:
    return {} if key is None else {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
