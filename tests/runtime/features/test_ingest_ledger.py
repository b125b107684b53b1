"""Keys are stored in summaries and later in objects, and snapshots stay few."""

import json
from datetime import timedelta

import pytest

from mlops_runtime.contracts.features import LEDGER_DAYS
from mlops_runtime.features import ingest_ledger
from mlops_runtime.features.batch_ingest import KeyReusedError
from mlops_runtime.features.ingest_ledger import KEPT, hash_of
from mlops_runtime.features.ledger_index import INDEX_FILES, LostLedgerError


def objects(shop):
    """Return the ledger's files by name."""
    return {path.stem: path for path in ledger(shop) if not path.name.startswith(INDEX_FILES)}


def ledger(shop):
    """Return all files of the ledger."""
    return sorted((shop.path / "tables" / "ledger").rglob("*.json"), key=lambda path: path.stat().st_mtime_ns)


def ingest(shop, number, **options):
    """Ingest a row with a numbered key."""
    return shop.client.ingest(
        shop.STOCK, shop.stock((number / 100, number, 10)), **{"idempotency_key": f"batch {number}"} | options
    )


def test_each_ingest_is_an_entry(shop):
    """It has the hash of the key, the content and the time; the key itself is not stored."""
    done = shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1)), idempotency_key="customer 4711")

    (entry,) = ingest_ledger.entries(shop.client.table("stock_v1"))

    assert (entry.key_hash, entry.snapshot_id) == (hash_of("customer 4711"), done.snapshot_id)
    assert entry.at == shop.day(20).isoformat()
    assert entry.content.startswith("h3:")
    assert ingest_ledger.find(shop.client.table("stock_v1"), hash_of("never"), shop.day(20)) is None
    assert all(b"customer 4711" not in path.read_bytes() for path in shop.path.rglob("*") if path.is_file())


def test_the_newest_event_never_falls(shop):
    """A late batch leaves it unchanged, a newer one advances it."""
    newest = []
    for event in (3, 1, 7):
        shop.client.ingest(shop.STOCK, shop.stock((event, 5, event)))
        newest.append(ingest_ledger.newest(shop.client.table("stock_v1")))

    assert newest == [shop.day(3), shop.day(3), shop.day(7)]


def test_the_newest_event_survives_a_snapshot_that_says_nothing(shop):
    """Glue's compaction commits such snapshots; also if all later ones are."""
    shop.client.ingest(shop.STOCK, shop.stock((7, 5, 7)))
    table = shop.client.table("stock_v1")
    for _ in range(2 * KEPT + 1):
        with table.transaction() as transaction, transaction.update_snapshot().fast_append():
            pass

    shop.client.ingest(shop.STOCK, shop.stock((3, 5, 3)))

    assert ingest_ledger.newest(shop.client.table("stock_v1")) == shop.day(7)


def test_what_says_the_newest_event_is_not_expired(shop):
    """It is kept after any number of compactions."""
    reported = shop.client.ingest(shop.STOCK, shop.stock((7, 5, 7))).snapshot_id
    table = shop.client.table("stock_v1")
    for _ in range(2 * KEPT):
        with table.transaction() as transaction, transaction.update_snapshot().fast_append():
            pass

    going = ingest_ledger.expirable(table)

    assert len(going) == KEPT - 1
    assert reported not in going


def test_snapshots_stay_few_and_every_key_is_known(shop):
    """Tagged snapshots stay; each expired key has an object and is still a duplicate."""
    first = ingest(shop, 0)
    table = shop.client.table("stock_v1")
    table.manage_snapshots().create_tag(first.snapshot_id, "theirs").commit()
    for number in range(1, 40):
        ingest(shop, number)
        assert len(shop.client.table("stock_v1").metadata.snapshots) <= 2 * KEPT + 2

    table = shop.client.table("stock_v1")
    assert table.snapshot_by_id(first.snapshot_id) is not None
    assert set(objects(shop)) == {hash_of(f"batch {n}") for n in range(40)} - {
        entry.key_hash for entry in ingest_ledger.entries(table)
    }
    assert all(ingest(shop, number).duplicate for number in range(40))
    with pytest.raises(KeyReusedError, match="idempotency key 'batch 3' of stock_v1 was used at 2017-01-21"):
        shop.client.ingest(shop.STOCK, shop.stock((1, 99, 1)), idempotency_key="batch 3")


def test_an_ingest_that_ends_after_the_ledger_changes_nothing(shop, monkeypatch):
    """Objects of keys whose summaries exist have the same content; a repeated ingest writes them again."""
    ingest(shop, 0)
    number = 0
    while not ingest_ledger.expirable(shop.client.table("stock_v1")):
        number += 1
        ingest(shop, number)
    before = ingest_ledger.entries(shop.client.table("stock_v1"))
    original = ingest_ledger.ExpireSnapshots
    monkeypatch.setattr(ingest_ledger, "ExpireSnapshots", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ingest(shop, 99)
    monkeypatch.setattr(ingest_ledger, "ExpireSnapshots", original)

    written = {name: path.read_bytes() for name, path in objects(shop).items()}
    assert written
    assert ingest_ledger.entries(shop.client.table("stock_v1")) == before
    assert not ingest(shop, 99).duplicate
    assert written == {name: path.read_bytes() for name, path in objects(shop).items()}


def test_a_key_is_an_object_before_its_summary_goes(shop, monkeypatch):
    """An ingest that lost a race checks the state that it commits to, and then the ledger."""
    for number in range(2 * KEPT):
        ingest(shop, number)
    original, seen = ingest_ledger.entries, []

    def overtaken(table):
        if not seen:
            seen.append(None)
            for number in range(200, 200 + 2 * KEPT):
                ingest(shop, number)
        return original(table)

    monkeypatch.setattr(ingest_ledger, "entries", overtaken)
    assert shop.new_client().ingest(shop.STOCK, shop.stock((0, 0, 10)), idempotency_key="batch 0").duplicate


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b""), r"is damaged \(Expecting value"),
        (lambda path: path.write_bytes(path.read_bytes()[:40]), r"is damaged \(Unterminated string"),
        (lambda path: path.write_bytes(b"[]"), r"is damaged \("),
        (lambda path: path.write_bytes(b"\xff"), r"is damaged \("),
    ],
)
def test_an_object_that_is_lost_is_named(shop, damage, what):
    """The error precedes a second write; other batches, and these rows under their own key, are ingested."""
    for number in range(2 * KEPT + 2):
        ingest(shop, number)
    lost = objects(shop)[hash_of("batch 0")]
    damage(lost)
    before = shop.client.table("stock_v1").metadata_location

    with pytest.raises(
        LostLedgerError, match=f"was ingested into stock_v1 on 2017-01-21.*-{hash_of('batch 0')[:16]}.*{what}"
    ) as error:
        ingest(shop, 0)

    assert error.value.place.endswith(f"{lost.name}")
    assert shop.client.table("stock_v1").metadata_location == before
    assert not ingest(shop, 77).duplicate
    assert not ingest(shop, 0, idempotency_key="once more").duplicate


@pytest.mark.parametrize("content", [b"", b'{"at": "2017'])
def test_an_object_that_no_commit_counts_on_may_be_torn(shop, content):
    """It counts as missing: the batch is written once, then the complete object."""
    ingest(shop, 0)
    place = shop.path / "tables/ledger/features/stock_v1" / str(shop.client.table("stock_v1").metadata.table_uuid)
    place.mkdir(parents=True)
    torn = place / f"{hash_of('batch 1')}.json"
    torn.write_bytes(content)

    assert not ingest(shop, 1).duplicate
    for number in range(2, 2 * KEPT + 2):
        ingest(shop, number)

    assert json.loads(torn.read_text())["key_hash"] == hash_of("batch 1")
    assert ingest(shop, 1).duplicate


def test_a_key_that_may_be_forgotten_needs_no_object(shop):
    """90 days after its ingest; an index whose keys are all as old may be missing too."""
    for number in range(2 * KEPT + 2):
        ingest(shop, number)
    for path in ledger(shop):
        path.unlink()

    shop.set_day(20 + 90)
    with pytest.raises(LostLedgerError, match="index of the ledger of stock_v1 is missing"):
        ingest(shop, 0)
    shop.set_day(20 + 91)
    assert not ingest(shop, 0).duplicate


def test_the_index_outlives_compactions_erasures_and_snapshots_that_say_nothing(shop):
    """Each of these commits; an erasure also expires snapshots and adds their keys."""
    for number in range(4 * KEPT):
        ingest(shop, number)
    newest = hash_of(f"batch {4 * KEPT - 1}")
    assert newest not in objects(shop)
    shop.client.erase({"store_id": "1"}, reason="T-1", in_use=[])
    table = shop.client.table("stock_v1")
    for _ in range(2 * KEPT + 1):
        with table.transaction() as transaction, transaction.update_snapshot().fast_append():
            pass
    ingest(shop, 99)

    for path in objects(shop).values():
        path.unlink()
    for number in range(4 * KEPT):
        with pytest.raises(LostLedgerError):
            ingest(shop, number)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"{")])
def test_a_lost_index_is_made_again_from_the_rows(shop, damage):
    """Maintenance rebuilds it; until then no possibly duplicate batch is written."""
    for number in range(2 * KEPT + 2):
        ingest(shop, number)
    objects(shop)[hash_of("batch 0")].unlink()
    damage(next(path for path in reversed(ledger(shop)) if path.name.startswith(INDEX_FILES)))
    with pytest.raises(LostLedgerError, match=r"index of the ledger of stock_v1 is .*mlops features maintain"):
        ingest(shop, 99)

    shop.client.maintain()

    assert not ingest(shop, 99).duplicate
    assert ingest(shop, 1).duplicate
    with pytest.raises(LostLedgerError, match="was ingested"):
        ingest(shop, 0)


def test_an_object_says_what_the_summary_said(shop):
    """It has the key's hash, content, snapshot and time."""
    done = [ingest(shop, number) for number in range(2 * KEPT + 2)]

    parsed = json.loads(objects(shop)[hash_of("batch 1")].read_text())

    assert parsed["snapshot_id"] == done[1].snapshot_id
    assert parsed["at"] == shop.day(20).isoformat()
    assert ingest(shop, 1).snapshot_id == done[1].snapshot_id


def test_objects_live_longer_than_keys_are_remembered():
    """An object is written when its summary is removed, which is later than the ingest."""
    assert timedelta(days=LEDGER_DAYS) > ingest_ledger.REMEMBERED
