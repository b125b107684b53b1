"""Keys to paths, and archives that depend on their contents only."""

import hashlib
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from mlops_local.sagemaker import transfer


class _Bucket:
    """An identity whose S3 keeps objects in memory."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects

    def client(self, service: str) -> "_Bucket":
        """Return itself."""
        assert service == "s3"
        return self

    def get_paginator(self, name: str) -> "_Bucket":
        """Return itself."""
        assert name == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> list[dict[str, Any]]:  # noqa: N803 - boto3's names
        """Return one page."""
        assert Bucket == "b"
        return [{"Contents": [{"Key": key} for key in self.objects if key.startswith(Prefix)]}, {}]

    def download_file(self, bucket: str, key: str, path: str) -> None:
        """Write an object to a file."""
        assert bucket == "b"
        Path(path).write_bytes(self.objects[key])

    def upload_file(self, path: str, bucket: str, key: str, ExtraArgs: dict[str, str]) -> None:  # noqa: N803 - boto3's
        """Keep a file."""
        assert (bucket, ExtraArgs) == ("b", {})
        self.objects[key] = Path(path).read_bytes()


@pytest.mark.parametrize(
    ("prefix", "key", "expected"),
    [
        ("a/train/", "a/train/x/y.csv", "x/y.csv"),
        ("a/train", "a/train/y.csv", "y.csv"),
        ("a/code.zip", "a/code.zip", "code.zip"),
        ("a/tr", "a/train/y.csv", "train/y.csv"),
        ("", "a/y.csv", "a/y.csv"),
    ],
)
def test_objects_lie_relative_to_their_prefix(prefix: str, key: str, expected: str) -> None:
    """A folder, an object and a part of a name as prefix."""
    assert transfer.relative(prefix, key) == expected


def test_downloads_all_objects_but_folder_markers(tmp_path: Path) -> None:
    """Every object under the prefix becomes a file; keys that end with a slash are no files."""
    bucket = _Bucket(**{"in/": b"", "in/a": b"1", "in/deep/b": b"2", "out": b"3"})
    assert transfer.download("s3://b/in/", tmp_path / "data", bucket) == 2  # type: ignore[arg-type]
    assert (tmp_path / "data/a").read_bytes() == b"1"
    assert (tmp_path / "data/deep/b").read_bytes() == b"2"


def test_fails_on_a_key_that_leaves_the_folder(tmp_path: Path) -> None:
    """A key with parent folders in it is refused."""
    bucket = _Bucket(**{"in/../../x": b"1"})
    with pytest.raises(ValueError, match="leads out of the folder"):
        transfer.download("s3://b/in/", tmp_path / "data", bucket)  # type: ignore[arg-type]


def test_uploads_files_under_the_prefix(tmp_path: Path) -> None:
    """Paths below the folder become keys below the prefix, also at the bucket's root."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a").write_bytes(b"1")
    for uri, key in (("s3://b/out/", "out/deep/a"), ("s3://b", "deep/a")):
        bucket = _Bucket()
        transfer.upload(tmp_path, uri, bucket, None)  # type: ignore[arg-type]
        assert bucket.objects == {key: b"1"}


def test_archives_of_equal_contents_are_equal(tmp_path: Path) -> None:
    """Times, owners and modes leave no trace, so a model's hash names its contents."""
    digests = []
    for name, moment in (("one", 0), ("two", 1_000_000_000)):
        folder = tmp_path / name / "model"
        (folder / "deep").mkdir(parents=True)
        for path in (folder / "b", folder / "a", folder / "deep/c"):
            path.write_text(path.name)
            os.utime(path, (moment, moment))
        bucket = _Bucket()
        transfer.upload_archive(folder, "s3://b/k/model.tar.gz", bucket, None)  # type: ignore[arg-type]
        digests.append(hashlib.sha256(bucket.objects["k/model.tar.gz"]).hexdigest())
        (tmp_path / "x.tar.gz").write_bytes(bucket.objects["k/model.tar.gz"])
        with tarfile.open(tmp_path / "x.tar.gz") as tar:
            assert tar.getnames() == ["a", "b", "deep", "deep/c"]
    assert digests[0] == digests[1]
