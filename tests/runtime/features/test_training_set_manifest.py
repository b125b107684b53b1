"""Objects in a folder and in S3 behave alike.

Manifests: stored by id, with the locations of their copies, and tombstones.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.features import ErasedTable, Erasure, Tombstone
from mlops_runtime.features.training_set_manifest import ManifestError, Manifests, Objects


@pytest.fixture(params=["folder", "s3"])
def objects(request, tmp_path) -> Iterator[Objects]:
    """Return an empty location of either kind."""
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
    """In order and complete."""
    for key in ("a/2", "a/1", "b/1"):
        objects.put_once(key, b"")

    assert objects.keys("a/") == ["a/1", "a/2"]
    assert objects.keys("") == ["a/1", "a/2", "b/1"]
    assert objects.keys("c/") == []


def test_an_erased_object_has_no_version_left(objects):
    """Objects with the same prefix stay."""
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
    """The caller must pass one."""
    with pytest.raises(TypeError, match="s3://b needs a boto3 client of S3: pass s3="):
        Objects("s3://b")


def test_whoever_writes_at_once_has_one_effect(tmp_path):
    """Readers see one complete content, and exactly one writer is reported as its author."""
    place = Objects(tmp_path)
    contents = [bytes([n]) * 1_000_000 for n in range(8)]
    for key in map(str, range(10)):
        with ThreadPoolExecutor(8) as pool:
            written = list(pool.map(lambda content, key=key: place.put_once(key, content), contents))
        assert (written.count(True), place.get(key)) == (1, contents[written.index(True)])
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_a_dead_writer_left_is_erased_too(tmp_path, monkeypatch):
    """A partial object contains rows too."""
    with monkeypatch.context() as dying:
        dying.setattr("os.link", lambda *_: 1 / 0)
        dying.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(ZeroDivisionError):
            Objects(tmp_path).put_once("a/1", b"x")
    assert len(list(tmp_path.rglob("*.part"))) == 1

    assert Objects(tmp_path).remove_parts() == 1
    assert list(tmp_path.rglob("*.part")) == []


@pytest.mark.parametrize(("answers", "is_written"), [((409, 200), True), ((409, 412), False)])
def test_a_conflict_is_tried_again(answers, is_written):
    """S3 requires a retry: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html (409 Conflict)."""
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


@pytest.fixture
def built(filled):
    """Return a training set as of day 6.5."""
    return filled.client.split_training_set(filled.PLAN, as_of=filled.day(6.5))


def test_manifest_is_read_back_by_its_id(built, tmp_path):
    """It is stored by id and reads back equal."""
    manifests = Manifests(tmp_path / "manifests")

    digest = manifests.write(built.manifest)

    assert digest == manifests.write(built.manifest) == built.id
    assert manifests.read(built.id) == built.manifest
    assert manifests.ids() == (built.id,)


@mock_aws
def test_manifest_in_s3_is_never_replaced(built):
    """The write is conditional on a missing object."""
    import boto3

    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="sets")
    assert Manifests("s3://sets/manifests/", s3=s3).write(built.manifest) == built.id
    first = s3.head_object(Bucket="sets", Key=f"manifests/{built.id}.json")["LastModified"]
    manifests = Manifests("s3://sets/manifests", s3=s3)
    assert manifests.write(built.manifest) == built.id
    assert s3.head_object(Bucket="sets", Key=f"manifests/{built.id}.json")["LastModified"] == first
    assert manifests.read(built.id) == built.manifest
    with pytest.raises(ManifestError, match=r"no manifest 00 in s3://sets/manifests/"):
        manifests.read("00")


def test_places_of_copies_are_kept_once_each(built, tmp_path):
    """They are not manifests themselves."""
    manifests = Manifests(tmp_path)
    manifests.write(built.manifest)

    for uri in ("s3://b/one", "s3://b/two", "s3://b/one"):
        manifests.add_copy(built.id, uri)

    assert sorted(manifests.copies(built.id)) == ["s3://b/one", "s3://b/two"]
    assert manifests.copies("0" * 64) == ()
    assert manifests.ids() == (built.id,)


def test_what_an_erasure_recorded_first_stays(tmp_path):
    """A resumed call uses it; tombstones stay."""
    manifests = Manifests(tmp_path)
    erasure = Erasure(
        id="e1", at="2017-01-01T00:00:00+00:00", reason="ticket 7", entities=("store_id",), tables=(), used_by=("a",)
    )
    stone = Tombstone(manifest_id="a", erasure="e1", at=erasure.at, reason="ticket 7", tables=("sales_v1",))

    taken = ErasedTable(table="sales_v1", table_uuid="u", snapshots=(1,), tags=(), files=(), until=2)

    assert manifests.begin(erasure) == erasure
    assert manifests.begin(replace(erasure, used_by=())) == erasure
    assert manifests.taken("e1", "sales_v1") is None
    assert manifests.take("e1", taken) == taken
    assert manifests.take("e1", replace(taken, snapshots=())) == taken
    manifests.bury(stone)
    manifests.bury(replace(stone, reason="later"))

    assert manifests.erased("e1") is None
    assert (manifests.tombstone("a"), manifests.tombstone("b")) == (stone, None)
    assert manifests.end(erasure) == erasure
    assert manifests.end(replace(erasure, used_by=())) == erasure
    assert manifests.ids() == ()


def test_fails_when_a_manifest_was_changed(built, tmp_path):
    """Rejects a file whose content does not hash to its name."""
    manifests = Manifests(tmp_path)
    manifests.write(built.manifest)
    other = replace(built.manifest, name="other")
    (tmp_path / f"{built.id}.json").write_bytes(canonical_json(other))
    with pytest.raises(ManifestError, match=f"manifest {built.id} in .* was changed"):
        manifests.read(built.id)
    with pytest.raises(ManifestError, match="no manifest 00 in"):
        manifests.read("00")


@pytest.mark.parametrize("content", [b"{", b"{}", b'{"name": "x", "version": "9"}'])
def test_fails_when_a_manifest_is_of_another_kind(tmp_path, content):
    """The error names its kind, location and fix, not only the inner path."""
    digest = hashlib.sha256(content).hexdigest()
    (tmp_path / f"{digest}.json").write_bytes(content)
    with pytest.raises(
        ManifestError, match=rf"^{digest}.json in {tmp_path} cannot be read: not a valid .*; restore the"
    ):
        Manifests(tmp_path).read(digest)


@pytest.mark.parametrize("place", ["tombstones/a.json", "a/copies/b.json"])
def test_fails_when_what_belongs_to_a_manifest_cannot_be_read(tmp_path, place):
    """Covers a tombstone and the location of a copy."""
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text("[]")
    with pytest.raises(ManifestError, match=f"{place} in {tmp_path} cannot be read"):
        (Manifests(tmp_path).tombstone if "tomb" in place else Manifests(tmp_path).copies)("a")
