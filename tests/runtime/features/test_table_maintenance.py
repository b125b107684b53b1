"""Maintenance: orphaned files, old keys, and sets whose tags were replaced."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from mlops_runtime.features.ingest_ledger import KEPT
from mlops_runtime.features.rebuild import Verdict
from mlops_runtime.features.snapshot_tags import KEPT_TAGS
from mlops_runtime.features.table_description import FeatureTableError
from mlops_runtime.features.table_maintenance import LITTER_AGE


def age(path, **options) -> None:
    """Give a file an age."""
    then = (datetime.now(UTC) - timedelta(**options)).timestamp()
    os.utime(path, (then, then))


@pytest.fixture
def busy(shop):
    """Return a shop whose first snapshots are expired."""
    for number in range(2 * KEPT + 4):
        shop.client.ingest(shop.STOCK, shop.stock((number / 100, number, 10)), idempotency_key=f"batch {number}")
    return shop


def test_a_table_that_fails_keeps_no_other_from_it(shop):
    """The others are maintained, and the error names the failed ones."""
    shop.client.ingest(shop.STOCK, shop.stock((0, 1, 10)))
    with pytest.raises(FeatureTableError, match=r"1 tables are not maintained: .*absent_v1"):
        shop.client.maintain(["absent_v1", "stock_v1"])


def test_files_that_no_snapshot_names_go_after_a_day(busy):
    """Files of active writers and named files of any age stay."""
    (maintained,) = busy.client.maintain()
    assert maintained.removed == 0
    for path in (busy.path / "tables/features").rglob("*"):
        if path.is_file():
            age(path, hours=25)
    fresh = busy.path / "tables/features/stock_v1/data/of_a_writer_at_work.parquet"
    fresh.write_bytes(b"PAR1")

    (maintained,) = busy.new_client().maintain()

    assert maintained.removed > 0
    assert fresh.exists()
    assert busy.new_client().table("stock_v1").scan().to_arrow().num_rows == 2 * KEPT + 4
    assert busy.new_client().maintain()[0].removed == 0


def test_keys_are_forgotten_after_ninety_seven_days(busy):
    """Redeliveries are over by then."""
    objects = sorted((busy.path / "tables/ledger").rglob("*.json"))
    age(objects[0], days=98)
    age(objects[1], days=96)

    assert busy.client.maintain()[0].forgotten == 1
    assert not objects[0].exists()
    assert objects[1].exists()


def test_halves_of_killed_writers_go(busy):
    """Next to the ledger's objects, which are written atomically."""
    place = next((busy.path / "tables/ledger").rglob("*.json"))
    half = place.with_name(f".{place.name}.1.part")
    half.write_bytes(b"")

    busy.client.maintain()

    assert not half.exists()
    assert place.exists()


def test_a_folder_is_swept_once_a_day_by_its_ingests(busy):
    """Files left by one day's commits are removed by a later ingest."""
    litter = busy.path / "tables/features/stock_v1/metadata/litter.avro"
    litter.write_bytes(b"")
    age(litter, hours=25)
    (mark,) = (busy.path / "tables/ledger").rglob("swept")
    age(mark, hours=LITTER_AGE / timedelta(hours=1) + 1)

    for number in range(100, 109):
        busy.client.ingest(busy.STOCK, busy.stock((number / 100, number, 10)))

    assert not litter.exists()


def test_sets_of_replaced_tags_are_rebuilt_after_their_snapshots_are_gone(shop):
    """Builds keep the newest tags and maintenance drops none; the sequence number of a set pins its rows."""
    built = []
    for number in range(KEPT_TAGS + 2):
        shop.client.ingest(shop.STOCK, shop.stock((9 + number / 100, number, 10)))
        built.append(shop.client.training_set(shop.asked((11, "1")), [shop.STOCK], name=f"set-{number}"))
    pins = [each.manifest.features[0] for each in built]
    kept = {"main", *(pinned.tag for pinned in pins[-KEPT_TAGS:])}
    assert set(shop.client.table("stock_v1").metadata.refs) == kept

    shop.client.maintain()
    for number in range(3 * KEPT):
        shop.client.ingest(shop.STOCK, shop.stock((9.5 + number / 100, number, 10)))

    table = shop.client.table("stock_v1")
    assert set(table.metadata.refs) == kept
    assert [table.snapshot_by_id(pinned.snapshot_id) for pinned in pins[:2]] == [None, None]
    assert [shop.client.rebuild(each.id).verdict for each in built] == [Verdict.IDENTICAL] * len(built)
