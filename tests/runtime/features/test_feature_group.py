"""Types of declared values: accepted and rejected values, and the forgotten comma.

Feature groups: columns, properties, and invalid declarations.
"""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest

from mlops_runtime.features.column_type import ALLOWED
from mlops_runtime.features.feature_group import (
    FLAG,
    OPTIONAL_SPAN,
    SPAN,
    TEXT,
    VERSION,
    Entity,
    Feature,
    FeatureGroup,
    FeatureGroupError,
    tuple_problem,
    wrong_fields,
)

STORE = Entity("store_id", "string", "store")


STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"), Entity("sku", "long", "product")),
    features=(Feature("on_hand", "long", "units on hand"), Feature("price", "double", "dollars", nullable=True)),
    owner="demand",
    description="stock by store",
    ttl=timedelta(days=7),
    version=2,
)


@pytest.mark.parametrize(
    ("kind", "value", "holds"),
    [
        (TEXT, "", True),
        (TEXT, None, False),
        (TEXT, b"a", False),
        (VERSION, 1, True),
        (VERSION, True, False),
        (VERSION, "1", False),
        (FLAG, False, True),
        (FLAG, 0, False),
        (SPAN, timedelta(0), True),
        (SPAN, None, False),
        (OPTIONAL_SPAN, None, True),
        (OPTIONAL_SPAN, 14, False),
    ],
)
def test_a_kind_holds_values_of_its_type_alone(kind, value, holds):
    """A boolean is not a number or the reverse; None is accepted only for optional fields."""
    assert kind.holds(value) is holds


def test_each_wrong_field_is_named_with_its_value():
    """Valid fields are not reported, and the message marks optional fields."""
    declared = SimpleNamespace(name="stock", owner=5, ttl=14)
    assert wrong_fields(declared, {"name": TEXT, "owner": TEXT, "ttl": OPTIONAL_SPAN}) == {
        "owner": "owner must be a str, got 5",
        "ttl": "ttl must be a timedelta such as timedelta(days=14), got 14; omit it for none",
    }


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ((STORE,), None),
        ((), None),
        (STORE, "entities must be a tuple of Entity, got one Entity without a comma; write entities=(Entity(...),)"),
        (
            [STORE],
            "entities must be a tuple of Entity, got [Entity(name='store_id', type='string', description='store')]",
        ),
        ("s", "entities must be a tuple of Entity, got 's'; write entities=(Entity(...), ...)"),
        ((STORE, "s", 5), "entities must contain only Entity(...), got 's', 5"),
        ("s" * 99, f"entities must be a tuple of Entity, got '{'s' * 78}…"),
    ],
)
def test_a_tuple_holds_its_kind(value, problem):
    """A single value without a comma, a list and a string are told apart."""
    found = tuple_problem("entities", value, Entity)
    assert found is None if problem is None else str(found).startswith(problem)


def test_columns_are_entities_times_ingest_id_and_features():
    """The columns are key, both times, ingest id and features, in that order."""
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
    """Two versions of a group have two tables."""
    assert STOCK.table_name == "stock_v2"


def test_properties_name_key_and_time_to_live():
    """Readers find the key and time to live in the table's properties."""
    assert STOCK.properties == {
        "mlops.group": "stock",
        "mlops.version": "2",
        "mlops.entities": "store_id,sku",
        "mlops.owner": "demand",
        "mlops.description": "stock by store",
        "mlops.ttl-seconds": "604800",
    }


def test_properties_without_time_to_live():
    """A group without time to live has no such property."""
    assert "mlops.ttl-seconds" not in replace(STOCK, ttl=None).properties


def test_time_to_live_of_zero_is_a_declaration():
    """A value may count only at its event time."""
    assert replace(STOCK, ttl=timedelta(0)).properties["mlops.ttl-seconds"] == "0"
    assert replace(STOCK, ttl=timedelta(microseconds=1)).properties["mlops.ttl-seconds"] == "0.000001"
    assert replace(STOCK, ttl=timedelta(seconds=100)).properties["mlops.ttl-seconds"] == "100"


def test_properties_name_an_exclusive_bound_alone():
    """Tables without the property are inclusive, as those made before the bound could be declared."""
    assert "mlops.ttl-bound" not in STOCK.properties
    assert replace(STOCK, ttl_bound="exclusive").properties["mlops.ttl-bound"] == "exclusive"


def test_group_is_a_value():
    """Groups with constraints compare and hash by value."""
    feature = Feature("on_hand", "long", "units", minimum=0, maximum=9)
    assert len({replace(STOCK, features=(feature,)), replace(STOCK, features=(replace(feature),))}) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Stock"}, "name must match"),
        ({"name": "stock_v2"}, "not end in _v<number>, got 'stock_v2'"),
        ({"version": 0}, "version must be a whole number, at least 1, got 0"),
        ({"version": 1.5}, "version must be a whole number, at least 1, got 1.5"),
        ({"ttl": timedelta(seconds=-1)}, "ttl must not be negative, got datetime.timedelta(days=-1"),
        (
            {"ttl": timedelta(days=40_000)},
            "ttl must be at most 36525 days, got datetime.timedelta(days=40000); leave it out for no limit",
        ),
        ({"lead": timedelta(days=40_000)}, "lead must be at most 36525 days, got datetime.timedelta(days=40000)"),
        (
            {"entities": (Entity("row_id", "string", "x"),)},
            "entity 'row_id' is the order of a training set; rename yours",
        ),
        ({"ttl": timedelta(0), "ttl_bound": "exclusive"}, "ttl of zero with an exclusive bound lets no value be used"),
        ({"ttl": None, "ttl_bound": "exclusive"}, "ttl_bound is 'exclusive' and there is no ttl"),
        ({"ttl_bound": "open"}, "ttl_bound must be 'inclusive' or 'exclusive', got 'open'"),
        ({"finer_times": "round"}, "finer_times must be 'refuse' or 'truncate', got 'round'"),
        ({"partition": "year"}, "partition must be 'month' or 'day', got 'year'"),
        ({"lead": timedelta(seconds=-1)}, "lead must not be negative"),
        ({"freshness": timedelta(0)}, "freshness must be a positive whole number of seconds"),
        (
            {"time_zone": "Mars/Olympus"},
            "time_zone must be an IANA name such as 'UTC' or 'America/New_York', got 'Mars/",
        ),
        ({"time_zone": "../zone"}, "time_zone must be an IANA name"),
        (
            {"features": (Feature("price", "double", "x", minimum=1, maximum=0),)},
            "feature 'price': minimum must be at most",
        ),
        ({"owner": ""}, "owner must name the team"),
        ({"entities": ()}, "at least one entity is needed, got none"),
        ({"features": ()}, "at least one feature is needed, got none"),
        ({"entities": (Entity("weight", "double", "kg"),)}, "entity 'weight' has type 'double', allowed are string"),
        ({"features": (Feature("event_time", "long", "x"),)}, "feature 'event_time' is added to every table"),
        ({"features": (Feature("sku", "long", "x"),)}, "column 'sku' is declared 2 times"),
    ],
)
def test_fails_when_the_declaration_is_wrong(change, message):
    """Each error names the value and the fix."""
    with pytest.raises(FeatureGroupError) as error:
        replace(STOCK, **change)
    assert message in str(error.value)


def test_fails_with_every_problem_at_once():
    """All problems of a declaration are reported together."""
    with pytest.raises(FeatureGroupError, match=r"owner must name.*version|version.*owner must name"):
        replace(STOCK, owner="", version=0)


def test_fails_when_values_are_of_other_types():
    """Each wrong type is reported with its value, beside other problems."""
    wrong = {"owner": 5, "ttl": 14, "version": "2", "lead": 1, "freshness": "1h", "time_zone": 1, "name": None}
    with pytest.raises(FeatureGroupError) as error:
        replace(STOCK, **wrong, entities=Entity("s", "string", "x"), features=("f",), partition="year")
    assert str(error.value).split("; ") == [
        "feature group None: name must be a str, got None",
        "owner must be a str, got 5",
        "ttl must be a timedelta such as timedelta(days=14), got 14",
        "omit it for none",
        "version must be a whole number, at least 1, got '2'",
        "time_zone must be a str, got 1",
        "omit it for none",
        "lead must be a timedelta such as timedelta(days=14), got 1",
        "freshness must be a timedelta such as timedelta(days=14), got '1h'",
        "omit it for none",
        "partition must be 'month' or 'day', got 'year'",
        "entities must be a tuple of Entity, got one Entity without a comma",
        "write entities=(Entity(...),)",
        "features must contain only Feature(...), got 'f'",
    ]


def test_fails_when_columns_have_values_of_other_types():
    """Names, types, descriptions and flags of each column, and both lists, are checked together."""
    with pytest.raises(FeatureGroupError) as error:
        replace(
            STOCK,
            entities=(Entity(5, "string", "x"),),
            features=(
                Feature("f", ["long"], None, nullable="no"),
                Feature("g", "string", "g", pattern=b"a", minimum=1),
            ),
        )
    assert str(error.value).split("; ") == [
        "feature group 'stock': entity 5: name must be a str, got 5",
        "feature 'f': description must be a str, got None",
        "feature 'f': nullable must be True or False, got 'no'",
        f"feature 'f' has type ['long'], allowed are {ALLOWED}",
        "feature 'g': minimum is for int, long, float, double, decimal, date, timestamp, got 1 on string",
        "leave it out",
        "feature 'g': pattern must be a str, got b'a'",
    ]


DAY = date(2017, 1, 1)
TIME = datetime(2017, 1, 1, tzinfo=UTC)


def with_feature(feature: Feature) -> FeatureGroup:
    """Return a group with this feature only."""
    return replace(STOCK, features=(feature,))


@pytest.mark.parametrize(
    ("type_", "constraints"),
    [
        ("int", {"minimum": 0, "maximum": 0}),
        ("long", {"minimum": -(2**63), "maximum": 2**63 - 1}),
        ("float", {"minimum": 0, "maximum": 1.5}),
        ("double", {"minimum": 0, "allowed": (0, 1.0)}),
        ("date", {"minimum": DAY, "maximum": DAY}),
        ("timestamp", {"minimum": TIME, "allowed": (TIME,)}),
        ("boolean", {"allowed": (True,)}),
        ("string", {"allowed": ("A1", "B2"), "pattern": "[AB]\\d"}),
        ("string", {"pattern": r"\(?=[(?=Z\]]a{1,3}(?:b|c)*?\\\+1{1000}"}),
    ],
)
def test_sound_constraints_have_no_problem(type_, constraints):
    """Accepts bounds of the feature's type, lists of its values and patterns of strings."""
    assert with_feature(Feature("x", type_, "x", **constraints)).feature_names == ("x",)


@pytest.mark.parametrize(
    ("type_", "constraints", "message"),
    [
        ("double", {"minimum": 1, "maximum": 0}, "minimum must be at most maximum, got 1 and 0"),
        ("double", {"minimum": float("nan")}, "minimum must be a finite number, got nan"),
        ("double", {"maximum": float("inf")}, "maximum must be a finite number, got inf; leave it out for no bound"),
        ("double", {"maximum": 10**400}, "maximum must be a finite number, got 1000"),
        ("float", {"maximum": 1e300}, "maximum must be a finite number of 32 bits, got 1e+300"),
        ("float", {"allowed": (0.1, "a")}, "allowed values must each be a finite number of 32 bits, got 'a'"),
        ("double", {"minimum": True}, "minimum must be a finite number, got True"),
        ("int", {"minimum": 0.5}, "minimum must be an int of 32 bits, got 0.5"),
        ("int", {"maximum": 2**31}, "maximum must be an int of 32 bits, got 2147483648"),
        ("long", {"maximum": 2**63}, "maximum must be an int of 64 bits"),
        (
            "string",
            {"minimum": "a"},
            "minimum is for int, long, float, double, decimal, date, timestamp, got 'a' on string",
        ),
        ("boolean", {"maximum": True}, "maximum is for int, long"),
        (
            "list<long>",
            {"minimum": 0},
            "minimum is for int, long, float, double, decimal, date, timestamp, got 0 on list<long>",
        ),
        (
            "vector(2)",
            {"allowed": ([1.0, 2.0],)},
            "allowed is for boolean, string, int, long, float, double, decimal, date",
        ),
        ("binary", {"pattern": "a"}, "pattern is for string, got 'a' on binary"),
        (
            "decimal(4,2)",
            {"minimum": 0.5},
            "minimum must be a decimal.Decimal or int of at most 4 digits, 2 of them after the",
        ),
        ("decimal(4,2)", {"maximum": Decimal("1.005")}, "2 of them after the point, got Decimal('1.005')"),
        ("decimal(4,2)", {"allowed": (Decimal(1), 100)}, "2 of them after the point, got 100"),
        ("date", {"minimum": TIME}, "minimum must be a datetime.date, got datetime.datetime(2017"),
        ("date", {"minimum": "2017-01-01"}, "minimum must be a datetime.date, got '2017-01-01'"),
        ("timestamp", {"minimum": datetime(2017, 1, 1)}, "minimum must be a datetime with a time zone"),
        ("timestamp", {"minimum": DAY}, "minimum must be a datetime with a time zone"),
        ("string", {"allowed": ()}, "allowed must be a tuple of at least one value, got ()"),
        ("string", {"allowed": ["a"]}, "allowed must be a tuple of at least one value, got ['a']"),
        ("string", {"allowed": ("a", 1)}, "allowed values must each be a str, got 1"),
        ("long", {"allowed": (1, True)}, "allowed values must each be an int of 64 bits, got True"),
        ("double", {"allowed": (1.0, float("nan"))}, "allowed values must each be a finite number, got nan"),
        ("string", {"allowed": ("a", "a")}, "allowed names 'a' more than once"),
        ("long", {"allowed": (1, 7), "maximum": 3}, "allowed contains 7 beyond maximum 3"),
        ("long", {"allowed": (1, 7), "minimum": 3}, "allowed contains 1 beyond minimum 3"),
        ("string", {"allowed": ("a", "b"), "pattern": "a"}, "allowed contains 'b', which pattern 'a' does not match"),
        ("long", {"pattern": "1+"}, "pattern is for string, got '1+' on long"),
        ("string", {"pattern": "("}, "pattern must be a regular expression, got '('"),
        ("string", {"pattern": 7}, "pattern must be a str, got 7"),
        ("string", {"pattern": "(?!a)b"}, "uses (?!, which RE2 does not support"),
        ("string", {"pattern": "(?<=a)b"}, "uses (?<=, which RE2 does not support"),
        ("string", {"pattern": r"(a)\1"}, r"uses \1, which RE2 does not support"),
        ("string", {"pattern": "a*+"}, "uses *+, which RE2 does not support"),
        ("string", {"pattern": "a{1001}"}, "uses {1001, which RE2 does not support"),
    ],
)
def test_fails_when_a_constraint_makes_no_sense(type_, constraints, message):
    """Each error names the constraint, the value and the requirement."""
    with pytest.raises(FeatureGroupError) as error:
        with_feature(Feature("x", type_, "x", **constraints))
    assert message in str(error.value)
    assert str(error.value).count("feature 'x': ") == 1


def test_every_problem_of_a_feature_is_named():
    """Bounds, list and pattern are checked together."""
    feature = Feature("x", "string", "x", minimum=1, allowed=(1,), pattern="(")
    with pytest.raises(FeatureGroupError) as error:
        with_feature(feature)
    assert re.findall(r"feature 'x': (\w+)", str(error.value)) == ["minimum", "allowed", "pattern"]


def test_the_table_says_how_long_vectors_are():
    """A property has the length for readers without the declaration; lists have no length."""
    group = replace(STOCK, features=(Feature("embedding", "vector(64)", "x"), Feature("tags", "list<string>", "x")))
    vectors = {name: value for name, value in group.properties.items() if name.startswith("mlops.vector.")}
    assert vectors == {"mlops.vector.embedding": "64"}


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        (["stock"], r"tags must be a tuple of words, got \['stock'\]; write tags=\('stock',\)"),
        ("stock", "tags must be a tuple of words, got 'stock'"),
        (("a,b",), r"tag must match .*, got 'a,b'"),
        ((5,), r"tag must match .*, got 5"),
    ],
)
def test_tags_are_words(tags, problem):
    """Tags are stored in one comma-separated property, which a group without tags lacks."""
    assert "mlops.tags" not in STOCK.properties
    assert replace(STOCK, tags=("stock", "weekly")).properties["mlops.tags"] == "stock,weekly"
    with pytest.raises(FeatureGroupError, match=problem):
        replace(STOCK, tags=tags)
