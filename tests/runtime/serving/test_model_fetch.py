"""Fetching a model: verified before unpacking, waits for credentials, errors with the fix."""

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, IncompleteReadError, NoCredentialsError
from botocore.response import StreamingBody
from moto import mock_aws
from tests.runtime.serving.test_model_archive import packed, tree

from mlops_runtime.serving.model_archive import ArchiveError, LinkError
from mlops_runtime.serving.model_fetch import DigestError, FetchError, fetch, s3_client

URI = "s3://artifacts/models/demand/model.tar.gz"
GOOD = packed(("model.onnx", b"model"), ("signature.json", b"{}"))


def digest(content: bytes) -> str:
    """Return the SHA-256."""
    return hashlib.sha256(content).hexdigest()


class Bucket:
    """An S3 client with scripted responses: bytes, or an error."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, str]] = []

    def get_object(self, **arguments: str) -> dict[str, Any]:
        """Return or raise the next response."""
        self.requests.append(arguments)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"Body": StreamingBody(io.BytesIO(answer), len(answer))}  # type: ignore[arg-type]


def run(bucket: Bucket, folder: Path, content: bytes = GOOD, **options: Any) -> tuple[tuple[str, ...], list[float]]:
    """Fetch from a bucket; return the files and the pauses."""
    pauses: list[float] = []
    files = fetch(URI, digest(content), folder, client=lambda: bucket, sleep=pauses.append, **options)
    return files, pauses


def denied(code: str) -> ClientError:
    """Return S3's access error."""
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "GetObject")


def test_an_archive_arrives(tmp_path: Path) -> None:
    """The folder contains the files of the requested object only."""
    bucket = Bucket(GOOD)
    assert run(bucket, tmp_path / "model") == (("model.onnx", "signature.json"), [])
    assert bucket.requests == [{"Bucket": "artifacts", "Key": "models/demand/model.tar.gz"}]
    assert tree(tmp_path) == {"model": None, "model/model.onnx": b"model", "model/signature.json": b"{}"}


def test_fails_for_another_archive_before_anything_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unregistered bytes are never unpacked."""
    monkeypatch.setattr("mlops_runtime.serving.model_fetch.unpack", lambda *_, **__: pytest.fail("unpacked"))
    with pytest.raises(DigestError, match=f"has SHA-256 {digest(b'other')}, expected {digest(GOOD)}: not the archive"):
        run(Bucket(b"other"), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_fails_for_a_malicious_archive_that_was_registered(tmp_path: Path) -> None:
    """The right hash does not make an archive valid."""
    evil = packed(("a", b"2", "/etc/passwd"))
    with pytest.raises(LinkError):
        run(Bucket(evil), tmp_path, evil)
    assert list(tmp_path.iterdir()) == []


def test_credentials_are_waited_for(tmp_path: Path) -> None:
    """In a pod's first seconds: no agent, no credentials, no permission yet, an interrupted body."""
    broken = IncompleteReadError(actual_bytes=1, expected_bytes=2)
    waiting = (EndpointConnectionError(endpoint_url="x"), NoCredentialsError(), denied("AccessDenied"), broken)
    clients = []
    bucket = Bucket(*waiting, GOOD)
    pauses: list[float] = []

    def client() -> Bucket:
        clients.append(bucket)
        return bucket

    files = fetch(URI, digest(GOOD).upper(), tmp_path, client=client, sleep=pauses.append)
    assert (files, pauses) == (("model.onnx", "signature.json"), [1.0, 2.0, 4.0, 8.0])
    assert len(clients) == 5  # a new session each time, because one caches its credentials


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (NoCredentialsError(), "give the service account a pod identity association"),
        (denied("AccessDenied"), "allow the pod's role to read this object"),
        (EndpointConnectionError(endpoint_url="x"), "allow the pod to reach S3 on port 443"),
    ],
)
def test_fails_with_the_fix_when_waiting_does_not_help(tmp_path: Path, error: Exception, fix: str) -> None:
    """After eight attempts in a minute and a half."""
    bucket = Bucket(*[error] * 8)
    with pytest.raises(FetchError, match=rf"^{URI}: .* after 8 attempts; {fix}"):
        run(bucket, tmp_path)
    assert bucket.answers == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", ["NoSuchKey", "NoSuchBucket"])
def test_fails_at_once_for_what_is_not_there(tmp_path: Path, code: str) -> None:
    """A missing object is not waited for."""
    bucket = Bucket(denied(code))
    with pytest.raises(FetchError, match=f"{code}.*use the URI of an existing object"):
        run(bucket, tmp_path)


def test_fails_for_an_archive_without_end(tmp_path: Path) -> None:
    """A replaced object cannot fill the pod's disk."""
    with pytest.raises(FetchError, match="more than 10 bytes"):
        run(Bucket(GOOD), tmp_path, max_bytes=10)
    assert list(tmp_path.iterdir()) == []


def test_fails_with_every_wrong_argument(tmp_path: Path) -> None:
    """Both are reported together without a request."""
    with pytest.raises(FetchError) as caught:
        fetch("http://b/k", "abc", tmp_path, client=lambda: pytest.fail("asked"))
    assert str(caught.value) == (
        "the archive must be s3://bucket/key, got 'http://b/k'; the SHA-256 must be 64 hexadecimal digits, got 'abc'"
    )


def test_a_mistake_of_ours_is_not_tried_again(tmp_path: Path) -> None:
    """Only errors of S3 are retried."""
    with pytest.raises(ZeroDivisionError):
        run(Bucket(ZeroDivisionError()), tmp_path)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return an S3 server for botocore's client."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="artifacts")
        yield client


def test_botocores_own_client_fetches(tmp_path: Path, s3: Any) -> None:
    """With its real body and errors."""
    s3.put_object(Bucket="artifacts", Key="models/demand/model.tar.gz", Body=GOOD)
    assert fetch(URI, digest(GOOD), tmp_path / "model", client=s3_client) == ("model.onnx", "signature.json")
    with pytest.raises(FetchError, match="NoSuchKey"):
        fetch("s3://artifacts/nothing", digest(GOOD), tmp_path / "model", client=s3_client)
    assert (tmp_path / "model/model.onnx").read_bytes() == b"model"


def test_errors_are_archive_errors_or_fetch_errors() -> None:
    """The command catches these two and prints one line."""
    assert issubclass(DigestError, ArchiveError)
    assert not issubclass(FetchError, ArchiveError)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command without credentials."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    program = [sys.executable, "-m", "mlops_runtime.serving", "fetch", *arguments]
    return subprocess.run(program, env=environment, capture_output=True, text=True, check=False)


def test_the_command_refuses_in_one_line(tmp_path: Path) -> None:
    """Exit 2 for invalid arguments, 1 for rejections; no traceback."""
    usage = command("s3://bucket/k")
    assert (usage.returncode, len(usage.stderr.splitlines())) == (2, 1)
    assert "usage: python -m mlops_runtime.serving fetch <s3://bucket/key> <sha256> <folder>" in usage.stderr
    refused = command("s3://bucket/k", "abc", str(tmp_path / "model"))
    assert refused.returncode == 1
    assert (
        "cannot fetch s3://bucket/k: FetchError: the SHA-256 must be 64 hexadecimal digits, got 'abc'" in refused.stderr
    )
    assert not (tmp_path / "model").exists()
