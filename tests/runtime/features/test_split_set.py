"""Training sets of a plan: known labels, the split by time, purging, pins, and invalid plans."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_runtime.contracts import content_hash
from mlops_runtime.features.feature_group import Feature
from mlops_runtime.features.point_in_time import PlanError
from mlops_runtime.features.split_set import plan_of
from mlops_runtime.features.training_set_request import TrainingSetError


def days(shop, table) -> list[float]:
    """Return the prediction times of a split, in days."""
    return [(time - shop.day(0)).total_seconds() / 86400 for time in table["asked_at"].to_pylist()]


def test_holdout_ends_with_the_newest_known_label(filled):
    """As of day 6.5 the labels of days 0-5 are known: the last two days are the holdout, the others train."""
    built = filled.client.split_training_set(filled.PLAN, as_of=filled.day(6.5))
    assert days(filled, built.train) == [0, 1, 2, 3]
    assert days(filled, built.holdout) == [4, 5]
    assert built.manifest.split == {
        "trained_until": "2017-01-05T00:00:00Z",
        "holdout_from": "2017-01-05T00:00:00Z",
        "holdout_until": "2017-01-07T00:00:00Z",
        "cut": "2017-01-05T00:00:00Z",
        "timestamp": "asked_at",
        "label": "units",
        "holdout_days": "2",
    }


def test_features_are_those_known_at_the_prediction(filled):
    """Each label of the day after has the stock of the prediction's day."""
    built = filled.client.split_training_set(filled.PLAN, as_of=filled.day(6.5))
    assert built.train.select(["units", "on_hand", "row_id"]).to_pydict() == {
        "units": [0.0, 1.0, 2.0, 3.0],
        "on_hand": [0, 10, 20, 30],
        "row_id": [0, 1, 2, 3],
    }


def test_late_label_trains_only_where_it_was_known_at_the_cut(filled):
    """A label of day 2 that came on day 5.5, after the split at day 4, is in neither part."""
    store = filled.client
    late = replace(filled.SALES, name="late")
    store.ingest(late, filled.sales(*((n, float(n), 5.5 if n == 2 else n + 1) for n in range(6))))
    built = store.split_training_set(replace(filled.PLAN, label_group="late"), as_of=filled.day(6))
    assert days(filled, built.train) == [0, 1, 3]
    assert days(filled, built.holdout) == [4, 5]


def test_restated_label_counts_from_when_it_was_known(filled):
    """Before a correction the old value is used, afterwards the new one; a withdrawn label is dropped."""
    filled.client.ingest(filled.SALES, filled.sales((1, 100.0, 6.2), (5, None, 8)))
    before = filled.client.split_training_set(filled.PLAN, as_of=filled.day(6.1))
    assert before.train["units"].to_pylist() == [0.0, 1.0, 2.0, 3.0]
    at_cut = filled.client.split_training_set(replace(filled.PLAN, holdout_days=1), as_of=filled.day(8))
    assert at_cut.train["units"].to_pylist() == [0.0, 100.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    after = filled.client.split_training_set(replace(filled.PLAN, holdout_days=4), as_of=filled.day(8))
    assert after.holdout["units"].to_pylist() == [4.0, 6.0, 7.0]


def test_history_bounds_the_training_rows(filled):
    """Only rows of the given days before the split train."""
    built = filled.client.split_training_set(replace(filled.PLAN, history_days=2), as_of=filled.day(6.5))
    assert days(filled, built.train) == [2, 3]
    assert built.manifest.split["history_days"] == "2"


def test_expired_and_late_stock_is_null(shop):
    """Stock older than two days, or not yet arrived, is null, and the row stays."""
    shop.client.ingest(shop.SALES, shop.sales(*((n, float(n), n + 1) for n in range(6))))
    shop.client.ingest(shop.STOCK, shop.stock((0, 7, 0), (3, 8, 4)))
    built = shop.client.split_training_set(shop.PLAN, as_of=shop.day(6.5))
    assert [*built.train["on_hand"].to_pylist(), *built.holdout["on_hand"].to_pylist()] == [7, 7, 7, None, 8, 8]


def test_tables_are_pinned_by_a_tag(filled):
    """The manifest names each table's snapshot, which a tag keeps."""
    built = filled.client.split_training_set(filled.PLAN, as_of=filled.day(6.5))
    pinned = built.manifest.features[0]
    table = filled.client.table("stock_v1")
    assert table.metadata.refs[pinned.tag].snapshot_id == pinned.snapshot_id == table.current_snapshot().snapshot_id
    assert (pinned.entities, pinned.ttl_seconds, pinned.columns) == (("store_id",), 172800, ("on_hand",))
    assert built.manifest.entities.columns == ("store_id", "asked_at", "units")
    assert [f.name for f in table.schema().fields if f.field_id in pinned.field_ids] == ["on_hand"]
    assert built.id == content_hash(built.manifest)


def test_building_twice_gives_the_same_manifest_and_bytes(filled):
    """Nothing depends on the clock or on chance."""
    one = filled.client.split_training_set(filled.PLAN, as_of=filled.day(6.5))
    two = filled.new_client().split_training_set(filled.PLAN, as_of=filled.day(6.5))
    assert (one.id, one.files) == (two.id, two.files)


def test_later_rows_change_nothing_known_before(filled):
    """More sales and stock give another snapshot and the same rows as of the same time."""
    one = filled.client.split_training_set(filled.PLAN, as_of=filled.day(6.5))
    filled.client.ingest(filled.SALES, filled.sales((11, 11.0, 12)))
    filled.client.ingest(filled.STOCK, filled.stock((3, 99, 15)))
    two = filled.client.split_training_set(filled.PLAN, as_of=filled.day(6.5))
    assert one.id != two.id
    assert one.manifest.output.content_hash == two.manifest.output.content_hash


def test_files_hold_the_splits(filled, tmp_path):
    """The Parquet files read back as the splits, and the manifest lists their sizes."""
    built = filled.client.split_training_set(filled.PLAN, as_of=filled.day(6.5))
    path = tmp_path / "part.parquet"
    path.write_bytes(built.files["holdout/part-0.parquet"])
    assert pq.read_table(path).to_pylist() == built.holdout.to_pylist()
    assert [(f.path, f.rows, f.bytes) for f in built.manifest.output.files] == [
        (name, rows, len(built.files[name]))
        for name, rows in (("train/part-0.parquet", 4), ("holdout/part-0.parquet", 2))
    ]


def test_group_may_be_named_by_its_table(filled):
    """A later version of the group does not affect a plan that names the table."""
    plan = replace(filled.PLAN, features={"stock_v1": ("on_hand",)})
    filled.client.ingest(replace(filled.STOCK, version=2), filled.stock((1, 1, 1)))
    assert filled.client.split_training_set(plan, as_of=filled.day(6.5)).manifest.features[0].table == "stock_v1"
    with pytest.raises(TrainingSetError, match="group 'stock' has versions stock_v1, stock_v2; name one of them"):
        filled.client.split_training_set(filled.PLAN, as_of=filled.day(6.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_group": "orders"}, "there is no feature table of group 'orders', there are sales_v1, stock_v1"),
        ({"label": "revenue"}, "sales has no column 'revenue', it has store_id, event_time"),
        ({"features": {"stock": ("price",)}}, "stock has no column 'price'"),
        ({"holdout_days": 0}, "holdout_days must be at least 1, got 0"),
        ({"holdout_days": 30}, "no rows for train; labels known at 2017-01-07T12:00:00+00:00 are split at 2016-12-08"),
    ],
)
def test_fails_when_the_plan_does_not_fit(filled, change, message):
    """The error lists the available values."""
    with pytest.raises(TrainingSetError) as error:
        filled.client.split_training_set(replace(filled.PLAN, **change), as_of=filled.day(6.5))
    assert message in str(error.value)


def test_fails_before_any_label_is_known(filled):
    """No label is known as of the first day."""
    with pytest.raises(TrainingSetError, match="no label of sales_v1 was known at 2017-01-01T12:00:00"):
        filled.client.split_training_set(filled.PLAN, as_of=filled.day(0.5))


def test_fails_when_a_label_was_known_before_its_prediction(filled):
    """Such a label is a leak in the data."""
    leak = replace(filled.SALES, name="leak")
    rows = filled.sales((1, 1.0, 2), (2, 2.0, 3))
    early = rows.set_column(3, "asked_at", [[filled.day(1), filled.day(4)]])
    filled.client.ingest(leak, early)
    with pytest.raises(
        TrainingSetError, match="1 labels were known before their asked_at, so there is nothing to predict"
    ):
        filled.client.split_training_set(replace(filled.PLAN, label_group="leak"), as_of=filled.day(9))


@pytest.mark.parametrize(("old", "new"), [("units", "place"), ("store_id", "place")])
def test_columns_may_be_called_as_they_like(filled, old, new):
    """A key or a label may be called place."""
    group, plan = _renamed(filled, old, new)
    built = filled.client.split_training_set(plan, as_of=filled.day(20))

    assert (
        built.train[new].to_pylist()
        == filled.client.split_training_set(filled.PLAN, as_of=filled.day(20)).train[old].to_pylist()
    )
    assert group.name in {pinned.group for pinned in (built.manifest.entities, *built.manifest.features)}


def test_fails_for_a_column_of_the_set_itself_before_anything_is_tagged(filled):
    """The column with the split of a row is reserved."""
    _, plan = _renamed(filled, "units", "split")
    with pytest.raises(TrainingSetError, match="column 'split' would appear 2 times; omit one of them"):
        filled.client.split_training_set(plan, as_of=filled.day(20))
    assert list(filled.client.table("other_v1").metadata.refs) == ["main"]


def _renamed(filled, old, new):
    """Ingest sales of a group with one renamed column; return it with a plan of its own features."""
    entities = tuple(replace(e, name=new) if e.name == old else e for e in filled.SALES.entities)
    features = tuple(replace(f, name=new) if f.name == old else f for f in filled.SALES.features)
    sales = replace(filled.SALES, name="other", entities=entities, features=features)
    stock = replace(filled.STOCK, name="shelves", entities=entities)
    rows = (
        filled.sales(*((n, float(n), n + 1) for n in range(10))),
        filled.stock(*((n, n * 10, n) for n in range(10))),
    )
    for group, table in zip((sales, stock), rows, strict=True):
        names = [new if name == old else name for name in table.column_names]
        filled.client.ingest(group, table.rename_columns(names))
    label = new if old == filled.PLAN.label else filled.PLAN.label
    return sales, replace(filled.PLAN, label_group="other", label=label, features={"shelves": ("on_hand",)})


@pytest.mark.parametrize(
    ("change", "day", "message"),
    [
        ({"holdout_days": 50}, 6.5, "no rows for train"),
        ({}, 0.5, "no label of sales_v1 was known"),
        ({"features": {"other": ("on_hand",)}}, 6.5, "entity rows have no column 'shop_id', which is a key of other"),
    ],
)
def test_what_the_rows_do_not_allow_leaves_no_tag(filled, change, day, message):
    """Retention would never remove a leftover tag's snapshot."""
    other = replace(filled.STOCK, name="other", entities=(replace(filled.STOCK.entities[0], name="shop_id"),))
    filled.client.ingest(other, filled.stock((1, 1, 1)).rename_columns({"store_id": "shop_id"}))

    with pytest.raises((TrainingSetError, PlanError), match=message):
        filled.client.split_training_set(replace(filled.PLAN, **change), as_of=filled.day(day))
    for name in filled.client.table_names():
        assert list(filled.client.table(name).metadata.refs) == ["main"]


def test_a_row_with_several_labels_counts_once_all_are_known(filled):
    """All are in the splits and pinned; the plan is read from the manifest and rebuilt."""
    group = replace(
        filled.SALES,
        name="both",
        features=(*filled.SALES.features, Feature("value", "double", "sold for", nullable=True)),
    )
    table = filled.sales(*((n, float(n), n + 1) for n in range(7)))
    values = pa.array([None if n == 1 else 10.0 * n for n in range(7)], pa.float64())
    filled.client.ingest(group, table.append_column("value", values))
    plan = replace(filled.PLAN, label_group="both", labels=("units", "value"))
    built = filled.client.split_training_set(plan, as_of=filled.day(6.5))
    assert built.train.select(["units", "value"]).to_pydict() == {"units": [0.0, 2.0, 3.0], "value": [0.0, 20.0, 30.0]}
    assert built.manifest.split["labels"] == "units,value"
    assert built.manifest.entities.columns == ("store_id", "asked_at", "units", "value")
    assert plan_of(built.manifest) == plan
    with pytest.raises(TrainingSetError, match="label must be the first of labels, got 'value' and units, value"):
        filled.client.split_training_set(replace(plan, label="value"), as_of=filled.day(6.5))


def test_naive_predictions_are_made_of_the_training_split(filled):
    """They are columns of both splits, included in the hash, and rebuilt with the set."""
    plan = replace(filled.PLAN, baselines=("naive_median", "naive_last_by_store_id"))
    plain = filled.client.split_training_set(filled.PLAN, as_of=filled.day(6.5))
    built = filled.client.split_training_set(plan, as_of=filled.day(6.5))
    assert built.train["naive_median"].to_pylist() == [1.5] * 4
    assert built.train["naive_last_by_store_id"].to_pylist() == [1.5, 0.0, 1.0, 2.0]
    assert built.holdout["naive_last_by_store_id"].to_pylist() == [3.0, 3.0]
    assert built.manifest.output.content_hash != plain.manifest.output.content_hash
    assert built.manifest.output.columns["naive_median"] == "double"
    assert plan_of(built.manifest) == plan
    again = filled.client.split_training_set(plan, as_of=filled.day(6.5))
    assert (again.id, again.files) == (built.id, built.files)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"baselines": ("naive_last",)}, "baseline 'naive_last' is neither a column nor a computed one"),
        ({"baselines": ("naive_mean_by_shelf",)}, "baseline 'naive_mean_by_shelf' needs a column 'shelf'"),
        ({"baselines": ("naive_mean",), "labels": ("units",)}, "baselines require a single label"),
    ],
)
def test_fails_for_naive_predictions_that_cannot_be_made(filled, change, message):
    """No table is tagged."""
    with pytest.raises(TrainingSetError, match=message):
        filled.client.split_training_set(replace(filled.PLAN, **change), as_of=filled.day(6.5))
    assert all(name == "main" for name in filled.client.table("sales_v1").metadata.refs)
