"""Objects in a folder and in S3 behave alike."""

from collections.abc import Iterator

import pytest
from moto import mock_aws

from mlops_runtime.features.objects import Objects


@pytest.fixture(params=["folder", "s3"])
def objects(request, tmp_path) -> Iterator[Objects]:
    """Return an empty place of either kind."""
    if request.param == "folder":
        yield Objects(tmp_path / "place")
        return
    import boto3

    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="kept")
        s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
        yield Objects("s3://kept/some/place/", s3=s3)


def test_an_object_is_written_once(objects):
    """The first content stays."""
    assert objects.put_once("a/b.json", b"1")
    assert not objects.put_once("a/b.json", b"2")
    assert objects.get("a/b.json") == b"1"
    assert objects.get("a/c.json") is None


def test_keys_are_listed_below_a_prefix(objects):
    """In order, whole."""
    for key in ("a/2", "a/1", "b/1"):
        objects.put_once(key, b"")

    assert objects.keys("a/") == ["a/1", "a/2"]
    assert objects.keys("") == ["a/1", "a/2", "b/1"]
    assert objects.keys("c/") == []


def test_an_erased_object_has_no_version_left(objects):
    """Neighbours with the same beginning stay."""
    objects.put_once("a/1", b"x")
    objects.put_once("a/10", b"y")

    objects.erase("a/1")
    objects.erase("a/1")

    assert (objects.get("a/1"), objects.get("a/10")) == (None, b"y")
    if objects._s3 is not None:
        versions = objects._s3.list_object_versions(Bucket="kept")
        assert {v["Key"] for v in versions["Versions"]} == {"some/place/a/10"}
        assert "DeleteMarkers" not in versions


def test_fails_for_s3_without_a_client():
    """Nobody makes clients here."""
    with pytest.raises(TypeError, match="s3://b needs a boto3 client of S3: pass s3="):
        Objects("s3://b")
