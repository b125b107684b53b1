"""Constraints and durations as text, and the facts of a feature store from its client's files."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from mlops_runtime.contracts import canonical_json
from mlops_runtime.features.catalogue import ReadFacts, catalogue, constraint_text, duration_text, ttl_text
from mlops_runtime.features.feature_group import Feature
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.features.training_set_manifest import Manifests
from mlops_runtime.registry.package_registry import TrainedPackage


@pytest.mark.parametrize(
    ("feature", "text"),
    [
        (Feature("a", "long", "a"), ""),
        (Feature("a", "long", "a", minimum=0), "at least 0"),
        (Feature("a", "double", "a", maximum=1.5), "at most 1.5"),
        (Feature("a", "double", "a", minimum=0, maximum=1), "0 to 1"),
        (Feature("a", "date", "a", minimum=date(2017, 1, 2)), "at least 2017-01-02"),
        (Feature("a", "timestamp", "a", maximum=datetime(2017, 1, 2, tzinfo=UTC)), "at most 2017-01-02T00:00:00+00:00"),
        (Feature("a", "string", "a", allowed=("x", "y"), pattern="[xy]"), "one of x, y; matches [xy]"),
        (Feature("a", "boolean", "a", allowed=(True,)), "one of True"),
    ],
)
def test_constraints_are_words(feature: Feature, text: str) -> None:
    """Each kind, and several together."""
    assert constraint_text(feature) == text


@pytest.mark.parametrize(
    ("span", "text", "rounded"),
    [
        (timedelta(0), "0 seconds", "0 seconds"),
        (timedelta(seconds=61), "1 minute 1 second", "1 minute 1 second"),
        (timedelta(days=1, hours=2, minutes=3, seconds=4), "1 day 2 hours 3 minutes 4 seconds", "1 day 2 hours"),
        (timedelta(days=9, seconds=5), "9 days 5 seconds", "9 days"),
        (timedelta(hours=-3), "3 hours", "3 hours"),
        (timedelta(milliseconds=900), "900 milliseconds", "0 seconds"),
    ],
)
def test_durations_are_exact_or_in_two_units(span: timedelta, text: str, rounded: str) -> None:
    """Declared limits are exact; ages have two units."""
    assert duration_text(span) == text
    assert duration_text(span, most=2) == rounded


def test_times_to_live_name_their_bound() -> None:
    """The default bound is not mentioned."""
    assert ttl_text(timedelta(days=2), "inclusive") == "2 days"
    assert ttl_text(timedelta(hours=36), "exclusive") == "1 day 12 hours, the last instant excluded"


@pytest.fixture
def facts(filled):
    """Return the facts of the filled shop at a day, with further known facts."""

    def collect(number=12, **known):
        client = filled.client
        tables = [client.table(name) for name in client.table_names()]
        return catalogue(tables, client.manifests, name="shop", now=filled.day(number), **known)

    return collect


def _group(found, table):
    return next(group for group in found.groups if group.table == table)


def test_a_table_alone_says_much(filled, facts):
    """Key, columns with ids, rows, newest event, newest ingest and schema come from the table."""
    found = facts()
    stock = _group(found, "stock_v1")

    assert [group.table for group in found.groups] == ["sales_v1", "stock_v1"]
    assert (stock.group, stock.version, stock.owner, stock.ttl) == ("stock", 1, "demand", "2 days")
    assert [(c.name, c.type, c.field_id, c.is_key) for c in stock.columns][:2] == [
        ("store_id", "string", 1, True),
        ("event_time", "timestamp", 2, False),
    ]
    assert stock.columns[-1].description == "units on hand"
    assert (stock.rows, stock.newest_event, stock.age) == (10, filled.day(9), timedelta(days=3))
    assert (stock.partition, stock.description, stock.freshness, stock.is_late) == (
        "month(event_time)",
        "stock",
        None,
        False,
    )
    assert (stock.ingest.rows, stock.ingest.at) == (10, filled.day(20))
    assert stock.ingest.content.startswith("h3:")
    assert [schema.changes for schema in stock.schemas] == ["first of 5 columns"]


def test_declarations_add_what_tables_do_not_hold(filled, facts):
    """Adds descriptions, constraints, freshness, and groups without a table."""
    stock = replace(
        filled.STOCK,
        features=(Feature("on_hand", "long", "units on hand", nullable=True, minimum=0),),
        freshness=timedelta(days=2),
    )
    price = replace(filled.STOCK, name="price", description="prices")

    found = facts(declared=[stock, price])
    known, planned = _group(found, "stock_v1"), _group(found, "price_v1")

    assert (known.description, known.columns[-1].constraints, known.is_late) == ("stock", "at least 0", True)
    assert not _group(facts(10, declared=[stock]), "stock_v1").is_late
    assert (planned.note, planned.rows, planned.age, planned.schemas) == (
        "there is no table yet; deploy the feature store",
        0,
        None,
        (),
    )


def test_the_lock_file_tells_the_history(filled, facts):
    """Lists each schema and its changes, and marks schemas that are locked but not deployed."""
    fragile = Feature("shrinkage", "double", "share", nullable=True)
    before = replace(filled.STOCK, features=(Feature("on_hand", "int", "units"),))
    lock = FeatureLock().extend([before]).extend([filled.STOCK])
    lock = lock.extend([replace(filled.STOCK, features=(*filled.STOCK.features, fragile))])

    stock = _group(facts(lock=lock), "stock_v1")

    assert [(schema.id, schema.changes, schema.is_deployed) for schema in stock.schemas] == [
        (0, "first of 5 columns", True),
        (1, "on_hand widened from int to long; on_hand may be null", True),
        (2, "shrinkage double added", False),
    ]


def test_tables_tell_their_history_without_a_lock_file(filled, facts):
    """Uses the schemas in Iceberg's metadata."""
    more = replace(
        filled.STOCK, features=(*filled.STOCK.features, Feature("shrinkage", "double", "share", nullable=True))
    )
    filled.client.ingest(more, filled.stock((9.5, 1, 9.5)).append_column("shrinkage", [[0.1]]))

    stock = _group(facts(), "stock_v1")

    assert [schema.changes for schema in stock.schemas] == ["first of 5 columns", "shrinkage double added"]
    assert [(s.added, s.total) for s in stock.snapshots] == [(1, 11), (10, 10)]
    assert (stock.ingest.rows, stock.ingest.snapshot_id) == (1, stock.snapshots[0].id)


def test_sets_say_what_they_read(filled, facts):
    """Lists tables, snapshots and columns, also of erased sets."""
    rows = filled.asked((3, "1"), (5, "2"))
    built = filled.client.training_set(rows, {"stock": ["on_hand"]}, name="shelves", as_of=filled.day(8))
    package = TrainedPackage(version="demand/1", approval="Approved", training_set_id=built.id)

    found = facts(models=[package])

    (shelves,) = found.sets
    snapshot = built.manifest.features[0].snapshot_id
    assert (shelves.id, shelves.name, shelves.rows, shelves.semantics) == (built.id, "shelves", 2, "known_at")
    assert shelves.cutoff == "2017-01-09T00:00:00Z"
    assert shelves.reads == (ReadFacts(table="stock_v1", snapshot_id=snapshot, columns=("on_hand",)),)
    assert found.users("stock_v1") == (shelves,)
    assert found.users("sales_v1") == ()
    assert found.models == (package,)
    assert [s.tags for s in _group(found, "stock_v1").snapshots] == [(built.manifest.features[0].tag,)]
    filled.client.erase({"store_id": "1"}, reason="T-1", in_use=())
    assert [s.is_erased for s in facts().sets] == [True]


def test_a_manifest_that_was_changed_is_a_problem_and_no_end(filled, facts):
    """Reports it and shows the other manifests."""
    built = filled.client.training_set(filled.asked((3, "1")), {"stock": ["on_hand"]}, name="shelves")
    (filled.path / "manifests" / ("0" * 64 + ".json")).write_bytes(canonical_json(replace(built.manifest, name="x")))

    found = facts()

    assert [s.id for s in found.sets] == [built.id]
    assert len(found.problems) == 1
    assert "was changed" in found.problems[0]


def test_other_tables_are_named(filled, facts):
    """Reports tables that are not feature tables and continues."""
    table = filled.client.table("sales_v1")
    with table.transaction() as transaction:
        transaction.remove_properties("mlops.group")

    found = facts()

    assert (found.others, [group.table for group in found.groups]) == (("sales_v1",), ["stock_v1"])


def test_a_table_without_rows_says_so(shop, tmp_path):
    """Such a table has no age."""
    shop.client.ingest(shop.STOCK, shop.stock((1, 1, 1)))
    table = shop.client.table("stock_v1")
    table.delete()

    found = catalogue([table], Manifests(tmp_path / "manifests"), name="shop", now=shop.day(3))

    assert (found.groups[0].newest_event, found.groups[0].age) == (None, None)
    assert found.groups[0].note == "the table has no rows: all of them were erased"
    assert found.groups[0].rows == 0
