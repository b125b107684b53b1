"""Differences of two training sets."""

import pytest

from mlops_runtime.features.rebuild import Verdict
from mlops_runtime.features.training_set_request import TrainingSetError


def test_two_sets_of_the_same_rows_differ_by_value(sets):
    """Reports the snapshot, and the number of changed rows by column."""
    filled, before, _, _, _ = sets
    rows = filled.asked((3, "1"), (5, "1"), (5, "2"))
    filled.client.ingest(filled.STOCK, filled.stock((5, 55, 5)))
    again = filled.client.training_set(rows, {"stock": ["on_hand"]}, name="shelves")

    found = filled.client.diff(before.id, again.id)

    assert found.changed == {"stock__on_hand": 1}
    assert (found.request, found.rows, found.only_a) == ({}, (3, 3), None)
    old, new = found.snapshots["stock_v1"]
    assert (old, new) == (before.manifest.features[0].snapshot_id, again.manifest.features[0].snapshot_id)
    assert not found.is_none
    assert filled.client.diff(before.id, before.id).is_none


def test_two_sets_of_other_rows_differ_by_row(sets):
    """Reports requests, columns, and rows in only one set."""
    filled, before, _, after, other = sets

    found = filled.client.diff(before.id, after.id)
    columns = filled.client.diff(before.id, other.id)

    assert set(found.request) == {"name", "entities"}
    assert (found.rows, found.only_a, found.only_b) == ((3, 2), 3, 2)
    assert (columns.columns_added, columns.columns_removed) == (("sales__units",), ("stock__on_hand",))
    assert columns.snapshots.keys() == {"stock_v1", "sales_v1"}


def test_fails_when_one_cannot_be_built_again(sets):
    """The error has the reason."""
    filled, before, _, after, _ = sets
    filled.client.erase({"store_id": "1"}, reason="t", in_use=())

    assert filled.client.rebuild(before.id).verdict is Verdict.IMPOSSIBLE
    with pytest.raises(
        TrainingSetError, match=f"training set {before.id} cannot be rebuilt: erasure .* erased rows of"
    ):
        filled.client.diff(before.id, after.id)
