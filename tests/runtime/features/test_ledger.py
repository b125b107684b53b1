"""Keys are remembered in the table, also beyond the snapshots that they came with."""

from datetime import timedelta

from mlops_runtime.features import ledger


def test_each_ingest_is_an_entry(shop):
    """With key, content and time."""
    done = shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1)), idempotency_key="k")

    (entry,) = ledger.entries(shop.client.table("stock_v1"))

    assert (entry.key, entry.snapshot_id, entry.at) == ("k", done.snapshot_id, shop.day(20).isoformat())
    assert entry.content.startswith("h2:")
    assert ledger.find(shop.client.table("stock_v1"), "never") is None


def test_the_newest_event_never_falls(shop):
    """A late batch leaves it, a newer one moves it."""
    newest = []
    for event in (3, 1, 7):
        shop.client.ingest(shop.STOCK, shop.stock((event, 5, event)))
        newest.append(ledger.newest(shop.client.table("stock_v1")))

    assert newest == [shop.day(3), shop.day(3), shop.day(7)]


def test_keys_of_expiring_snapshots_are_carried_for_ninety_days(shop):
    """Also twice over; what is older is forgotten."""
    first = shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1)), idempotency_key="old")
    shop.set_day(60)
    second = shop.client.ingest(shop.STOCK, shop.stock((2, 5, 2)), idempotency_key="new")
    table = shop.client.table("stock_v1")
    going = [first.snapshot_id, second.snapshot_id]

    soon = ledger.carried(table, going, shop.day(100))
    late = ledger.carried(table, going, shop.day(20) + ledger.REMEMBERED + timedelta(days=1))

    assert ('"old"' in soon["mlops.ledger"], '"new"' in soon["mlops.ledger"]) == (True, True)
    assert ('"old"' in late["mlops.ledger"], '"new"' in late["mlops.ledger"]) == (False, True)
    assert soon[ledger.EVENT_TIME_MAX] == shop.day(2).isoformat()


def test_the_newest_event_survives_a_snapshot_that_says_nothing(shop):
    """As one of Glue's compaction does."""
    shop.client.ingest(shop.STOCK, shop.stock((7, 5, 7)))
    table = shop.client.table("stock_v1")
    with table.transaction() as transaction, transaction.update_snapshot().fast_append():
        pass

    shop.client.ingest(shop.STOCK, shop.stock((3, 5, 3)))

    assert ledger.newest(shop.client.table("stock_v1")) == shop.day(7)
