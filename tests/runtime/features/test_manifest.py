"""Manifests: kept under their id, with the places of their copies, and tombstones."""

import hashlib
from dataclasses import replace

import pytest
from moto import mock_aws

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.features import Erasure, Tombstone
from mlops_runtime.features.manifest import ManifestError, Manifests


@pytest.fixture
def built(filled):
    """Return a training set as of day 6.5."""
    return filled.client.split_training_set(filled.PLAN, as_of=filled.day(6.5))


def test_manifest_is_read_back_by_its_id(built, tmp_path):
    """A manifest lies under its id and reads back equal."""
    manifests = Manifests(tmp_path / "manifests")

    digest = manifests.write(built.manifest)

    assert digest == manifests.write(built.manifest) == built.id
    assert manifests.read(built.id) == built.manifest
    assert manifests.ids() == (built.id,)


@mock_aws
def test_manifest_in_s3_is_never_replaced(built):
    """The object is written only where there is none, and read back by its id."""
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
    """And are no manifests themselves."""
    manifests = Manifests(tmp_path)
    manifests.write(built.manifest)

    for uri in ("s3://b/one", "s3://b/two", "s3://b/one"):
        manifests.add_copy(built.id, uri)

    assert sorted(manifests.copies(built.id)) == ["s3://b/one", "s3://b/two"]
    assert manifests.copies("0" * 64) == ()
    assert manifests.ids() == (built.id,)


def test_erasures_are_unfinished_until_they_end(tmp_path):
    """Whoever comes next sees what was begun; tombstones stay."""
    manifests = Manifests(tmp_path)
    erasure = Erasure(
        id="e1", at="2017-01-01T00:00:00+00:00", reason="ticket 7", entities=("store_id",), tables=(), used_by=("a",)
    )
    stone = Tombstone(manifest_id="a", erasure="e1", at=erasure.at, reason="ticket 7", tables=("sales_v1",))

    manifests.begin(erasure)
    manifests.bury(stone)
    manifests.bury(replace(stone, reason="later"))

    assert manifests.unfinished() == (erasure,)
    assert (manifests.tombstone("a"), manifests.tombstone("b")) == (stone, None)
    manifests.end(erasure)
    assert manifests.unfinished() == ()
    assert manifests.ids() == ()


def test_fails_when_a_manifest_was_changed(built, tmp_path):
    """A file whose content has another hash than its name is refused."""
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
    """What it is, where it lies, and what to do; not the path inside of it alone."""
    digest = hashlib.sha256(content).hexdigest()
    (tmp_path / f"{digest}.json").write_bytes(content)
    with pytest.raises(
        ManifestError, match=rf"^{digest}.json in {tmp_path} cannot be read: not a valid .*; restore the"
    ):
        Manifests(tmp_path).read(digest)


@pytest.mark.parametrize("place", ["tombstones/a.json", "a/copies/b.json"])
def test_fails_when_what_belongs_to_a_manifest_cannot_be_read(tmp_path, place):
    """A tombstone and the place of a copy likewise."""
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text("[]")
    with pytest.raises(ManifestError, match=f"{place} in {tmp_path} cannot be read"):
        (Manifests(tmp_path).tombstone if "tomb" in place else Manifests(tmp_path).copies)("a")
