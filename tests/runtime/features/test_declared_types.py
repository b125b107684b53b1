"""Types of declared values: what holds, what does not, and the forgotten comma."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from mlops_runtime.features.declared_types import (
    FLAG,
    OPTIONAL_SPAN,
    SPAN,
    TEXT,
    VERSION,
    tuple_problem,
    wrong_fields,
)
from mlops_runtime.features.group import Entity

STORE = Entity("store_id", "string", "store")


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
    """A flag is no number and a number no flag; None is taken only where it means left out."""
    assert kind.holds(value) is holds


def test_each_wrong_field_is_named_with_its_value():
    """Sound fields are left out, and what may be left out says so."""
    declared = SimpleNamespace(name="stock", owner=5, ttl=14)
    assert wrong_fields(declared, {"name": TEXT, "owner": TEXT, "ttl": OPTIONAL_SPAN}) == {
        "owner": "owner must be a str, got 5",
        "ttl": "ttl must be a timedelta such as timedelta(days=14), got 14; leave it out for none",
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
        ((STORE, "s", 5), "entities must hold Entity(...) each, got 's', 5"),
        ("s" * 99, f"entities must be a tuple of Entity, got '{'s' * 78}…"),
    ],
)
def test_a_tuple_holds_its_kind(value, problem):
    """The single one without a comma, a list and a text are told apart."""
    found = tuple_problem("entities", value, Entity)
    assert found is None if problem is None else str(found).startswith(problem)
