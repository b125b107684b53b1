"""Retraining plans with repeated groups, two versions of a group, other keys, and feature services; Spark's have their own test."""

from dataclasses import replace

import pyarrow as pa
import pytest

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.feature_service import FeatureServiceSpec
from mlops_runtime.contracts.retraining import FeatureJoin, TrainingSetPlan
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.feature_service import FeatureService, FeatureServiceError, FeatureServices
from mlops_runtime.features.group_join import GroupJoin
from mlops_runtime.features.snapshot_tags import tables_of
from mlops_runtime.features.split_set import keep_service, plan_of
from mlops_runtime.features.training_set_manifest import Objects
from mlops_runtime.features.training_set_request import TrainingSetError

STORES = FeatureGroup(
    name="stores",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("size", "long", "square metres"),),
    owner="demand",
    description="stores",
)
NEXT = replace(STORES, version=2, features=(Feature("size", "double", "square metres"),))
TRIPS = FeatureGroup(
    name="trips",
    entities=(Entity("person", "string", "person"),),
    features=(
        Feature("asked_at", "timestamp", "time of the prediction"),
        Feature("home", "string", "store near home"),
        Feature("work", "string", "store near work", nullable=True),
        Feature("spent", "double", "spent"),
    ),
    owner="demand",
    description="trips",
)
HOME = FeatureJoin(group="stores_v1", name="home", columns=("size",), on={"store_id": "home"})
WORK = FeatureJoin(group="stores_v1", name="work", columns=("size",), on={"store_id": "work"})
PLAN = TrainingSetPlan(
    name="trips", label_group="trips", timestamp="asked_at", label="spent", joins=(HOME, WORK), holdout_days=2
)
SERVICE = FeatureService(
    name="near",
    features=(
        GroupJoin(group=STORES, name="home", on={"store_id": "home"}),
        GroupJoin(group=STORES, name="work", on={"store_id": "work"}),
    ),
)


@pytest.fixture
def trips(shop):
    """Return a store with two shops of both versions, and six days of trips between them."""
    days = range(6)
    for group, size in ((STORES, [10, 20]), (NEXT, [1.5, 2.5])):
        at = [shop.day(-1)] * 2
        shop.client.ingest(
            group, pa.table({"store_id": ["a", "b"], "event_time": at, "created_time": at, "size": size})
        )
    known = [shop.day(n + 1) for n in days]
    rows = {
        "person": ["ann"] * 6,
        "event_time": known,
        "created_time": known,
        "asked_at": [shop.day(n) for n in days],
        "home": ["a"] * 6,
        "work": ["b", "b", "b", None, "b", "a"],
        "spent": [float(n) for n in days],
    }
    shop.client.ingest(TRIPS, pa.table(rows))
    return shop


def test_one_group_is_joined_by_two_columns_of_the_labels(trips):
    """Each use has its own name; a null key matches nothing; the set includes the key columns."""
    built = trips.client.split_training_set(PLAN, as_of=trips.day(6.5))
    assert built.train.column_names == [
        "person",
        "home",
        "work",
        "asked_at",
        "spent",
        "row_id",
        "home__size",
        "work__size",
    ]
    assert built.train["home__size"].to_pylist() == [10] * 4
    assert built.train["work__size"].to_pylist() == [20, 20, 20, None]
    assert built.holdout["work__size"].to_pylist() == [20, 10]
    assert built.matched == {"home": 6, "work": 5}
    assert plan_of(built.manifest) == PLAN
    assert from_json(TrainingSetPlan, canonical_json(PLAN)) == PLAN
    assert trips.client.rebuild(trips.client.manifests.write(built.manifest)).verdict.value == "IDENTICAL"


def test_two_versions_of_a_group_are_side_by_side(trips):
    """As in a migration; each is named by its table."""
    uses = tuple(
        FeatureJoin(group=f"stores_v{n}", name=f"v{n}", columns=("size",), on={"store_id": "home"}) for n in (1, 2)
    )
    plan = replace(PLAN, joins=uses)
    built = trips.client.split_training_set(plan, as_of=trips.day(6.5))
    assert built.train.select(["v1__size", "v2__size"]).to_pylist() == [{"v1__size": 10, "v2__size": 1.5}] * 4
    assert plan_of(built.manifest) == plan
    assert tables_of(plan, ["stores_v1", "stores_v2", "trips_v1", "z_v1"]) == ("stores_v1", "stores_v2", "trips_v1")


def test_a_plan_of_a_service_has_its_columns_and_names_it(trips, tmp_path):
    """Its columns are those of online reads; the manifest has version and hash; a changed service is rejected by name."""
    plan = replace(PLAN, joins=None, service=SERVICE.spec)
    built = trips.client.split_training_set(plan, as_of=trips.day(6.5))
    by_joins = trips.client.split_training_set(PLAN, as_of=trips.day(6.5))
    assert built.manifest.feature_service == SERVICE.use
    assert built.manifest.output.content_hash == by_joins.manifest.output.content_hash
    assert tuple(built.train.column_names[-2:]) == SERVICE.column_names
    services = FeatureServices(Objects(tmp_path / "services"))
    keep_service(plan, services, trips.client.table)
    assert services.get("near", 1) == SERVICE.spec
    other = replace(SERVICE, features=(GroupJoin(group=STORES, name="home", on={"store_id": "work"}),))
    with pytest.raises(
        FeatureServiceError, match=r"group 'home': its keys were home of the entity rows, now work; .*version"
    ):
        keep_service(replace(plan, service=other.spec), services, trips.client.table)


def test_a_service_whose_group_changed_is_refused_before_anything_is_read(trips, tmp_path):
    """The table differs from the service's definition."""
    wide = replace(STORES, features=(Feature("size", "string", "square metres"),))
    service = FeatureService(name="near", features=(GroupJoin(group=wide, name="home", on={"store_id": "home"}),))
    with pytest.raises(FeatureServiceError, match=r"feature 'size' was string, now long"):
        keep_service(
            replace(PLAN, joins=None, service=service.spec), FeatureServices(Objects(tmp_path)), trips.client.table
        )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"joins": (replace(HOME, on={"shop": "home"}),)}, "on of home names 'shop', its keys are store_id"),
        ({"joins": (replace(HOME, on={"store_id": "nowhere"}),)}, "trips has no column 'nowhere'"),
        (
            {"joins": (replace(HOME, on={"store_id": "spent"}),)},
            "on of home names label 'spent', which is not known ahead",
        ),
        (
            {"joins": (HOME, replace(WORK, name="home"))},
            "'home' is used 2 times; name each use with joins",
        ),
        ({"joins": (replace(HOME, columns=()),)}, "name at least one column of each group; give features, joins or"),
        ({"joins": None}, "name at least one column of each group"),
        ({"service": SERVICE.spec}, "service 'near' selects all features; omit features and joins, or the service"),
        (
            {"joins": (replace(HOME, group="stores"),)},
            "group 'stores' has versions stores_v1, stores_v2; name one of them",
        ),
    ],
)
def test_a_plan_that_cannot_be_joined_is_refused_with_every_problem(trips, changes, problem):
    """No table is tagged."""
    with pytest.raises(TrainingSetError, match=problem):
        trips.client.split_training_set(replace(PLAN, **changes), as_of=trips.day(6.5))
    assert not [name for name in trips.client.table("stores_v1").metadata.refs if name.startswith("ts-")]


def test_a_service_with_joins_reads_back_and_tells_its_columns():
    """Columns are named by its uses, with their keys."""
    spec = SERVICE.spec
    assert from_json(FeatureServiceSpec, canonical_json(spec)) == spec
    assert SERVICE.column_names == ("home__size", "work__size")
    assert [group.key_columns for group in spec.groups] == [{"store_id": "home"}, {"store_id": "work"}]
