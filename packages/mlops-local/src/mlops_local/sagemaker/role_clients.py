"""Use of execution roles by SageMaker: credentials, clients, and file transfers between S3 and containers."""

import functools
import gzip
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from ministack.core.responses import get_region

from mlops_local import settings
from mlops_local.iam import authorization
from mlops_local.networks import reach
from mlops_local.sagemaker.api_shapes import validation

PRINCIPAL = "sagemaker.amazonaws.com"
_INFERENCE = ("model", "endpoint", "endpoint-config")
_SESSION = "SageMaker"  # the role session name that SageMaker uses
_LOCK = threading.Lock()  # creating a boto3 client is not thread-safe, using one is


@dataclass(frozen=True, slots=True)
class Identity:
    """An execution role, and the resource on whose behalf the service uses it: ``aws:SourceArn`` in the trust policy."""

    role: str  # ARN of the role
    source: str  # ARN of the resource
    member: reach.Member | None = None  # network of the resource's containers. Default: they reach everything
    purpose: str = ""  # use of the role by the service itself, from its own network. Default: use by containers

    def check(self) -> None:
        """Reject a role that SageMaker may not assume.

        Raises:
            ServiceError: ``ValidationException`` in AWS's wording.
        """
        # claim: job-role-trusts-sagemaker
        try:
            self._session()
        except authorization.AccessDeniedError as error:
            raise validation(
                f"Could not assume role {self.role}. Please ensure that the role exists and allows principal "
                f"'{PRINCIPAL}' to assume the role."
            ) from error

    def require(self, action: str, resource: str) -> None:
        """Check whether the role may perform an action.

        Raises:
            AccessDeniedError: If IAM does not allow it.
        """
        authorization.require(self._session(), action, resource)

    def environment(self) -> dict[str, str]:
        """Return credentials of the role as environment variables, without expiry, as the service renews them."""
        session = self._session()
        return session.environment() | self._join(session)

    def client(self, service: str) -> Any:
        """Return a boto3 client of the embedded cloud that acts as the role.

        Args:
            service: boto3's name of the service.
        """
        session = self._session()
        self._join(session)
        with _LOCK:
            return _client(service, get_region(), session.access_key, session.secret_key, session.token)

    def of_service(self) -> "Identity":
        """Return the role for use from SageMaker's own network: log lines, metrics, alarms and notifications."""
        # claim: sagemaker-logs-from-its-own-network
        return replace(self, member=None, purpose="service")

    def _session(self) -> authorization.Session:
        return authorization.assume(
            self.role,
            service=PRINCIPAL,
            source_arn=_source(self.source),
            name=_SESSION,
            # two models with the same role have the same source, but each its own network
            purpose=f"{self.source} {self.purpose}",
        )

    def _join(self, session: authorization.Session) -> dict[str, str]:
        return {} if self.member is None else reach.join(session.access_key, self.member)


def _source(arn: str) -> str:
    """Return ``aws:SourceArn``: for inference an ARN that ends with an asterisk, which matches no model's ARN."""
    # claim: inference-sends-an-asterisk
    prefix, _, resource = arn.rpartition(":")
    return f"{prefix}:*" if resource.partition("/")[0] in _INFERENCE else arn


@functools.cache
def _client(service: str, region: str, key: str, secret: str, token: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=settings.endpoint_url(),
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(retries={"mode": "standard", "total_max_attempts": 3}, max_pool_connections=16),
    )


def split(uri: str) -> tuple[str, str]:
    """Return bucket and key of an S3 URI.

    Example:
        >>> split("s3://bucket/a/b")
        ('bucket', 'a/b')
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def relative(prefix: str, key: str) -> str:
    """Return the path of an ``S3Prefix`` object below the folder of its channel.

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
    """Yield the keys below an S3 URI, without folder markers."""
    bucket, prefix = split(uri)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from (found["Key"] for found in page.get("Contents", []) if not found["Key"].endswith("/"))


def download(uri: str, folder: Path, role: Identity) -> int:
    """Download the objects below an S3 URI to a folder; return the number of objects.

    Raises:
        ClientError: If the role may not list or read, or the bucket does not exist.
        ValueError: If a key leads out of the folder.
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
    """Upload a folder's files below an S3 URI; without a KMS key the bucket's default encryption applies."""
    bucket, prefix = split(uri)
    client = role.client("s3")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = "/".join(part for part in (prefix.rstrip("/"), path.relative_to(folder).as_posix()) if part)
        client.upload_file(str(path), bucket, name, ExtraArgs=encryption(key))


def upload_archive(folder: Path, uri: str, role: Identity, key: str | None) -> None:
    """Upload a folder as a ``tar.gz`` object whose bytes only depend on names and contents."""
    archive = folder.with_name(folder.name + ".tar.gz")
    with (
        archive.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for path in sorted(folder.rglob("*")):
            tar.add(path, arcname=path.relative_to(folder).as_posix(), recursive=False, filter=_plain)
    bucket, name = split(uri)
    role.client("s3").upload_file(str(archive), bucket, name, ExtraArgs=encryption(key))
    archive.unlink()


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
    info.mode = 0o755 if info.isdir() else 0o644
    return info


def encryption(key: str | None) -> dict[str, str]:
    """Return the arguments with which S3 encrypts an object by a KMS key; empty without one."""
    return {} if key is None else {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
