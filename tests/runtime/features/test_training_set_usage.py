"""Users of snapshots and columns."""

from dataclasses import replace

import pyarrow as pa
import pytest

from mlops_runtime.features.feature_group import Feature
from mlops_runtime.features.table_description import FeatureTableError


def test_a_snapshot_was_used_by_whoever_read_it_or_a_later_one(sets):
    """Later snapshots include the rows of a bad batch."""
    filled, before, bad, after, other = sets

    assert [u.manifest_id for u in filled.client.who_used(filled.STOCK, snapshot=bad.snapshot_id)] == [after.id]
    assert {u.manifest_id for u in filled.client.who_used("stock_v1")} == {before.id, after.id}
    assert {u.name for u in filled.client.who_used(filled.SALES)} == {other.manifest.name}
    assert filled.client.who_used("stock") == filled.client.who_used("stock_v1")


def test_a_snapshot_that_is_gone_was_used_all_the_same(sets):
    """Sequence numbers in manifests keep the order of expired snapshots."""
    filled, before, bad, after, _ = sets
    table = filled.client.table("stock_v1")
    for built in (before, after):
        table.manage_snapshots().remove_tag(built.manifest.features[0].tag).commit()
    filled.client.ingest(filled.STOCK, filled.stock((9, 1, 9)))
    table.refresh()
    gone = [s.snapshot_id for s in table.metadata.snapshots if s.snapshot_id != table.current_snapshot().snapshot_id]
    table.maintenance.expire_snapshots().by_ids(gone).commit()

    first, last = (built.manifest.features[0].snapshot_id for built in (before, after))
    assert {u.manifest_id for u in filled.client.who_used(filled.STOCK, snapshot=first)} == {before.id, after.id}
    assert [u.manifest_id for u in filled.client.who_used(filled.STOCK, snapshot=last)] == [after.id]
    assert bad.snapshot_id in gone


def test_a_column_was_used_by_whoever_read_it(sets):
    """Keys too."""
    filled, *_ = sets

    assert [u.columns for u in filled.client.who_used(filled.SALES, column="units")] == [("units",)]
    assert filled.client.who_used(filled.SALES, column="asked_at") == ()
    assert len(filled.client.who_used(filled.STOCK, column="store_id")) == 2


def test_use_of_what_was_erased_is_still_told(sets):
    """A set too many is safer than one too few."""
    filled, before, bad, *_ = sets
    batch = filled.stock((6, 1, 6)).set_column(0, "store_id", [["4711"]])
    first = filled.client.ingest(filled.STOCK, batch).snapshot_id
    filled.client.ingest(filled.STOCK, filled.stock((6.5, 1, 6.5)))
    late = filled.client.training_set(filled.asked((9, "1")), {"stock": ["on_hand"]}, name="latest")
    filled.client.ingest(filled.STOCK, filled.stock((7, 1, 7)))
    filled.client.training_set(filled.asked((9, "1")), {"stock": ["on_hand"]}, name="last")
    filled.client.erase({"store_id": "4711"}, reason="t", in_use=())

    used = filled.client.who_used(filled.STOCK, snapshot=late.manifest.features[0].snapshot_id)
    assert {use.name for use in used if use.is_erased} == {"latest", "last"}
    assert late.id in {u.manifest_id for u in filled.client.who_used(filled.STOCK, snapshot=bad.snapshot_id)}
    assert before.id not in {u.manifest_id for u in filled.client.who_used(filled.STOCK, snapshot=bad.snapshot_id)}
    with pytest.raises(
        FeatureTableError, match=f"table stock_v1 has no snapshot {first}: it has expired, or never existed"
    ):
        filled.client.who_used(filled.STOCK, snapshot=first)


def test_fails_for_a_column_and_a_snapshot_that_never_were(sets):
    """An empty result would be wrong for a misspelt name."""
    filled, *_ = sets
    with pytest.raises(FeatureTableError, match=r"has no column 'on_hnd', it has store_id, .*; no snapshot 7: it has"):
        filled.client.who_used(filled.STOCK, snapshot=7, column="on_hnd")


def test_what_a_list_holds_is_not_a_column(filled):
    """Iceberg gives list elements names of their own."""
    codes = replace(filled.STOCK, name="codes", features=(Feature("codes", "list<string>", "codes"),))
    batch = pa.table({"store_id": ["1"], "event_time": [filled.day(1)], "codes": [["a"]]})
    filled.client.ingest(codes, batch)
    there = "it has store_id, event_time, created_time, ingest_id, codes$"
    with pytest.raises(FeatureTableError, match=f"has no column 'codes.element', {there}"):
        filled.client.who_used(codes, column="codes.element")


def test_a_group_is_named_as_in_a_training_set(sets):
    """By its table, or by its name while it has one version."""
    filled, before, _, after, _ = sets
    assert {u.manifest_id for u in filled.client.who_used("stock")} == {before.id, after.id}

    filled.client.ingest(replace(filled.STOCK, version=2), filled.stock((1, 1, 1)))

    for group, message in (
        ("stock", "group 'stock' has versions stock_v1, stock_v2; name one of them"),
        ("sold", "database features has no table sold; ingest a batch of it first"),
        ("sold_v1", "database features has no table sold_v1; ingest a batch of it first"),
        (5, "a FeatureGroup or its name is required, got 5"),
    ):
        with pytest.raises(FeatureTableError, match=f"^{message}"):
            filled.client.who_used(group)
