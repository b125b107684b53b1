"""Contracts to JSON and back for every shape, their schemas, and hostile documents."""

import dataclasses
import functools
import importlib
import json
import pkgutil
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mlops_runtime.contracts
from mlops_runtime.contracts import (
    ContractError,
    canonical_json,
    content_hash,
    from_dict,
    from_json,
    json_schema,
    to_dict,
)
from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import DriftResult, MonitorReport, QualityResult
from mlops_runtime.contracts.retraining import GateSpec
from mlops_runtime.contracts.rollout import AuditRecord, ServingSpec
from mlops_runtime.monitor.spec import MonitorSpec

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.json"))


def _contracts() -> list[type]:
    found = []
    for module_info in pkgutil.iter_modules(mlops_runtime.contracts.__path__):
        module = importlib.import_module(f"mlops_runtime.contracts.{module_info.name}")
        found += [
            value
            for value in vars(module).values()
            if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__
        ]
    return sorted(found, key=lambda kind: kind.__name__)


CONTRACTS = _contracts()
BY_NAME = {kind.__name__: kind for kind in CONTRACTS}

_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


def _values(kind: Any) -> st.SearchStrategy[Any]:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind in (Any, object):
        return _JSON.filter(lambda value: value is not None)
    if origin is tuple:
        return st.lists(_values(args[0]), max_size=2).map(tuple)
    if origin is Mapping:
        return st.dictionaries(_TEXT, _values(args[1]), max_size=2)
    if origin is typing.Literal:
        return st.sampled_from(args)
    if type(None) in args:
        return st.none() | _values(next(arg for arg in args if arg is not type(None)))
    if kind is MonitorSpec:  # rejects thresholds out of range at construction
        return st.builds(
            MonitorSpec, minimum_effect=st.floats(0, 1), minimum_rows=st.integers(50), features=st.just(("a",))
        )
    if dataclasses.is_dataclass(kind):
        return _instances(typing.cast(type, kind))
    if kind is str:
        return _TEXT
    if kind is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    if kind is datetime:
        return st.datetimes(timezones=st.just(UTC))
    return st.from_type(kind)


@functools.cache
def _instances(kind: type) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{field.name: _values(hints[field.name]) for field in dataclasses.fields(kind)})


@functools.cache
def _validator(kind: type) -> jsonschema.Draft202012Validator:
    """Return a document validator of a contract; the schema itself has its own test."""
    return jsonschema.Draft202012Validator(json_schema(kind))


@pytest.mark.parametrize("kind", CONTRACTS, ids=lambda kind: kind.__name__)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_is_written_is_read_back_and_another_document_is_read_or_refused(kind: type, data: st.DataObject) -> None:
    """Equal, with the same hash, valid under the schema, ignoring unknown fields of later versions.

    With any value replaced by any other, the reader raises ContractError or nothing.
    """
    value = data.draw(_instances(kind))
    document = json.loads(canonical_json(value))
    assert from_json(kind, canonical_json(value)) == value
    _validator(kind).validate(document)
    later = document | {"a field of a later version": 1}
    assert content_hash(from_dict(kind, later)) == content_hash(value)

    name = data.draw(st.sampled_from(sorted(document))) if document else "x"
    document[name] = data.draw(_JSON)
    try:
        from_dict(kind, document)
    except ContractError as error:
        assert f"not a valid {kind.__name__}" in str(error)


@pytest.mark.parametrize("kind", CONTRACTS, ids=lambda kind: kind.__name__)
def test_schemas_are_schemas(kind: type) -> None:
    """Draft 2020-12 without dangling references."""
    schema = json_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    named = {ref.rpartition("/")[2] for ref in _references(schema)}
    assert named <= set(schema["$defs"])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_of_version_1_stay_readable(path: Path) -> None:
    """Stored documents stay readable with the same meaning."""
    kind, document = BY_NAME[path.stem], json.loads(path.read_text())
    _validator(kind).validate(document)
    assert to_dict(from_dict(kind, document)) == document


def test_every_versioned_contract_has_an_example() -> None:
    """A shape with a ``format`` is stored somewhere."""
    versioned = {kind.__name__ for kind in CONTRACTS if "format" in {f.name for f in dataclasses.fields(kind)}}
    assert {path.stem for path in EXAMPLES} >= versioned


def test_a_required_field_may_be_null_and_is_then_written() -> None:
    """Without a default the null would be lost."""
    report = MonitorReport(
        endpoint="e",
        variant="v",
        window_from="f",
        window_until="u",
        drift=DriftResult(state=MonitorState.NO_TRAFFIC),
        quality=QualityResult(state=MonitorState.NO_LABELS_YET),
        rows=0,
        baseline_sha256=None,
        model_package_arn=None,
    )
    document = to_dict(report)
    assert document["baseline_sha256"] is None
    assert from_dict(MonitorReport, document) == report


def test_optional_fields_without_value_are_left_out() -> None:
    """An optional field of a later version does not change a record's hash."""
    record = from_dict(AuditRecord, json.loads((EXAMPLES[0].parent / "AuditRecord.json").read_text()))
    assert "candidate_package" not in to_dict(dataclasses.replace(record, candidate_package=None))


def test_fails_with_every_problem_and_its_path() -> None:
    """Missing, mistyped and disallowed values are reported together."""
    rollout = {"kind": "SOON", "bake": "600", "maximum": True}
    document = {"endpoint": 1, "rollout": rollout, "subnets": "subnet-1", "tags": {"a": 1}}
    with pytest.raises(ContractError) as error:
        from_dict(ServingSpec, document)
    for part in (
        "$.endpoint must be a string, got 1",
        "$.variant is missing",
        "$.subnets must be an array, got 'subnet-1'",
        "$.rollout.kind must be one of 'ALL_AT_ONCE', 'CANARY', 'LINEAR', 'ROLLING', got 'SOON'",
        "$.rollout.bake must be an integer, got '600'",
        "$.rollout.maximum must be an integer, got True",
        "$.tags.a must be a string, got 1",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        (b"\xff", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("null", r"\$ must be an object, got None"),
        ('{"endpoint": "\\ud800"}', "must be text without lone surrogates"),
    ],
)
def test_fails_when_the_text_is_hostile(text: str | bytes, message: str) -> None:
    """Only ContractError is raised, and everything read can be written again."""
    with pytest.raises(ContractError, match=message):
        from_json(ServingSpec, text)


def test_fails_when_a_number_has_too_many_digits() -> None:
    """JSON has no limit, a double has."""
    document = json.loads((EXAMPLES[0].parent / "GateSpec.json").read_text()) | {"confidence": 10**400}
    with pytest.raises(ContractError, match="must be a number that a double can hold, got 401 digits"):
        from_dict(GateSpec, document)


def test_canonical_json_has_one_form() -> None:
    """Sorted, without spaces, UTF-8; NaN is rejected."""
    assert canonical_json({"b": 1, "a": "ü"}) == '{"a":"ü","b":1}'.encode()
    with pytest.raises(ValueError, match="Out of range float"):
        canonical_json({"a": float("nan")})


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in _references(value)]
    return [ref for value in node for ref in _references(value)] if isinstance(node, list) else []
