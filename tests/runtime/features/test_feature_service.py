"""Feature services: contents of a version, immutability, and agreement with its groups."""

from dataclasses import replace
from datetime import timedelta

import pytest

from mlops_runtime.contracts import canonical_json, content_hash, from_json
from mlops_runtime.contracts.feature_service import FeatureServiceSpec, FeatureServiceUse
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.feature_service import (
    FeatureService,
    FeatureServiceError,
    FeatureServices,
    changes,
)
from mlops_runtime.features.training_set_manifest import Objects

STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(Feature("on_hand", "long", "units on hand"), Feature("shelf", "string", "where", nullable=True)),
    owner="demand",
    description="stock",
    ttl=timedelta(days=2),
)
PRICES = FeatureGroup(
    name="prices",
    entities=(Entity("item", "long", "item"),),
    features=(Feature("price", "double", "price"),),
    owner="demand",
    description="prices",
)
SHELVES = FeatureService(name="shelves", features=(STOCK, PRICES))


@pytest.fixture
def services(tmp_path):
    """Return the services of an empty store."""
    return FeatureServices(Objects(tmp_path))


def test_a_service_names_its_columns_as_training_sets_do():
    """All features of each group in order, or the selected ones."""
    some = FeatureService(name="shelves", features=(STOCK, PRICES), columns={"stock": ["shelf"]})
    assert SHELVES.column_names == ("stock__on_hand", "stock__shelf", "prices__price")
    assert (some.column_names, some.wanted) == (
        ("stock__shelf", "prices__price"),
        {"stock_v1": ("shelf",), "prices_v1": ("price",)},
    )


def test_the_document_is_canonical_and_reads_back():
    """Its hash is that of the stored bytes; constraints and descriptions are not included."""
    spec = SHELVES.spec
    assert from_json(FeatureServiceSpec, canonical_json(spec)) == spec
    assert SHELVES.use == FeatureServiceUse(name="shelves", version=1, sha256=content_hash(spec))
    reported = replace(STOCK, description="what lies on shelves", owner="supply")
    assert FeatureService(name="shelves", features=(reported, PRICES)).use == SHELVES.use


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"name": "Shelves"}, "name must match"),
        ({"name": 5}, "name must be a str, got 5"),
        ({"version": 0}, "version must be a whole number, at least 1, got 0"),
        ({"features": ()}, "features must be a tuple of at least one FeatureGroup"),
        ({"features": STOCK}, "features must be a tuple of at least one FeatureGroup"),
        ({"features": ("stock",)}, "features must contain only FeatureGroup, or GroupJoin of one, got 'stock'"),
        ({"features": (STOCK, replace(STOCK, version=2))}, "group 'stock' is given 2 times"),
        ({"columns": ["on_hand"]}, "columns must be lists of features by name of group"),
        ({"columns": {"sales": ["units"]}}, "columns names group 'sales', which is not one of stock, prices"),
        ({"columns": {"stock": "on_hand"}}, "columns of 'stock' must be a list of features"),
        ({"columns": {"stock": ["units"]}}, "group 'stock' has no feature 'units', it has on_hand, shelf"),
        ({"columns": {"stock": ["shelf", "shelf"]}}, "columns of 'stock' names 'shelf' more than once"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(given, problem):
    """The error names the value and the allowed values."""
    with pytest.raises(FeatureServiceError, match=problem):
        FeatureService(**{"name": "shelves", "features": (STOCK, PRICES), **given})


def test_a_version_is_stored_once(services, tmp_path):
    """Storing it again changes nothing; the newest version is found by name."""
    assert services.put(SHELVES.spec) == services.put(SHELVES.spec) == SHELVES.use
    second = FeatureService(name="shelves", features=(STOCK,), version=2)
    services.put(second.spec)
    assert services.get("shelves") == second.spec
    assert services.get("shelves", 1) == SHELVES.spec
    assert [spec.version for spec in services.all()] == [1, 2]
    assert (tmp_path / "services" / "shelves" / "1.json").read_bytes() == canonical_json(SHELVES.spec)


def test_a_change_without_a_new_version_is_refused_by_name(services):
    """The error names group, column and types, and the stored service is unchanged."""
    services.put(SHELVES.spec)
    wider = replace(STOCK, features=(Feature("on_hand", "double", "units"), STOCK.features[1]))
    with pytest.raises(
        FeatureServiceError, match=r"'shelves' version 1 .*group 'stock': feature 'on_hand' was long, now double"
    ):
        services.put(FeatureService(name="shelves", features=(wider, PRICES)).spec)
    assert services.get("shelves", 1) == SHELVES.spec


def test_a_service_that_is_not_stored_is_named_with_those_that_are(services):
    """Applies to a name, and to a name with a version."""
    services.put(SHELVES.spec)
    for requested in (("carts",), ("shelves", 3)):
        with pytest.raises(FeatureServiceError, match="there are shelves version 1"):
            services.get(*requested)


def test_a_damaged_document_is_named(services, tmp_path):
    """The error names the file and the fix."""
    services.put(SHELVES.spec)
    (tmp_path / "services" / "shelves" / "1.json").write_bytes(b"{}")
    with pytest.raises(FeatureServiceError, match=r"services/shelves/1\.json .* restore the file"):
        services.get("shelves", 1)


@pytest.mark.parametrize(
    ("group", "change"),
    [
        (replace(STOCK, version=2), "group 'stock': version was 1, now 2"),
        (replace(STOCK, ttl=None), r"time to live was 172800 s \(inclusive\), now unlimited"),
        (replace(STOCK, entities=(Entity("store_id", "long", "store"),)), "key 'store_id' was string, now long"),
        (replace(STOCK, features=STOCK.features[:1]), "feature 'shelf' was removed"),
        (replace(STOCK, features=(*STOCK.features, Feature("n", "int", "n", nullable=True))), "feature 'n' is new"),
        (replace(STOCK, features=STOCK.features[::-1]), "order of its features was on_hand, shelf, now shelf, on_hand"),
    ],
)
def test_each_change_of_a_group_has_its_words(group, change):
    """Covers version, lifetime, keys, features and their order."""
    (reported,) = changes(SHELVES.spec, FeatureService(name="shelves", features=(group, PRICES)).spec)
    assert change.replace("\\", "") in reported


def test_groups_that_come_go_or_change_places_are_named():
    """The order of columns is part of a service."""
    of = {"stock": STOCK, "prices": PRICES}
    given = [("stock",), ("prices", "stock")]
    reported = [
        changes(SHELVES.spec, FeatureService(name="shelves", features=[of[n] for n in names]).spec) for names in given
    ]
    assert reported == [["group 'prices' was removed"], ["the order of its groups changed"]]
    assert changes(FeatureService(name="shelves", features=(STOCK,)).spec, SHELVES.spec) == ["group 'prices' is new"]


def test_a_training_set_stores_and_names_its_service(filled):
    """The manifest has name, version and hash; the same columns without a service make another set."""
    service = FeatureService(name="shelves", features=(filled.STOCK,))
    rows = filled.asked((3, "1"), (1.5, "1"))
    built = filled.client.training_set(rows, service, name="shelves")
    assert built.manifest.feature_service == service.use
    assert filled.client.services.get("shelves") == service.spec
    assert filled.client.rebuild(built.id).verdict.value == "IDENTICAL"
    plain = filled.client.training_set(rows, [filled.STOCK], name="shelves")
    assert (plain.manifest.feature_service, plain.manifest.output) == (None, built.manifest.output)


def test_a_service_whose_group_changed_is_refused_by_name(filled):
    """The table's lifetime exceeds the service's; nothing is built."""
    rows, service = filled.asked((3, "1")), FeatureService(name="shelves", features=(filled.STOCK,))
    filled.client.training_set(rows, service, name="shelves")
    later = replace(filled.STOCK, ttl=timedelta(days=9))
    filled.client.ingest(later, filled.stock((4.5, 7, 4.5)))
    with pytest.raises(
        FeatureServiceError, match=r"'shelves' version 1 does not match its tables: group 'stock': time to live"
    ):
        filled.client.training_set(rows, service, name="again")
    second = FeatureService(name="shelves", features=(later,), version=2)
    assert filled.client.training_set(rows, second, name="again").manifest.feature_service == second.use
