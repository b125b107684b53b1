"""Groups without any matched row: the warning names the cause and the fix."""

import pytest

from mlops_runtime.features.unmatched_groups import UnmatchedGroupWarning


def test_history_that_was_ingested_names_backfill(shop):
    """Rows that became known at the load are unknown at earlier times; by event time they match."""
    shop.client.ingest(shop.STOCK, shop.stock((1, 10, 1), (2, 20, 2)).drop_columns(["created_time"]))
    with pytest.warns(UnmatchedGroupWarning, match="2 of 2 would by event time.*load history by backfill"):
        built = shop.client.training_set(shop.asked((2, "1"), (3, "1")), {"stock": ["on_hand"]}, name="late")
    assert built.matched == {"stock_v1": 0}
    asked = shop.asked((2, "1"), (3, "1"))
    found = shop.client.training_set(asked, {"stock": ["on_hand"]}, name="late", semantics="event_time")
    assert (found.matched, found.warnings) == ({"stock_v1": 2}, ())


def test_history_that_was_backfilled_is_found_without_a_warning(shop, recwarn):
    """Matches are counted, in the manifest too."""
    shop.client.backfill(shop.STOCK, shop.stock((1, 10, 1), (2, 20, 2)))
    built = shop.client.training_set(shop.asked((2, "1"), (3, "2")), {"stock": ["on_hand"]}, name="known")
    assert built.manifest.output.matched == {"stock_v1": 1}
    assert not [each for each in recwarn if each.category is UnmatchedGroupWarning]


def test_other_keys_are_named(filled):
    """If times do not explain it; names the time to live as a possible cause."""
    with pytest.warns(UnmatchedGroupWarning, match="its rows have other values of store_id.*time to live of 2 days"):
        filled.client.training_set(filled.asked((3, "9")), {"stock": ["on_hand"]}, name="other")


def test_no_entity_rows_are_no_warning(filled, recwarn):
    """No row could have matched."""
    filled.client.training_set(filled.asked(), {"stock": ["on_hand"]}, name="none")
    assert not [each for each in recwarn if each.category is UnmatchedGroupWarning]
