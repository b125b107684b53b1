"""Values serialized as JSON and back."""

import json
import math
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from ministack.core.responses import AccountRegionScopedDict, AccountScopedDict

from mlops_local.saved_state import kept_stores
from mlops_local.saved_state.plain_data import FILE_SIZE, PlainDataError, Reader, written


@kept_stores.record
@dataclass(frozen=True, slots=True)
class Known:
    """A record with a field that is not a constructor argument."""

    name: str
    parts: tuple[int, ...] = ()
    made: int = field(init=False, default=7)


@kept_stores.record
class Named(NamedTuple):
    """A named tuple."""

    first: str
    second: Any


def again(value: Any, **renamed: str) -> Any:
    """Serialize a value, pass it through JSON, and deserialize it."""
    files: dict[str, bytes] = {}

    def keep(content: bytes) -> str:
        files[str(len(files))] = content
        return str(len(files) - 1)

    return Reader(files.__getitem__, renamed).read(json.loads(json.dumps(written(value, keep))))


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.decimals(allow_nan=False)
    | st.floats(allow_nan=False) | st.datetimes(timezones=st.just(UTC)) | st.dates()
)  # fmt: skip
KEYS = st.text() | st.integers() | st.tuples(st.text(), st.text())
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner) | st.dictionaries(KEYS, inner) | st.lists(inner).map(tuple) | st.lists(inner).map(deque)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read_again(value: Any) -> None:
    """With its types, at any nesting."""
    read = again(value)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        {"$bytes": "not bytes"},
        {"$": 1},
        {1, 2},
        frozenset({"a"}),
        OrderedDict(a=1),
        Counter("aab"),
        defaultdict(dict, a={"b": 1}),
        timedelta(hours=1.5),
        date(2026, 11, 29),
        Decimal("1.10"),
        Path("/a/b"),
        math.inf,
        -math.inf,
        b"x" * FILE_SIZE,
        Known("a", (1, 2)),
        Named("a", {"b": (1,)}),
        [datetime(2026, 11, 29, tzinfo=UTC)],
    ],
    ids=str,
)
def test_kinds_that_json_has_not(value: Any) -> None:
    """Each keeps its type; a dict that resembles one of our marks stays a dict."""
    assert again(value) == value
    assert type(again(value)) is type(value)


def test_a_default_factory_is_kept() -> None:
    """A new key of the deserialized dict gets the default."""
    assert again(defaultdict(list))["new"] == []
    with pytest.raises(PlainDataError, match="a defaultdict of"):
        again(defaultdict(lambda: 1))


@pytest.mark.parametrize("scoped", [AccountScopedDict, AccountRegionScopedDict])
def test_stores_by_account_keep_every_account(scoped: Any) -> None:
    """Not only that of the caller."""
    store = scoped()
    store._data[("1" * 12, "eu-west-1", "a")] = {"b": (1, 2)}
    read = again(store)
    assert type(read) is scoped
    assert read.to_dict() == store.to_dict()


def test_private_keys_sign_as_before() -> None:
    """A key is serialized as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    assert again({"k": key})["k"].public_key().public_bytes(*form) == key.public_key().public_bytes(*form)


def test_addresses_are_renamed() -> None:
    """In keys and values, at any depth."""
    reader = Reader(dict[str, bytes]().__getitem__, {"x:1": "x:2"})
    assert reader.read({"http://x:1/q": ["http://x:1"]}) == {"http://x:2/q": ["http://x:2"]}
    assert reader.read("x:1, x:12 and x:1") == "x:2, x:12 and x:2"


def test_what_is_not_plain_is_named_with_its_place() -> None:
    """A lock, a thread, an object of an unregistered class."""
    with pytest.raises(PlainDataError, match=r"^a: 1: a value of type builtins\.object$"):
        again({"a": [0, object()]})


@pytest.mark.parametrize(
    ("plain", "problem"),
    [
        ({"$strange": 1}, r"unknown tag \$strange"),
        ({"$record": ["no.Class", {}]}, "unknown record class no.Class"),
        (
            {"$record": [kept_stores.record_name(Known), {"name": "a"}]},
            r"fields of .*Known differ: \['made', 'parts'\]",
        ),
    ],
)
def test_what_another_version_wrote_is_refused(plain: Any, problem: str) -> None:
    """An unknown mark, class or field is never ignored."""
    with pytest.raises(PlainDataError, match=problem):
        Reader(dict[str, bytes]().__getitem__).read(plain)
