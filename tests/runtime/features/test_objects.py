"""Objects in a folder and in S3 behave alike."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from mlops_runtime.features.objects import Objects


@pytest.fixture(params=["folder", "s3"])
def objects(request, tmp_path) -> Iterator[Objects]:
    """Return an empty place of either kind."""
    if request.param == "folder":
        yield Objects(tmp_path / "place")
        return
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


def test_whoever_writes_at_once_has_one_effect(tmp_path):
    """Readers see one whole content, and one writer is told that it was its own."""
    place = Objects(tmp_path)
    contents = [bytes([n]) * 1_000_000 for n in range(8)]
    for key in map(str, range(10)):
        with ThreadPoolExecutor(8) as pool:
            written = list(pool.map(lambda content, key=key: place.put_once(key, content), contents))
        assert (written.count(True), place.get(key)) == (1, contents[written.index(True)])
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_a_dead_writer_left_is_erased_too(tmp_path, monkeypatch):
    """Half an object holds rows as a whole one does."""
    with monkeypatch.context() as dying:
        dying.setattr("os.link", lambda *_: 1 / 0)
        dying.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(ZeroDivisionError):
            Objects(tmp_path).put_once("a/1", b"x")
    assert len(list(tmp_path.rglob("*.part"))) == 1

    Objects(tmp_path).erase("a/1")
    assert list(tmp_path.rglob("*.part")) == []


@pytest.mark.parametrize(("answers", "is_written"), [((409, 200), True), ((409, 412), False)])
def test_a_conflict_is_tried_again(answers, is_written):
    """As S3 asks: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html (409 Conflict)."""
    s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    codes = {409: "ConditionalRequestConflict", 412: "PreconditionFailed"}
    with Stubber(s3) as stub:
        for status in answers:
            if status in codes:
                stub.add_client_error("put_object", codes[status], http_status_code=status)
            else:
                stub.add_response("put_object", {})
        assert Objects("s3://kept", s3=s3).put_once("a", b"1") is is_written
        stub.assert_no_pending_responses()
