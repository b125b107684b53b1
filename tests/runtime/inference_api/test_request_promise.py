"""The promise of an API: what it allows, a model takes; what a candidate would refuse of it is found, everything at once."""

import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from mlops_runtime.contracts.feature_service import FeatureLookup, FeatureServiceSpec, ServedColumn, ServedGroup
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.inference_api.request_promise import (
    DRAFT,
    PromiseError,
    promise_problems,
    read_promise,
    request_schema,
)
from mlops_runtime.serving.feature_lookup import FeatureLookups
from mlops_runtime.serving.request_payload import PayloadError, Reader, parse

FILE = "forecast.schema.json"
KINDS: list[dict[str, Any]] = [
    {"type": "number"},
    {"type": "number", "kind": "integer"},
    {"type": "number", "kind": "boolean"},
    {"type": "category", "categories": ("a", "b")},
    {"type": "category", "categories": ("1", "20"), "kind": "integer"},
]
COLUMNS = st.builds(
    lambda name, kind, nullable: SignatureColumn(name=name, nullable=nullable, **kind),
    st.sampled_from(["price", "store", "week", "promo"]),
    st.sampled_from(KINDS),
    st.booleans(),
)
SIGNATURES = st.lists(COLUMNS, min_size=1, max_size=4, unique_by=lambda column: column.name).map(
    lambda columns: ModelSignature(inputs=tuple(columns), output="units")
)
ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**54), 2**54),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["a", "new", "", "7", "-20", "07", "7.0"]),
)
RIGHT = {
    ("number", None): st.integers(-9, 9) | st.floats(-1e38, 1e38),
    ("number", "integer"): st.integers(-(2**53), 2**53),
    ("number", "boolean"): st.booleans() | st.integers(0, 1),
    ("category", None): st.sampled_from(["a", "new", ""]),
    ("category", "integer"): st.integers(-30, 30) | st.sampled_from(["7", "-20"]),
}


def column(name: str, **more: Any) -> SignatureColumn:
    """A column of numbers, or as `more` says."""
    return SignatureColumn(**{"name": name, "type": "number", **more})


def validator(schema: dict[str, Any]) -> jsonschema.Draft4Validator:
    """The oracle, of draft-04."""
    jsonschema.Draft4Validator.check_schema(schema)
    return jsonschema.Draft4Validator(schema)


def rows_of(signature: ModelSignature, draw: Any) -> list[Any]:
    """Rows as objects or arrays: right ones, in which at most one value is of any kind, or missing."""
    rows: list[Any] = []
    has_wrong = draw(st.sampled_from([False, False, True]))
    for _ in range(draw(st.sampled_from([1, 2, 0, 4]))):
        values = {
            each.name: draw(RIGHT[each.type, each.kind] | (st.none() if each.nullable else st.nothing()))
            for each in signature.inputs
        }
        changed = draw(st.sampled_from([None, *values]) if has_wrong else st.none())
        if changed is not None:
            values[changed] = draw(ANY)
        left_out = draw(st.sampled_from([None, *values]) if has_wrong else st.none())
        if draw(st.booleans()):
            rows.append(list(values.values()))
        else:
            rows.append({name: value for name, value in values.items() if name != left_out})
    return rows


def takes(signature: ModelSignature, body: object) -> bool:
    """Whether the server of a model takes a body."""
    try:
        parse("application/json", json.dumps(body).encode(), signature)
    except PayloadError:
        return False
    return True


@settings(max_examples=200)
@given(signature=SIGNATURES, data=st.data())
def test_what_the_promise_allows_the_model_takes(signature: ModelSignature, data: st.DataObject) -> None:
    """No caller who keeps to the schema meets a 400 of the model."""
    body = {"instances": rows_of(signature, data.draw)}
    is_promised = validator(request_schema(signature, max_rows=3)).is_valid(body)
    event(f"promised: {is_promised}")

    assert takes(signature, body) or not is_promised


@settings(max_examples=200)
@given(signature=SIGNATURES, data=st.data())
def test_what_the_model_takes_the_promise_allows(signature: ModelSignature, data: st.DataObject) -> None:
    """Nothing that a model answers is kept from it, up to the number of rows."""
    body = {"instances": rows_of(signature, data.draw)[:3]}
    # an integer written as 7.0 and a boolean written as 1.0 are of draft-04 no integers
    whole = json.loads(
        json.dumps(body), parse_float=lambda text: int(float(text)) if float(text) % 1 == 0 else float(text)
    )

    assert validator(request_schema(signature, max_rows=3)).is_valid(whole) or not takes(signature, body)


@settings(max_examples=200)
@given(old=SIGNATURES, other=SIGNATURES, data=st.data())
def test_a_candidate_without_problems_takes_what_was_promised(
    old: ModelSignature, other: ModelSignature, data: st.DataObject
) -> None:
    """The comparison knows every way in which a candidate would refuse a promised request."""
    changed = {each.name: each for each in other.inputs[: data.draw(st.integers(0, 2))]}
    kept = [changed.pop(each.name, each) for each in old.inputs]
    new = replace(old, inputs=(*kept, *changed.values()))
    schema, promise = read_promise(json.dumps(request_schema(old, max_rows=3, arrays=data.draw(st.booleans()))), FILE)
    body = {"instances": rows_of(old, data.draw)}
    is_promised = validator(schema).is_valid(body)

    assert promise_problems(promise, new) or takes(new, body) or not is_promised


@given(signature=SIGNATURES)
def test_a_model_keeps_its_own_promise(signature: ModelSignature) -> None:
    """Written from a signature, the schema is read as what it says."""
    schema, promise = read_promise(json.dumps(request_schema(signature)), FILE)

    assert schema == request_schema(signature)
    assert promise_problems(promise, signature) == []
    assert promise.arrays == tuple(each.name for each in signature.inputs)


def test_every_problem_of_a_candidate_at_once() -> None:
    """With the file, the column and what to do."""
    old = ModelSignature(inputs=(column("price"), column("week", nullable=True), column("gone")), output="units")
    new = ModelSignature(
        inputs=(column("price", type="category", categories=("a",)), column("week"), column("stock")), output="units"
    )
    promise = read_promise(json.dumps(request_schema(old, arrays=False)), FILE)[1]

    assert promise_problems(promise, new) == [
        f"{FILE} allows column 'gone', which the model does not have; publish v2",
        f"{FILE} declares column 'price' as a number, the model takes text; publish v2",
        f"{FILE} does not require column 'week', which the model needs; publish v2",
        f"{FILE} allows null in column 'week', which the model rejects; publish v2",
        f"{FILE} does not require column 'stock', which the model needs; publish v2",
    ]


def test_a_new_column_that_may_be_absent_keeps_a_promise_of_objects() -> None:
    """An array has a value for each column, so with arrays it does not."""
    old = ModelSignature(inputs=(column("price"),), output="units")
    new = ModelSignature(inputs=(column("price"), column("stock", nullable=True)), output="units")
    objects, both = (read_promise(json.dumps(request_schema(old, arrays=arrays)), FILE)[1] for arrays in (False, True))

    assert promise_problems(objects, new) == []
    assert promise_problems(both, new) == [f"{FILE} allows rows as arrays of 1 values, the model takes 2; publish v2"]


def test_arrays_keep_the_order_of_columns() -> None:
    """Else the values would change places without an error."""
    old = ModelSignature(inputs=(column("price"), column("week")), output="units")
    promise = read_promise(json.dumps(request_schema(old)), FILE)[1]

    assert promise_problems(promise, replace(old, inputs=old.inputs[::-1])) == [
        f"{FILE} allows rows as arrays with 'price' as value 1, the model takes 'week' there; keep the order of columns, "
        "or publish v2"
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"$schema": "https://json-schema.org/draft/2020-12/schema"},
            "$schema must be 'http://json-schema.org/draft-04",
        ),
        ({"required": []}, "required must be ['instances'], got []"),
        ({"properties": {}}, "properties.instances must have type 'array'"),
        ({"type": "array"}, "type must be 'object', got 'array'"),
    ],
)
def test_another_schema_is_refused(change: dict[str, Any], problem: str) -> None:
    """With what is wrong."""
    schema = request_schema(ModelSignature(inputs=(column("price"),), output="units"))

    with pytest.raises(PromiseError) as refused:
        read_promise(json.dumps({**schema, **change}), FILE)

    assert problem in str(refused.value)


def test_every_problem_of_a_schema_at_once() -> None:
    """A row that may hold anything is one of them."""
    row = {"type": "object", "properties": {"price": {"type": "object"}}, "required": ["price", "week"]}
    schema = {"$schema": DRAFT, "properties": {"instances": {"type": "array", "items": row}}}

    with pytest.raises(PromiseError) as refused:
        read_promise(json.dumps(schema), FILE)

    message = str(refused.value)
    assert message.startswith(f"{FILE} is not a promise of requests as written by mlops api schema: ")
    for part in ("required must be", "maxItems", "minItems", "additionalProperties", "required of a row"):
        assert part in message


@pytest.mark.parametrize("content", ["", "[" * 100_000, "[]"])
def test_what_is_not_an_object_is_refused(content: str) -> None:
    """Brackets without end too."""
    with pytest.raises(PromiseError, match=FILE):
        read_promise(content, FILE)


STOCK = ServedGroup(
    group="stock",
    version=1,
    table="stock_v1",
    entities=(ServedColumn(name="store_id", type="string"), ServedColumn(name="item", type="long")),
    features=(ServedColumn(name="on_hand", type="long"), ServedColumn(name="shelf", type="string")),
)
CALENDAR = ServedGroup(
    group="calendar",
    version=1,
    table="calendar_v1",
    entities=(ServedColumn(name="day", type="date"), ServedColumn(name="zone", type="int")),
    features=(ServedColumn(name="holiday", type="boolean"),),
)
UNUSED = ServedGroup(
    group="unused",
    version=1,
    table="unused_v1",
    entities=(ServedColumn(name="other", type="string"),),
    features=(ServedColumn(name="x", type="double"),),
)
LOOKUP = FeatureLookup(
    service=FeatureServiceSpec(name="shelves", version=1, groups=(STOCK, CALENDAR, UNUSED)),
    keys={"store_id": "store"},
    allows_nulls=True,
    budget_milliseconds=30_000,
)
# one key is an input too, three are not; what is looked up is nullable
LOOKING = ModelSignature(
    inputs=(
        column("price"),
        column("item", kind="integer"),
        column("stock__on_hand", nullable=True),
        column("stock__shelf", type="category", categories=("a",), nullable=True),
        column("calendar__holiday", kind="boolean", nullable=True),
    ),
    output="units",
    passes="values",
    lookup=LOOKUP,
)
KEYED = {
    "store": st.sampled_from(["a", ""]),
    "item": st.integers(-(2**53), 2**53),
    "day": st.dates().map(str),
    "zone": st.integers(-(2**31), 2**31 - 1),
}
FEATURES = {
    "stock__on_hand": st.integers(0, 9),
    "stock__shelf": st.sampled_from(["a", "b"]),
    "calendar__holiday": st.booleans(),
}


class Nothing:
    """An online store without a row."""

    def read(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Find nothing."""
        return {}


def looks_up(body: Any) -> bool:
    """Whether the server of a model that looks features up takes a body."""
    rows: Any = Nothing()
    lookups = FeatureLookups(LOOKUP, LOOKING, rows)
    try:
        reader = Reader(LOOKING)
        instances, kind = reader.instances("application/json", json.dumps(body).encode())
        reader.rows(lookups.fill(instances).instances, kind)
    except PayloadError:
        return False
    return True


@settings(max_examples=300)
@given(data=st.data())
def test_what_a_lookups_promise_allows_the_model_takes(data: st.DataObject) -> None:
    """With a row of keys alone, with features of the caller's own, and with one value or name that is wrong."""
    row = {"price": 1.5} | {name: data.draw(values) for name, values in KEYED.items()}
    row |= {name: data.draw(values) for name, values in FEATURES.items() if data.draw(st.booleans())}
    if data.draw(st.booleans()):
        name = data.draw(st.sampled_from([*row, "other"]))
        row[name] = data.draw(ANY)
    if data.draw(st.booleans()):
        row.pop(data.draw(st.sampled_from(list(row))))
    body = {"instances": [row]}
    is_promised = validator(request_schema(LOOKING)).is_valid(body)
    event(f"promised: {is_promised}")

    assert looks_up(body) or not is_promised


def test_what_a_lookup_promises() -> None:
    """Keys of groups that the model uses are required, by their names in requests; rows are objects alone."""
    schema, promise = read_promise(json.dumps(request_schema(LOOKING)), FILE)
    row = schema["properties"]["instances"]["items"]

    assert row["required"] == ["price", "store", "item", "day", "zone"]
    assert promise.arrays is None
    assert promise_problems(promise, LOOKING) == []
    validate = validator(schema)
    whole = {"price": 1.5, "store": "a", "item": 7, "day": "2017-01-02", "zone": 3}
    assert validate.is_valid({"instances": [whole]})
    for wrong in ({"item": "7"}, {"store": None}, {"day": "2017-1-2"}, {"zone": 2**31}, {"other": "x"}):
        assert not validate.is_valid({"instances": [whole | wrong]})
    for name in KEYED:
        assert not validate.is_valid({"instances": [{k: v for k, v in whole.items() if k != name}]})


def test_a_time_of_a_key_has_a_zone() -> None:
    """As the server reads it."""
    group = replace(CALENDAR, entities=(ServedColumn(name="at", type="timestamp"),))
    service = replace(LOOKUP.service, groups=(group,))
    inputs = (column("calendar__holiday", kind="boolean", nullable=True),)
    signature = ModelSignature(inputs=inputs, output="units", lookup=FeatureLookup(service=service))
    validate = validator(request_schema(signature))

    for text, is_right in {
        "2017-01-02T00:00:00Z": True, "2017-01-02T00:00:00.123456+02:00": True, "2017-01-02": False, "2017-01-02T00:00:00": False,
    }.items():  # fmt: skip
        assert validate.is_valid({"instances": [{"at": text}]}) is is_right


def test_a_model_that_begins_to_look_features_up_needs_its_keys() -> None:
    """Each by its name in requests; what it looks up may be promised or not."""
    before = replace(LOOKING, inputs=(LOOKING.inputs[0], LOOKING.inputs[1]), lookup=None)
    promise = read_promise(json.dumps(request_schema(before, arrays=False)), FILE)[1]

    assert promise_problems(promise, LOOKING) == [
        f"{FILE} does not require column {name!r}, by which the model looks features up; publish v2"
        for name in ("store", "day", "zone")
    ]
    loose = json.loads(json.dumps(request_schema(LOOKING)))
    row = loose["properties"]["instances"]["items"]
    row["required"].remove("store")
    row["properties"]["day"] = {"type": ["integer", "null"]}
    assert promise_problems(read_promise(json.dumps(loose), FILE)[1], LOOKING) == [
        f"{FILE} does not require column 'store', by which the model looks features up; publish v2",
        f"{FILE} allows null in column 'day', by which the model looks features up; publish v2",
        f"{FILE} declares column 'day' as an integer, the model looks features up by text; publish v2",
    ]


def test_a_promise_is_of_a_row_at_least() -> None:
    """Of none it would allow nothing."""
    with pytest.raises(PromiseError, match="max_rows must be 1 or more, got 0"):
        request_schema(LOOKING, max_rows=0)
