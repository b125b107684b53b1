"""Fast calls into jsii send and return the same messages as jsii."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import aws_cdk as cdk
import pytest
from jsii._kernel import types
from jsii._kernel.providers import process
from tests import jsii_calls

TOKEN = types.ObjRef(ref="a@1")
SEEN = types.ObjRef(ref="a@1", interfaces=["b.IThing"])
REQUESTS: list[Any] = [
    types.CreateRequest(fqn="a.B", args=[TOKEN, {"$jsii.map": {"x": SEEN}}, None], overrides=[types.Override(method="m")]),
    types.CreateRequest(fqn="a.B", args=[cdk.RemovalPolicy.RETAIN, datetime(2026, 1, 1, tzinfo=UTC)], interfaces=["b.I"]),
    types.GetRequest(objref=types.CreateResponse(ref="a@2"), property="node"),
    types.SetRequest(objref=TOKEN, property="name", value=[SEEN, "grün", 1.5]),
    types.InvokeRequest(objref=TOKEN, method="go", args=[{"deep": [TOKEN]}]),
    types.StaticGetRequest(fqn="a.B", property="KIND"),
    types.StaticInvokeRequest(fqn="a.B", method="of", args=[]),
    process._CompleteRequest(complete=types.CompleteRequest(cbid="1", result=TOKEN)),
    types.StatsRequest(),
]  # fmt: skip
MESSAGES: list[tuple[str, Any]] = [
    ('{"ok": {"$jsii.byref": "a@3", "$jsii.interfaces": ["b.I"]}}', types.CreateResponse),
    ('{"ok": {"value": {"$jsii.byref": "a@3"}}}', types.GetResponse),
    ('{"ok": {"value": {"$jsii.enum": "a.Kind/ONE"}}}', types.GetResponse),
    ('{"ok": {"result": {"$jsii.map": {"x": [{"$jsii.byref": "a@3"}]}}}}', types.InvokeResponse),
    ('{"ok": {"result": {"at": {"$jsii.date": "2026-01-01T00:00:00Z"}, "$jsii.byref": 1, "more": 2}}}', types.InvokeResponse),
    ('{"error": "e", "stack": "s", "name": "n"}', types.SetResponse),
    ('{"callback": {"cbid": "1", "cookie": "c", "get": {"objref": {"$jsii.byref": "a@3"}, "property": "p"}}}', types.GetResponse),
    ('{"ok": {}}', types.SetResponse),
    ('{"ok": {}}', types.InvokeResponse),
    ('{"ok": {"objectCount": 3}}', types.StatsResponse),
]  # fmt: skip


def _serializer(init: Callable[[Any], None]) -> Any:
    node = SimpleNamespace()
    init(node)
    return node._serializer


@pytest.mark.parametrize("request_", REQUESTS)
def test_what_is_sent_is_what_jsii_sends(request_: Any) -> None:
    """Covers every kind of request, with references, enumerations, times and overrides."""
    own = _serializer(jsii_calls.own_init).unstructure(request_)
    quick = _serializer(jsii_calls.init).unstructure(request_)

    expected = json.dumps(own, default=jsii_calls.own_default)
    assert json.loads(json.dumps(quick, default=jsii_calls.plain)) == json.loads(expected)


@pytest.mark.parametrize(("line", "kind"), MESSAGES)
def test_what_is_returned_is_what_jsii_returns(line: str, kind: type) -> None:
    """Objects, enumerations, times and maps are converted as before."""
    own, quick = _serializer(jsii_calls.own_init), _serializer(jsii_calls.init)
    expected = own.structure(json.loads(line, object_hook=jsii_calls.own_hook), process._ProcessResponse)

    found = quick.structure(jsii_calls.read(line.encode()), process._ProcessResponse)

    assert found == expected
    if isinstance(found, process._OkayResponse):
        assert quick.structure(found.ok, kind) == own.structure(expected.ok, kind)


def test_what_cannot_be_sent_is_refused_as_before() -> None:
    """Rejects an object unknown to jsii."""
    with pytest.raises(TypeError, match="Don't know how to convert"):
        json.dumps({"x": object()}, default=jsii_calls.plain)
