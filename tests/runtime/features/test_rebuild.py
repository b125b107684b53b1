"""Verification of a training set by a rebuild."""

from dataclasses import replace

import pytest

from mlops_runtime.contracts.features import PinnedTable
from mlops_runtime.features.rebuild import Verdict, rebuild
from mlops_runtime.features.training_set_manifest import Manifests
from mlops_runtime.features.training_set_request import TrainingSetError


@pytest.fixture
def manifests(tmp_path) -> Manifests:
    """Return the folder of the manifests."""
    return Manifests(tmp_path / "kept")


@pytest.fixture
def built(filled):
    """Return a training set as of day 6.5."""
    return filled.client.split_training_set(filled.PLAN, as_of=filled.day(6.5))


def test_rebuild_is_identical_after_more_data_came(filled, built, manifests):
    """The pinned snapshots give the same content and bytes, whatever was appended since."""
    filled.client.ingest(filled.SALES, filled.sales((2, 999.0, 3.5)))  # late, but known at the cutoff
    filled.client.ingest(filled.STOCK, filled.stock((3, 99, 3)))

    again = rebuild(filled.new_client().table, manifests.write(built.manifest), manifests)

    assert (again.verdict, again.same_bytes) == (Verdict.IDENTICAL, True)
    assert again.training_set.files == built.files
    assert again.training_set.id == built.id
    fresh = filled.client.split_training_set(filled.PLAN, as_of=filled.day(6.5))
    assert fresh.manifest.output.content_hash != built.manifest.output.content_hash


def test_rebuild_says_when_the_content_differs(filled, built, manifests):
    """A manifest with another content hash is not confirmed."""
    claim = replace(built.manifest, output=replace(built.manifest.output, content_hash="h3:00"))

    again = rebuild(filled.client.table, manifests.write(claim), manifests)

    assert again.verdict is Verdict.DIFFERS
    assert f"6 rows with content h3:00 became 6 with {built.manifest.output.content_hash}" == again.reason


def expired(filled, built) -> PinnedTable:
    """Remove tag and snapshot of a set's features after more rows came; return its pins."""
    filled.client.ingest(filled.STOCK, filled.stock((3, 99, 3), (12, 1, 12)))
    table, pinned = filled.client.table("stock_v1"), built.manifest.features[0]
    table.manage_snapshots().remove_tag(pinned.tag).commit()
    table.maintenance.expire_snapshots().by_id(pinned.snapshot_id).commit()
    return pinned


def test_rebuild_needs_no_snapshot(filled, built, manifests):
    """Its sequence number selects the rows: same content, same bytes."""
    expired(filled, built)

    again = rebuild(filled.client.table, manifests.write(built.manifest), manifests)

    assert (again.verdict, again.same_bytes) == (Verdict.IDENTICAL, True)


def test_rebuild_is_impossible_without_snapshot_and_schema(filled, built, manifests):
    """The missing snapshot is reported, not replaced by the newest."""
    pinned = expired(filled, built)
    lost = replace(built.manifest, features=(replace(pinned, schema_id=9),))

    again = rebuild(filled.client.table, manifests.write(lost), manifests)

    assert again.verdict is Verdict.IMPOSSIBLE
    assert again.reason == (
        f"snapshot {pinned.snapshot_id} of table stock_v1 (tag {pinned.tag}) has expired, and schema 9 of its columns was removed"
    )


def test_rebuild_is_impossible_with_another_table(filled, built, manifests):
    """A recreated table with the old name is another table; a missing one is reported."""
    entities = replace(built.manifest.entities, table_uuid="00000000-0000-0000-0000-000000000000")
    gone = replace(built.manifest.features[0], table="gone_v1")
    claim = replace(built.manifest, entities=entities, features=(gone,))

    again = rebuild(filled.client.table, manifests.write(claim), manifests)

    assert again.verdict is Verdict.IMPOSSIBLE
    assert "table sales_v1 was recreated" in again.reason
    assert "has no table gone_v1" in again.reason


def test_rebuild_of_given_rows_reads_them_back(filled):
    """Given entity rows are stored next to the set, and required for a rebuild."""
    built = filled.client.training_set(
        filled.asked((1.5, "1"), (3, "2")), {"stock": ["on_hand"]}, name="shelves", source={"commit": "abc"}
    )
    client = filled.new_client()

    assert client.rebuild(built.id).verdict is Verdict.IDENTICAL
    for path in filled.path.rglob("entities/*.parquet"):
        path.unlink()
    assert (
        client.rebuild(built.id).reason
        == f"entity rows entities/{built.manifest.entity_rows.sha256}.parquet are missing"
    )


@pytest.mark.parametrize("damage", [lambda old: old[:-9], lambda old: old[:0], lambda old: old[:40] + b"x" + old[41:]])
def test_entity_rows_of_other_bytes_are_damaged(filled, damage):
    """The error names the file and the restore; nothing is built."""
    built = filled.client.training_set(filled.asked((1.5, "1"), (3, "2")), {"stock": ["on_hand"]}, name="shelves")
    (path,) = filled.path.rglob("entities/*.parquet")
    content = damage(path.read_bytes())
    path.unlink()
    path.write_bytes(content)

    again = filled.new_client().rebuild(built.id)

    assert (again.verdict, again.training_set) == (Verdict.DAMAGED, None)
    assert again.reason.startswith(f"entity rows entities/{path.name} have the SHA-256 ")
    assert again.reason.endswith("; restore the file from a backup or version")


def test_expiry_keeps_a_tagged_snapshot(filled, built):
    """The tag protects a manifest's snapshot from retention."""
    filled.client.ingest(filled.STOCK, filled.stock((12, 1, 12)))
    table = filled.client.table("stock_v1")
    with pytest.raises(ValueError, match=str(built.manifest.features[0].snapshot_id)):
        table.maintenance.expire_snapshots().by_id(built.manifest.features[0].snapshot_id).commit()


def test_rebuild_reads_the_files_that_were_kept(filled):
    """Missing and changed files are reported with the fix; a rebuild writes missing files."""
    entities, features = filled.asked((3, "1")), {"stock": ["on_hand"]}
    kept = filled.client.training_set(entities, features, name="shelves")
    (file,) = (filled.path / "training_sets/sets/shelves" / kept.id).iterdir()
    assert filled.client.rebuild(kept.id).verdict is Verdict.IDENTICAL

    file.unlink()
    missing = filled.client.rebuild(kept.id)
    assert missing.verdict is Verdict.DAMAGED
    assert f"{file} is missing; build the set again, which writes it" in missing.reason
    assert filled.client.training_set(entities, features, name="shelves").id == kept.id
    assert filled.client.rebuild(kept.id).verdict is Verdict.IDENTICAL

    file.unlink()
    file.write_bytes(b"junk")
    other = filled.client.rebuild(kept.id)
    assert (other.verdict, other.training_set.files) == (Verdict.DAMAGED, kept.files)
    assert f"instead of {kept.manifest.output.files[0].sha256}; remove it and build the set again" in other.reason
    with pytest.raises(
        TrainingSetError, match=r"has different bytes in sets/shelves/.*; remove these files and build it again"
    ):
        filled.client.training_set(entities, features, name="shelves")
    assert file.read_bytes() == b"junk"
