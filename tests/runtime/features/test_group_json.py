"""Feature groups as JSON and back."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.group_json import DeclarationError, declaration_json, read_declaration

FULL = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"), Entity("day", "date", "day")),
    features=(
        Feature("on_hand", "long", "units", minimum=0, maximum=2**63 - 1),
        Feature("share", "double", "share", minimum=0.5, maximum=1),
        Feature("state", "string", "state", allowed=("open", "shut"), pattern="[a-z]+", nullable=True),
        Feature("is_new", "boolean", "new", allowed=(False,)),
        Feature("since", "date", "since", minimum=date(2017, 1, 2), allowed=(date(2017, 1, 2), date(2018, 1, 1))),
        Feature(
            "seen",
            "timestamp",
            "seen",
            minimum=datetime(2017, 1, 2, 3, 4, 5, 678, UTC),
            maximum=datetime(2018, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        ),
        Feature("price", "decimal(9,2)", "price", minimum=0, maximum=Decimal("99.50"), allowed=(Decimal("1.10"), 2)),
        Feature("tags", "list<string>", "tags", nullable=True),
        Feature("embedding", "vector(64)", "embedding"),
        Feature("image", "binary", "image"),
    ),
    owner="demand",
    description="stock",
    event_time="when counted",
    ttl=timedelta(days=14),
    version=3,
    ttl_bound="exclusive",
    time_zone="America/New_York",
    finer_times="truncate",
    lead=timedelta(microseconds=250_001),
    freshness=timedelta(hours=2),
    partition="day",
    online=True,
    tags=("core",),
)


def _document(**changes: Any) -> str:
    document = json.loads(declaration_json([FULL]))
    document["groups"][0] |= changes
    return json.dumps(document)


def test_every_field_comes_back() -> None:
    """Every field of the group differs from its default, and none is lost."""
    (read,) = read_declaration(declaration_json([FULL]))

    assert read == FULL
    assert repr(read.features[1].maximum) == "1"
    assert read.features[5].maximum == datetime(2017, 12, 31, 18, 30, tzinfo=UTC)
    written = json.loads(declaration_json([FULL]))["groups"][0]
    assert set(written) == set(FeatureGroup.__dataclass_fields__)


def test_the_same_groups_give_the_same_text() -> None:
    """The JSON is part of an asset and decides its hash."""
    assert declaration_json([FULL]) == declaration_json(read_declaration(declaration_json([FULL])))


@given(
    st.integers(0, 10**9),
    st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=36500)),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5, unique=True),
    st.lists(
        st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.timezones()),
        min_size=1,
        max_size=3,
        unique=True,
    ),
)
def test_any_value_comes_back(seconds: int, lead: timedelta, floats: list[float], times: list[datetime]) -> None:
    """Durations keep microseconds, floats their bits, and times their instants."""
    instants = tuple(dict.fromkeys(time.astimezone(UTC) for time in times))
    group = FeatureGroup(
        name="g",
        entities=(Entity("e", "long", "e"),),
        features=(Feature("f", "double", "f", allowed=tuple(floats)), Feature("t", "timestamp", "t", allowed=instants)),
        owner="o",
        description="d",
        ttl=timedelta(seconds=seconds),
        lead=lead,
    )

    assert read_declaration(declaration_json([group])) == (group,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON: "),
        ("[]", r"an object with format 'mlops.feature-groups/1' and an array of groups is required, got '\[\]'"),
        ('{"format": "mlops.feature-groups/2", "groups": []}', "an object with format"),
        (_document(constraint=1), r"groups\[0\].constraint is unknown; build and deploy with the same version"),
        (_document(ttl="long"), r"groups\[0\].ttl: "),
        (_document(entities={}), r"groups\[0\].entities: must be an array, got {}"),
        (_document(entities=[3]), r"groups\[0\].entities\[0\] must be an object, got 3"),
        (
            _document(version=0),
            r"groups\[0\]: feature group 'stock': version must be a whole number, at least 1, got 0",
        ),
        (
            _document(features=[{"name": "f", "type": "date", "description": "d", "minimum": 3}]),
            r"features\[0\].minimum: ",
        ),
        (_document(features=[{"name": "f", "type": "date"}]), r"groups\[0\].features\[0\].description is missing"),
        (declaration_json([FULL, FULL]), "table 'stock_v3' is declared twice"),
    ],
)
def test_fails_on_what_is_no_declaration(text: str, message: str) -> None:
    """An unknown field could be a constraint, so it is never ignored."""
    with pytest.raises(DeclarationError, match=message):
        read_declaration(text)


def test_fails_with_every_problem() -> None:
    """All problems are reported, not only the first."""
    with pytest.raises(DeclarationError) as caught:
        read_declaration(_document(constraint=1, lead="soon", features=None))

    assert str(caught.value).count("groups[0].") == 3
