"""Training sets of given rows: names, order, ids, pins, semantics, and invalid requests."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.types import DoubleType

from mlops_runtime.contracts import canonical_json
from mlops_runtime.features.feature_group import Entity
from mlops_runtime.features.point_in_time import PlanError, UnmatchedGroupWarning
from mlops_runtime.features.rebuild import Verdict
from mlops_runtime.features.table_description import TableMeaning
from mlops_runtime.features.training_set_request import TrainingSetError
from mlops_runtime.features.training_set_sql import SqlPlanError, SqlTable

ON_HAND = {"stock": ["on_hand"]}


def values(built) -> list[int | None]:
    """Return the stock of each row."""
    return built.rows["stock__on_hand"].to_pylist()


def test_rows_keep_their_order_and_get_named_columns(filled):
    """Duplicates and unmatched rows stay; columns are named group__feature, and row_id is added."""
    rows = filled.asked((3, "1"), (1.5, "1"), (3, "2"), (3, "1"))

    built = filled.client.training_set(rows, [filled.STOCK], name="shelves")

    assert built.rows.column_names == ["store_id", "event_timestamp", "row_id", "stock__on_hand"]
    assert values(built) == [30, 10, None, 30]
    assert built.rows["row_id"].to_pylist() == [0, 1, 2, 3]


def test_given_row_ids_decide_the_order(filled):
    """Given ids are kept."""
    rows = filled.asked((3, "1"), (1.5, "1")).append_column("row_id", pa.array([7, 4], pa.int64()))

    built = filled.client.training_set(rows, ON_HAND, name="shelves")

    assert (built.rows["row_id"].to_pylist(), values(built)) == ([4, 7], [10, 30])


def test_frames_and_zones_make_no_difference(filled):
    """Pandas and polars frames, seconds and other zones are the same rows."""
    rows = filled.asked((3, "1"), (1.5, "1"))
    moved = rows.set_column(
        1, "event_timestamp", rows["event_timestamp"].cast(pa.timestamp("s", "UTC")).cast(pa.timestamp("s", "+05:30"))
    )

    polar, panda = polars.from_arrow(rows), pd.DataFrame(rows.to_pydict())
    category = panda.astype({"store_id": "category"})

    built = [
        filled.client.training_set(frame, ON_HAND, name="shelves")
        for frame in (
            rows,
            moved,
            polar,
            polar.with_columns(polars.col("store_id").cast(polars.Categorical)),
            panda,
            category,
        )
    ]

    assert {tuple(values(one)) for one in built} == {(30, 10)}
    assert {one.id for one in built} == {built[0].id}


def test_the_same_request_has_the_same_id(filled):
    """At any time, by any caller, and after any commits to the table."""
    rows = filled.asked((3, "1"))
    one = filled.client.training_set(rows, ON_HAND, name="shelves")
    pinned = one.manifest.features[0].snapshot_id
    filled.client.ingest(filled.STOCK, filled.stock((2.5, 99, 2.6)))
    filled.set_day(30)

    two = filled.new_client().training_set(rows, ON_HAND, name="shelves", snapshots={"stock": pinned})
    three = filled.client.training_set(rows, ON_HAND, name="shelves")

    assert (one.id, one.files) == (two.id, two.files)
    assert three.id != one.id
    assert (values(one), values(three)) == ([30], [30])


def test_the_manifest_is_complete_and_is_its_id(filled):
    """Its bytes hash to the id; it has tag, field ids and names, and lies next to the files."""
    built = filled.client.training_set(filled.asked((3, "1")), ON_HAND, name="shelves", source={"commit": "abc"})
    (pinned,) = built.manifest.features

    assert hashlib.sha256(canonical_json(built.manifest)).hexdigest() == built.id
    assert filled.client.manifests.read(built.id) == built.manifest
    assert filled.client.table("stock_v1").metadata.refs[pinned.tag].snapshot_id == pinned.snapshot_id
    assert (pinned.names, pinned.field_ids, pinned.ttl_seconds) == (("stock__on_hand",), (5,), 172800)
    assert built.manifest.build.source == {"commit": "abc"}
    assert b"metadata_location" not in canonical_json(built.manifest)
    (file,) = built.manifest.output.files
    (copy,) = filled.client.manifests.copies(built.id)
    assert pq.read_table(f"{copy}/{file.path}") == built.rows


def test_no_value_of_a_row_is_printed(filled):
    """Logs may contain names and sizes of files, never keys and values."""
    built = filled.client.training_set(filled.asked((3, "1"), (3, "PERSON-1")), ON_HAND, name="shelves")
    again = filled.client.rebuild(built.id)
    (file,) = built.manifest.output.files

    for printed in (repr(built), repr(again)):
        assert "PERSON-1" not in printed
        assert "PAR1" not in printed
        assert f"path={file.path!r}" in printed
        assert f"bytes={file.bytes}" in printed
    assert again.training_set.rows == built.rows


def test_as_of_cuts_the_created_time_under_both_semantics(filled):
    """Inclusive, for any event time; a restatement created later is not read."""
    filled.client.ingest(filled.STOCK, filled.stock((3, 77, 5)))
    rows = filled.asked((6, "1")).set_column(1, "event_timestamp", [[filled.day(4)]])

    found = {
        (semantics, as_of): values(
            filled.client.training_set(rows, ON_HAND, name="shelves", semantics=semantics, as_of=filled.day(as_of))
        )[0]
        for semantics in ("known_at", "event_time")
        for as_of in (3, 3.5, 5)
    }
    late = filled.client.training_set(filled.asked((3.9, "1")), ON_HAND, name="late", as_of=filled.day(5))
    leaking = filled.client.training_set(
        filled.asked((3.9, "1")), ON_HAND, name="late", as_of=filled.day(5), semantics="event_time"
    )

    assert found == {(s, d): {3: 30, 3.5: 30, 5: 40}[d] for s in ("known_at", "event_time") for d in (3, 3.5, 5)}
    assert (values(late), values(leaking)) == ([30], [77])


def test_an_exclusive_time_to_live_ends_before_its_end(shop):
    """Two days after its event a value counts with an inclusive bound and not with an exclusive one."""
    short = replace(shop.STOCK, name="short", ttl_bound="exclusive")
    for group in (shop.STOCK, short):
        shop.client.ingest(group, shop.stock((1, 5, 1)))

    built = shop.client.training_set(shop.asked((3, "1"), (2.99, "1")), [shop.STOCK, short], name="both")

    assert built.rows["stock__on_hand"].to_pylist() == [5, 5]
    assert built.rows["short__on_hand"].to_pylist() == [None, 5]


def test_a_null_restatement_is_null_and_nan_stays(shop):
    """Nulls are not filled from older rows."""
    group = replace(shop.STOCK, name="rate", features=(replace(shop.STOCK.features[0], type="double"),), ttl=None)
    rows = shop.stock((1, 5, 1), (2, None, 2), (3, 5, 3))
    nan = rows.set_column(3, "on_hand", pa.array([5.0, None, float("nan")], pa.float64()))
    shop.client.ingest(group, nan)

    built = shop.client.training_set(shop.asked((1, "1"), (2, "1"), (3, "1")), [group], name="rates")

    first, second, third = built.rows["rate__on_hand"].to_pylist()
    assert (first, second) == (5.0, None)
    assert third != third  # noqa: PLR0124 - NaN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": {"orders": ["x"]}}, "there is no feature table of group 'orders', there are sales_v1, stock_v1"),
        ({"features": {"stock": ["price"]}}, "stock has no column 'price', it has store_id"),
        ({"features": {}}, "features must name at least one column of each group, got {}"),
        ({"features": {"stock": []}}, "features must name at least one column of each group"),
        ({"snapshots": {"stock": 5}}, "table stock_v1 has no snapshot 5: it has expired, or never existed"),
        ({"snapshots": {"sales": 5}}, "snapshots names 'sales', but no feature of it is requested"),
        ({"timestamp": "at"}, "entity rows have no column 'at', they have store_id, event_timestamp"),
        ({"timestamp": "store_id"}, "'store_id' must be a timestamp with a time zone, got string"),
        ({"time_zone": "Berlin"}, "time_zone must be an IANA name such as 'UTC' or 'America/New_York', got 'Berlin'"),
    ],
)
def test_fails_when_the_request_does_not_fit(filled, change, message):
    """The error lists the available values; no tag is left."""
    request = {"entities": filled.asked((3, "1")), "features": ON_HAND, "name": "shelves"} | change
    with pytest.raises(TrainingSetError) as error:
        filled.client.training_set(request.pop("entities"), request.pop("features"), **request)
    assert message in str(error.value)
    assert set(filled.client.table("stock_v1").metadata.refs) == {"main"}
    assert filled.client.manifests.ids() == ()


def test_a_life_below_a_second_is_exact(filled):
    """To the microsecond, in a set, its rebuild and the table's properties; the last instant counts."""
    life = timedelta(milliseconds=250)
    short = replace(filled.STOCK, name="short", ttl=life)
    filled.client.ingest(short, filled.stock((1, 10, 1)))
    times = [filled.day(1) + life, filled.day(1) + life + timedelta(microseconds=1)]
    built = filled.client.training_set(
        pa.table({"store_id": ["1", "1"], "event_timestamp": times}), {"short": ["on_hand"]}, name="short"
    )
    assert built.rows["short__on_hand"].to_pylist() == [10, None]
    assert built.manifest.features[0].ttl_seconds == 0.25
    assert filled.client.rebuild(built.id).verdict is Verdict.IDENTICAL
    assert TableMeaning.of("short_v1", filled.client.table("short_v1").properties).ttl == life


def test_no_entity_rows_are_an_empty_set(filled):
    """It has its columns, although an empty frame has no types, and can be rebuilt."""
    for rows in (
        pa.table({"store_id": [], "event_timestamp": []}),
        pd.DataFrame({"store_id": [], "event_timestamp": []}),
    ):
        built = filled.client.training_set(rows, ON_HAND, name="empty")
        assert built.rows.num_rows == 0
        assert built.rows.column_names == ["store_id", "event_timestamp", "row_id", "stock__on_hand"]
        assert filled.client.rebuild(built.id).verdict is Verdict.IDENTICAL


def test_a_group_without_rows_gives_an_unmatched_set(filled):
    """Its columns are null, also in a rebuild after rows came; a SQL statement would have no snapshot."""
    bare = replace(filled.STOCK, name="bare")
    filled.client._tables.writable(bare)
    entities = filled.asked((3, "1"))
    with pytest.warns(UnmatchedGroupWarning, match="no entity row matched a row of group bare"):
        built = filled.client.training_set(entities, {"stock": ["on_hand"], "bare": ["on_hand"]}, name="bare")
    assert built.rows.select(["stock__on_hand", "bare__on_hand"]).to_pylist() == [
        {"stock__on_hand": 30, "bare__on_hand": None}
    ]
    assert built.matched == {"stock_v1": 1, "bare_v1": 0}
    with pytest.raises(
        SqlPlanError, match="no rows yet in bare_v1, so there is no snapshot to name; ingest some first"
    ):
        filled.client.explain(entities, {"bare": ["on_hand"]}).sql(
            "athena", SqlTable(database="d", table="t", snapshot_id=1)
        )
    filled.client.ingest(bare, filled.stock((2, 20, 2)))
    assert filled.client.rebuild(built.id).verdict is Verdict.IDENTICAL


def test_keys_of_any_library_are_one_set(filled):
    """Pandas' floats for integers with gaps, unsigned integers and times in a zone give the same id."""
    numbers = replace(filled.STOCK, name="numbers", ttl=None, entities=(Entity("store", "int", "store"),))
    batch = filled.stock((1, 10, 1)).drop_columns(["store_id"]).append_column("store", [[7]])
    filled.client.ingest(numbers, batch)
    times = [filled.day(3)] * 2
    clocks = [time.astimezone(ZoneInfo("Asia/Tokyo")).replace(tzinfo=None) for time in times]
    frames = [
        pa.table({"store": pa.array([7, None], pa.uint8()), "event_timestamp": times}),
        pd.DataFrame({"store": [7, None], "event_timestamp": times}),
        polars.DataFrame({"store": [7, None], "event_timestamp": clocks}),
    ]
    sets = [
        filled.client.training_set(frame, {"numbers": ["on_hand"]}, name="keys", time_zone="Asia/Tokyo")
        for frame in frames
    ]
    assert len({built.id for built in sets}) == 1
    assert sets[0].rows["numbers__on_hand"].to_pylist() == [10, None]
    assert filled.client.latest(numbers, pa.table({"store": [7.0, 8.0]}))["on_hand"].to_pylist() == [10, None]


def test_fails_for_times_finer_than_microseconds(filled):
    """Rejects them instead of rounding."""
    fine = pa.array([filled.day(3)], pa.timestamp("us", timezone(timedelta(0)))).cast(pa.timestamp("ns", "UTC"))
    odd = pa.array([fine.cast(pa.int64())[0].as_py() + 1], pa.int64()).cast(pa.timestamp("ns", "UTC"))
    with pytest.raises(TrainingSetError, match="'event_timestamp' is finer than a microsecond"):
        filled.client.training_set(pa.table({"store_id": ["1"], "event_timestamp": odd}), ON_HAND, name="s")
    assert fine.type.tz == str(UTC)


def test_fails_for_keys_of_another_type(filled):
    """Key types must match exactly."""
    rows = pa.table({"store_id": pa.array([1], pa.int64()), "event_timestamp": [filled.day(3)]})
    with pytest.raises(PlanError, match="key 'store_id' of stock is int64 in the entity rows and string in the table"):
        filled.client.training_set(rows, ON_HAND, name="s")


@pytest.mark.parametrize(
    "rows",
    [
        pa.table({"shop": ["1"], "event_timestamp": [datetime(2017, 1, 3, tzinfo=UTC)]}),
        pa.table({"store_id": [1], "event_timestamp": [datetime(2017, 1, 3, tzinfo=UTC)]}),
        pa.table({"store_id": ["1"], "event_timestamp": [datetime(2017, 1, 3, tzinfo=UTC)], "stock__on_hand": [1]}),
        pa.table({"store_id": ["1"], "event_timestamp": [datetime(2017, 1, 3, tzinfo=UTC)], "row_id": ["1"]}),
        pa.table({"store_id": ["1"], "event_timestamp": pa.nulls(1, pa.timestamp("us", "UTC"))}),
    ],
)
def test_what_cannot_be_joined_leaves_no_tag(filled, rows):
    """A tagged snapshot would be kept for ever."""
    with pytest.raises((PlanError, TrainingSetError)):
        filled.client.training_set(rows, ON_HAND, name="shelves")
    assert list(filled.client.table("stock_v1").metadata.refs) == ["main"]


def test_a_column_newer_than_the_snapshot_is_refused(filled):
    """The error precedes any tag: a deployment adds columns before any ingest writes them."""
    with filled.client.table("stock_v1").update_schema() as update:
        update.add_column("price", DoubleType())
    before = filled.client.table("stock_v1").current_snapshot().snapshot_id

    with pytest.raises(
        TrainingSetError, match=f"column 'price' is newer than snapshot {before} of table stock_v1; ingest"
    ):
        filled.client.training_set(filled.asked((3, "1")), {"stock": ["price"]}, name="shelves")
    assert list(filled.client.table("stock_v1").metadata.refs) == ["main"]


def test_a_table_has_one_name_in_a_request(filled):
    """Group and table name give one id; both together could mean two snapshots."""
    rows, now = filled.asked((3, "1")), filled.client.table("stock_v1").current_snapshot().snapshot_id
    by_table = filled.client.training_set(rows, {"stock_v1": ["on_hand"]}, name="shelves")

    assert filled.client.training_set(rows, ON_HAND, name="shelves").id == by_table.id
    with pytest.raises(
        TrainingSetError, match="features names table stock_v1 twice, by group and by table; name it once"
    ):
        filled.client.training_set(rows, {"stock": ["on_hand"], "stock_v1": ["event_time"]}, name="shelves")
    with pytest.raises(TrainingSetError, match="snapshots names table stock_v1 twice"):
        filled.client.training_set(rows, ON_HAND, name="shelves", snapshots={"stock": now, "stock_v1": now})


def test_a_folder_is_the_same_from_elsewhere(filled, monkeypatch):
    """Paths of copies are absolute, so that an erasure finds them."""
    monkeypatch.chdir(filled.path.parent)
    built = filled.new_client(Path(filled.path.name)).training_set(filled.asked((3, "1")), ON_HAND, name="shelves")
    monkeypatch.chdir("/")

    assert [Path(uri).is_dir() for uri in filled.client.manifests.copies(built.id)] == [True]


def test_rows_of_the_first_day_of_the_calendar_are_asked_for(filled):
    """A time to live would reach before it."""
    rows = pa.table({"store_id": ["1"], "event_timestamp": [datetime(1, 1, 1, tzinfo=UTC)]})
    assert values(filled.client.training_set(rows, ON_HAND, name="shelves")) == [None]


def test_a_source_that_is_no_text_leaves_nothing(filled):
    """A manifest with it would be unreadable."""
    with pytest.raises(TrainingSetError, match=r"source must be strings by name.*, got 'build': 7"):
        filled.client.training_set(filled.asked((3, "1")), [filled.STOCK], name="s", source={"build": 7})
    assert set(filled.client.table("stock_v1").metadata.refs) == {"main"}
    assert filled.client.manifests.ids() == ()
