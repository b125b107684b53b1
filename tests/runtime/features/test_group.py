"""Feature groups: columns, properties, and what a declaration may not say."""

from dataclasses import replace
from datetime import timedelta

import pytest

from mlops_runtime.features.group import Entity, Feature, FeatureGroup, FeatureGroupError

STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"), Entity("sku", "long", "product")),
    features=(Feature("on_hand", "long", "units on hand"), Feature("price", "double", "dollars", nullable=True)),
    owner="demand",
    description="stock by store",
    ttl=timedelta(days=7),
    version=2,
)


def test_columns_are_entities_times_ingest_id_and_features():
    """The table holds the key, both times, the batch and the features, in that order."""
    assert [(c.name, c.type, c.required) for c in STOCK.columns] == [
        ("store_id", "string", True),
        ("sku", "long", True),
        ("event_time", "timestamp", True),
        ("created_time", "timestamp", True),
        ("ingest_id", "string", True),
        ("on_hand", "long", True),
        ("price", "double", False),
    ]


def test_table_name_carries_the_version():
    """Two versions of a group are two tables."""
    assert STOCK.table_name == "stock_v2"


def test_properties_name_key_and_time_to_live():
    """Readers of the table learn its key and time to live from its properties."""
    assert STOCK.properties == {
        "mlops.group": "stock",
        "mlops.version": "2",
        "mlops.entities": "store_id,sku",
        "mlops.owner": "demand",
        "mlops.ttl-seconds": "604800",
    }


def test_properties_without_time_to_live():
    """A group without time to live has no such property."""
    assert "mlops.ttl-seconds" not in replace(STOCK, ttl=None).properties


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Stock"}, "name must match"),
        ({"name": "stock_v2"}, "not end in _v<number>, got 'stock_v2'"),
        ({"version": 0}, "version must be at least 1, got 0"),
        ({"ttl": timedelta(0)}, "ttl must be a positive whole number of seconds"),
        ({"owner": ""}, "owner must name the team"),
        ({"entities": ()}, "at least one entity is needed, got none"),
        ({"features": ()}, "at least one feature is needed, got none"),
        ({"entities": (Entity("weight", "double", "kg"),)}, "entity 'weight' has type 'double', allowed are string"),
        ({"features": (Feature("event_time", "long", "x"),)}, "feature 'event_time' is added to every table"),
        ({"features": (Feature("sku", "long", "x"),)}, "column 'sku' is declared 2 times"),
    ],
)
def test_fails_when_the_declaration_is_wrong(change, message):
    """Each wrong declaration is refused with the value and the fix."""
    with pytest.raises(FeatureGroupError) as error:
        replace(STOCK, **change)
    assert message in str(error.value)


def test_fails_with_every_problem_at_once():
    """All problems of a declaration are reported together."""
    with pytest.raises(FeatureGroupError, match=r"owner must name.*version|version.*owner must name"):
        replace(STOCK, owner="", version=0)
