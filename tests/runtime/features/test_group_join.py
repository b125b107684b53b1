"""A group joined several times by different columns of the entity rows, and two versions of a group in one set."""

import re
from dataclasses import replace

import pyarrow as pa
import pytest

from mlops_runtime.contracts import canonical_json
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.group_join import GroupJoin, GroupJoinError
from mlops_runtime.features.point_in_time import PlanError
from mlops_runtime.features.rebuild import Verdict
from mlops_runtime.features.training_set_request import TrainingSetError
from mlops_runtime.features.training_set_sql import SqlTable

STORES = FeatureGroup(
    name="stores",
    entities=(Entity("store_id", "long", "store"),),
    features=(Feature("size", "long", "square metres", nullable=True), Feature("region", "string", "region")),
    owner="demand",
    description="stores",
)
NEXT = replace(STORES, version=2, features=(Feature("size", "double", "square feet"), STORES.features[1]))
HOME = GroupJoin(group=STORES, name="home", on={"store_id": "home_store"})
WORK = GroupJoin(group=STORES, name="work", on={"store_id": "work_store"})
ENTITIES = SqlTable(database="features", table="asked_v1", snapshot_id=1)


@pytest.fixture
def stores(shop):
    """Return a shop with three stores, each larger from day 5 on."""
    numbers = [1, 2, 3, 1, 2, 3]
    days = [shop.day(0)] * 3 + [shop.day(5)] * 3
    times = {"store_id": numbers, "event_time": days, "created_time": days}
    regions = {"region": [f"r{n}" for n in numbers]}
    shop.client.backfill(STORES, pa.table({**times, "size": [10, 20, 30, 11, 21, 31], **regions}))
    shop.client.backfill(NEXT, pa.table({**times, "size": [1.0, 2.0, 3.0, 1.1, 2.1, 3.1], **regions}))
    return shop


def asked(shop) -> pa.Table:
    """Return people with stores near home and work, before and after day 5; some have none."""
    home, work, days = [1, 2, 1, None, 9], [2, 2, 3, 1, 1], [1, 1, 6, 6, 6]
    return pa.table({"home_store": home, "work_store": work, "event_timestamp": [shop.day(n) for n in days]})


def test_one_group_is_joined_by_two_columns(stores):
    """Each use has its own name, columns and count of matched rows."""
    built = stores.client.training_set(asked(stores), [HOME, WORK], name="near")

    assert built.rows["home__size"].to_pylist() == [10, 20, 11, None, None]
    assert built.rows["work__size"].to_pylist() == [20, 20, 31, 11, 11]
    assert built.rows["work__region"].to_pylist() == ["r2", "r2", "r3", "r1", "r1"]
    assert built.matched == {"home": 3, "work": 5}


def test_each_use_is_what_the_group_alone_would_be(stores):
    """Agrees with entity rows that name the column like the key."""
    both = stores.client.training_set(asked(stores), [HOME, WORK], name="near")
    for use in ("home", "work"):
        plain = asked(stores).rename_columns({f"{use}_store": "store_id"})
        alone = stores.client.training_set(plain, [STORES], name=use)
        for column in STORES.feature_names:
            assert both.rows[f"{use}__{column}"].equals(alone.rows[f"stores__{column}"])


def test_manifest_and_rebuild_know_the_mapping(stores):
    """The manifest is enough to rebuild the set; the id depends on the mapping."""
    built = stores.client.training_set(asked(stores), [HOME, WORK], name="near")
    home, work = stores.client.manifests.read(built.id).features

    assert (home.alias, home.keys, home.table) == ("home", ("home_store",), "stores_v1")
    assert work.key_columns == {"store_id": "work_store"}
    again = stores.client.rebuild(built.id)
    assert (again.verdict, again.same_bytes) == (Verdict.IDENTICAL, True)
    assert stores.client.training_set(asked(stores), [HOME, WORK], name="near").id == built.id
    swapped = [replace(HOME, on=WORK.on), replace(WORK, on=HOME.on)]
    other = stores.client.training_set(asked(stores), swapped, name="near")
    assert other.id != built.id
    assert other.manifest.features[0].tag != home.tag
    assert stores.client.diff(built.id, other.id).request == {
        "keys": (
            "home: store_id is home_store; work: store_id is work_store",
            "home: store_id is work_store; work: store_id is home_store",
        )
    }


def test_manifests_of_other_sets_say_nothing_of_it(stores):
    """Their ids are unaffected."""
    plain = asked(stores).rename_columns({"home_store": "store_id"})
    built = stores.client.training_set(plain, [STORES], name="plain")
    assert not re.search(rb'"(alias|keys)"', canonical_json(built.manifest))
    assert built.matched == {"stores_v1": 3}


def test_both_uses_are_found_by_who_used(stores):
    """Each use has its name and columns."""
    built = stores.client.training_set(asked(stores), [HOME, replace(WORK, columns=["region"])], name="near")
    found = stores.client.who_used(STORES)
    assert [(use.manifest_id, use.alias, use.columns) for use in found] == [
        (built.id, "home", ("size", "region")),
        (built.id, "work", ("region",)),
    ]
    assert [use.alias for use in stores.client.who_used(STORES, column="size")] == ["home"]


def test_statements_join_by_the_mapped_columns(stores):
    """Covers Spark and Athena; plans and types are distinguished by the names of uses."""
    found = stores.client.explain(asked(stores), [HOME, WORK])
    assert set(found.plans) == {"home", "work"}
    for dialect in ("spark", "athena"):
        text = found.sql(dialect, ENTITIES)
        places = re.findall(r"select (c\d) as k0, moment, 1 as kind, row_id", text)
        columns = dict(re.findall(r"[`\"](\w+)[`\"] as (c\d)", text))
        assert places == [columns["home_store"], columns["work_store"]]
        assert all(name in text for name in ("home__size", "work__region"))


def test_two_versions_of_a_group_are_in_one_set(stores):
    """Each is named by its table by default; both groups and table names are accepted."""
    plain = asked(stores).rename_columns({"home_store": "store_id"})
    built = stores.client.training_set(plain, [STORES, NEXT], name="both")
    assert built.rows["stores_v1__size"].to_pylist() == [10, 20, 11, None, None]
    assert built.rows["stores_v2__size"].to_pylist() == [1.0, 2.0, 1.1, None, None]
    assert stores.client.rebuild(built.id).verdict is Verdict.IDENTICAL
    named = {"stores_v1": ["size"], "stores_v2": ["size"]}
    assert stores.client.training_set(plain, named, name="named").rows["stores_v2__size"].null_count == 2
    one = [STORES, GroupJoin(group=NEXT, name="next")]
    columns = stores.client.training_set(plain, one, name="one").rows.column_names
    assert {"stores__size", "next__size"} <= set(columns)


def test_a_group_is_named_by_its_name_or_table(stores):
    """Accepts a selection of columns, and snapshots by table for all uses."""
    old = stores.client.table("stores_v1").current_snapshot().snapshot_id
    stores.set_day(21)
    later = {"store_id": [1], "event_time": [stores.day(0.5)], "created_time": [stores.day(0.5)]}
    stores.client.backfill(STORES, pa.table({**later, "size": [99], "region": ["r1"]}))
    uses = [
        GroupJoin(group="stores_v1", name="home", on={"store_id": "home_store"}, columns=["size"]),
        GroupJoin(group="stores_v1", name="work", on={"store_id": "work_store"}, columns=["size"]),
    ]
    now = stores.client.training_set(asked(stores), uses, name="now")
    then = stores.client.training_set(asked(stores), uses, name="then", snapshots={"stores_v1": old})
    assert now.rows["home__size"].to_pylist()[0] == 99
    assert then.rows["home__size"].to_pylist()[0] == 10


def test_an_erasure_finds_the_entity_by_the_mapped_columns(stores):
    """Files and entity rows of affected sets are removed; sets joined by other stores stay."""
    held = stores.client.training_set(asked(stores), [HOME, WORK], name="near")
    far = asked(stores).filter(pa.array([False, True, False, False, False]))
    other = stores.client.training_set(far, [HOME, WORK], name="far")
    place = stores.path / "training_sets"
    record = stores.client.erase({"store_id": 3}, reason="ticket 7", in_use=())

    assert held.id in record.used_by
    assert not list((place / "sets" / "near").rglob("*.parquet"))
    assert list((place / "sets" / "far").rglob("*.parquet"))
    assert {path.stem for path in (place / "entities").glob("*.parquet")} == {other.manifest.entity_rows.sha256}


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([HOME, replace(HOME, on={})], "features has 2 joins named 'home'; give each its own name"),
        ([STORES, STORES], "features has 2 groups of table stores_v1; give it once, or name each use"),
        (
            [STORES, GroupJoin(group="stores_v1", columns=["size"])],
            "features has 2 groups of table stores_v1; give it once, or name each use with GroupJoin(group=...",
        ),
        (
            [GroupJoin(group="stores_v1", columns=["size"], on={"shop": "home_store"})],
            "on of stores_v1 names 'shop', its keys are store_id",
        ),
        (
            [replace(HOME, name="stores_v2"), NEXT],
            "'stores_v2' names both a join and a table that is read; give the join another name",
        ),
        ([replace(HOME, columns=["colour"])], "stores_v1 has no column 'colour', it has store_id"),
        ([GroupJoin(group="shops", columns=["size"])], "there is no feature table of group 'shops'"),
        ([replace(HOME, columns=[])], "features must name at least one column of each group, got {'home': ()}"),
        (HOME, "got a single group; put it into a list"),
        ([HOME, "stores"], "feature groups or joins of them such as [SALES]"),
    ],
)
def test_fails_for_uses_that_do_not_fit(stores, features, message):
    """The error lists the available values and the fix."""
    with pytest.raises(TrainingSetError, match=re.escape(message)):
        stores.client.training_set(asked(stores), features, name="near")


def test_fails_for_a_column_of_the_entity_rows_that_is_missing_or_of_another_type(stores):
    """The error names the column, the key and the use."""
    rows = asked(stores).drop_columns(["work_store"])
    rows = rows.set_column(0, "home_store", pa.array(["1", "2", "1", "4", "9"]))
    with pytest.raises(PlanError) as error:
        stores.client.training_set(rows, [HOME, WORK], name="near")
    message = str(error.value)
    assert "entity rows have no column 'work_store', which is the key 'store_id' of stores as work" in message
    assert "key 'store_id' (column 'home_store') of stores as home is string in the entity rows and int64" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": 7}, "group must be a FeatureGroup or the name of one, got 7"),
        ({"name": "Home store"}, "name must match [a-z][a-z0-9_]{0,62}, got 'Home store'"),
        ({"on": ["home_store"]}, "on must be columns of the entity rows by key, such as {'store_id': 'home_store'}"),
        ({"on": {"store": "home_store"}}, "on of stores names 'store', its keys are store_id"),
        ({"columns": "size"}, "columns must be a list of names, got 'size'"),
        ({"group": "stores", "columns": None}, "columns must list the selected features of 'stores'"),
    ],
)
def test_fails_for_a_wrong_join(change, message):
    """The error at construction names the problem and the allowed values."""
    with pytest.raises(GroupJoinError, match=re.escape(message)):
        GroupJoin(**({"group": STORES, "name": "home", "on": {"store_id": "home_store"}} | change))


def test_keys_of_several_columns_need_columns_of_their_own():
    """One column for two keys would be a mistake."""
    pairs = replace(STORES, entities=(*STORES.entities, Entity("other_id", "long", "store")))
    message = "on of stores gives 'other_id' to several keys; give each its own column"
    with pytest.raises(GroupJoinError, match=message):
        GroupJoin(group=pairs, on={"store_id": "other_id"})
