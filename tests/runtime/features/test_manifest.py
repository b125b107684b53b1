"""Manifests: kept under their id, and proved by building again."""

from dataclasses import replace

import pytest
from moto import mock_aws

from mlops_runtime.contracts import canonical_json
from mlops_runtime.features.manifest import ManifestError, Verdict, plan_of, read_manifest, rebuild, write_manifest


@pytest.fixture
def built(filled):
    """Return a training set as of day 6.5."""
    return filled.client.training_set(filled.PLAN, as_of=filled.day(6.5), uri="s3://bucket/set")


def test_manifest_is_read_back_by_its_id(built, tmp_path):
    """A manifest lies under its id and reads back equal."""
    digest = write_manifest(built.manifest, tmp_path / "manifests")
    assert digest == write_manifest(built.manifest, tmp_path / "manifests") == built.id
    assert read_manifest(built.id, tmp_path / "manifests") == built.manifest


@mock_aws
def test_manifest_in_s3_is_never_replaced(built):
    """The object is written only where there is none, and read back by its id."""
    import boto3

    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="sets")
    assert write_manifest(built.manifest, "s3://sets/manifests/", s3=s3) == built.id
    first = s3.head_object(Bucket="sets", Key=f"manifests/{built.id}.json")["LastModified"]
    assert write_manifest(built.manifest, "s3://sets/manifests", s3=s3) == built.id
    assert s3.head_object(Bucket="sets", Key=f"manifests/{built.id}.json")["LastModified"] == first
    assert read_manifest(built.id, "s3://sets/manifests", s3=s3) == built.manifest
    with pytest.raises(ManifestError, match=r"no manifest s3://sets/manifests/00.json"):
        read_manifest("00", "s3://sets/manifests", s3=s3)


def test_fails_when_a_manifest_was_changed(built, tmp_path):
    """A file whose content has another hash than its name is refused."""
    write_manifest(built.manifest, tmp_path)
    other = replace(built.manifest, name="other")
    (tmp_path / f"{built.id}.json").write_bytes(canonical_json(other))
    with pytest.raises(ManifestError, match=f"manifest {built.id} was changed"):
        read_manifest(built.id, tmp_path)
    with pytest.raises(ManifestError, match="no manifest 00 in"):
        read_manifest("00", tmp_path)


def test_plan_is_kept_in_the_manifest(filled, built):
    """What was asked can be read from what was built."""
    assert plan_of(built.manifest) == filled.PLAN


def test_rebuild_is_identical_after_more_data_came(filled, built):
    """The pinned snapshots give the same content and the same bytes, whatever was appended since."""
    filled.client.ingest(filled.SALES, filled.sales((2, 999.0, 3.5)))  # late, but known at the cut
    filled.client.ingest(filled.STOCK, filled.stock((3, 99, 3)))
    again = rebuild(filled.new_client().table, built.manifest)
    assert (again.verdict, again.same_bytes) == (Verdict.IDENTICAL, True)
    assert again.training_set.files == built.files
    fresh = filled.client.training_set(filled.PLAN, as_of=filled.day(6.5))
    assert fresh.manifest.output.content_hash != built.manifest.output.content_hash


def test_rebuild_says_when_the_content_differs(filled, built):
    """A manifest that claims other content is not confirmed."""
    claim = replace(built.manifest, output=replace(built.manifest.output, content_hash="h1:00"))
    again = rebuild(filled.client.table, claim)
    assert again.verdict is Verdict.DIFFERS
    assert f"6 rows with content h1:00 became 6 with {built.manifest.output.content_hash}" == again.reason


def test_rebuild_is_impossible_without_the_snapshot(filled, built):
    """An expired snapshot is named, not replaced by the newest."""
    filled.client.ingest(filled.STOCK, filled.stock((12, 1, 12)))
    table = filled.client.table("stock_v1")
    pinned = built.manifest.features[0]
    table.manage_snapshots().remove_tag(pinned.tag).commit()
    table.maintenance.expire_snapshots().by_id(pinned.snapshot_id).commit()
    again = rebuild(filled.client.table, built.manifest)
    assert again.verdict is Verdict.IMPOSSIBLE
    assert again.reason == f"snapshot {pinned.snapshot_id} of table stock_v1 (tag {pinned.tag}) was expired"


def test_rebuild_is_impossible_with_another_table(filled, built):
    """A table made anew under the old name is another table, and a missing one is named."""
    entities = replace(built.manifest.entities, table_uuid="00000000-0000-0000-0000-000000000000")
    gone = replace(built.manifest.features[0], table="gone_v1")
    again = rebuild(filled.client.table, replace(built.manifest, entities=entities, features=(gone,)))
    assert again.verdict is Verdict.IMPOSSIBLE
    assert "table sales_v1 was made anew" in again.reason
    assert "has no table gone_v1" in again.reason


def test_expiry_keeps_a_tagged_snapshot(filled, built):
    """The tag protects what a manifest needs from the retention of snapshots."""
    filled.client.ingest(filled.STOCK, filled.stock((12, 1, 12)))
    table = filled.client.table("stock_v1")
    with pytest.raises(ValueError, match=str(built.manifest.features[0].snapshot_id)):
        table.maintenance.expire_snapshots().by_id(built.manifest.features[0].snapshot_id).commit()
