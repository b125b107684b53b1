"""Conversion of values to JSON and back, including types that JSON lacks: tuples, bytes, times, keys, and our records.

Values that JSON supports are unchanged. Any other value is an object with a single key that starts with ``$``. Nothing is executed:
only classes registered in our modules are instantiated, field by field.
"""

import base64
import dataclasses
import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from ministack.core.responses import AccountRegionScopedDict, AccountScopedDict

from mlops_local.saved_state import kept_stores

# minimum size of bytes that are stored in a file of their own
FILE_SIZE = 4096

_SCOPED: dict[str, type] = {"scoped": AccountScopedDict, "regional": AccountRegionScopedDict}
_LISTS: dict[type, str] = {tuple: "tuple", set: "set", frozenset: "frozenset", deque: "deque"}
_DICTS: dict[type, str] = {OrderedDict: "ordered", Counter: "counter"}
# default factories of defaultdicts
_FACTORIES: dict[str, Callable[[], Any]] = {"dict": dict, "list": list, "set": set, "int": int}

_SCALARS: dict[str, Callable[[Any], Any]] = {
    "bytes": base64.b64decode,
    "float": float,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "seconds": lambda seconds: timedelta(seconds=seconds),
    "decimal": Decimal,
    "path": Path,
    "key": lambda pem: serialization.load_pem_private_key(pem.encode(), None),
}


class PlainDataError(ValueError):
    """A value cannot be converted, or converted data cannot be read."""


def written(value: Any, keep_file: Callable[[bytes], str]) -> Any:
    """Convert a value to JSON data.

    Args:
        keep_file: Stores large bytes, and returns their name.

    Raises:
        PlainDataError: If a part of it is neither plain data nor of a registered class; the message contains its path.
    """
    kind = type(value)
    if value is None or kind is str or kind is int or kind is bool:
        return value
    if kind is dict:
        return _written_dict(value, keep_file)
    if kind is list:
        return [_part(item, number, keep_file) for number, item in enumerate(value)]
    if kind is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    return _written_other(value, kind, keep_file)


def _written_other(value: Any, kind: type, keep_file: Callable[[bytes], str]) -> dict[str, Any]:
    if isinstance(value, bytes | bytearray):
        if len(value) >= FILE_SIZE:
            return {"$file": keep_file(bytes(value))}
        return {"$bytes": base64.b64encode(value).decode()}
    if (listed := _LISTS.get(kind)) is not None:
        return {f"${listed}": [_part(item, number, keep_file) for number, item in enumerate(list(value))]}
    if (named := _DICTS.get(kind)) is not None:
        return {f"${named}": _pairs(value, keep_file)}
    for name, scoped in _SCOPED.items():
        if kind is scoped:
            return {f"${name}": _pairs(value._data, keep_file)}
    if isinstance(value, defaultdict):
        factory = next((name for name, made in _FACTORIES.items() if made is value.default_factory), None)
        if factory is None:
            raise PlainDataError(f"a defaultdict of {value.default_factory!r}")
        return {"$default": [factory, _pairs(value, keep_file)]}
    if (known := kept_stores.record_name(kind)) is not None:
        return {"$record": [known, {name: _part(part, name, keep_file) for name, part in _fields(value)}]}
    return _written_scalar(value)


def _written_scalar(value: Any) -> dict[str, Any]:
    match value:
        case datetime():
            return {"$datetime": value.isoformat()}
        case date():
            return {"$date": value.isoformat()}
        case timedelta():
            return {"$seconds": value.total_seconds()}
        case Decimal():
            return {"$decimal": str(value)}
        case Path():
            return {"$path": str(value)}
        case rsa.RSAPrivateKey() | ec.EllipticCurvePrivateKey():
            pem = value.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            return {"$key": pem.decode()}
    raise PlainDataError(f"a value of type {type(value).__module__}.{type(value).__qualname__}")


def _written_dict(value: Mapping[Any, Any], keep_file: Callable[[bytes], str]) -> Any:
    if all(type(key) is str for key in value) and not (len(value) == 1 and next(iter(value)).startswith("$")):
        return {key: _part(item, key, keep_file) for key, item in value.items()}
    return {"$dict": _pairs(value, keep_file)}


def _pairs(value: Mapping[Any, Any], keep_file: Callable[[bytes], str]) -> list[list[Any]]:
    return [[written(key, keep_file), _part(item, key, keep_file)] for key, item in value.items()]


def _part(value: Any, name: object, keep_file: Callable[[bytes], str]) -> Any:
    try:
        return written(value, keep_file)
    except PlainDataError as error:
        raise PlainDataError(f"{name}: {error}") from None


def _fields(value: Any) -> list[tuple[str, Any]]:
    if dataclasses.is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    return list(value._asdict().items())


def _renamed(text: str, old: str, new: str) -> str:
    """Return a string with an address replaced, except where the address continues with more digits of a port."""
    first, *rest = text.split(old)
    return first + "".join((old if part[:1].isdecimal() else new) + part for part in rest)


class Reader:
    """Converts the result of ``written`` back: `file` returns the bytes of a name, and `renamed` replaces parts of strings."""

    def __init__(self, file: Callable[[str], bytes], renamed: Mapping[str, str] | None = None) -> None:
        self._file, self._renamed = file, dict(renamed or {})

    def read(self, plain: Any) -> Any:
        """Return the value.

        Raises:
            PlainDataError: If it is not a result of ``written``.
        """
        if isinstance(plain, str):
            for old, new in self._renamed.items():
                plain = _renamed(plain, old, new)
            return plain
        if isinstance(plain, list):
            return [self.read(item) for item in plain]
        if not isinstance(plain, dict):
            return plain
        if len(plain) == 1 and (tag := next(iter(plain))).startswith("$"):
            return self._tagged(tag[1:], plain[tag])
        return {self.read(key): self.read(item) for key, item in plain.items()}

    def _tagged(self, tag: str, plain: Any) -> Any:
        for made, name in _LISTS.items():
            if name == tag:
                return made(self.read(item) for item in plain)
        for made, name in _DICTS.items():
            if name == tag:
                return made(self._pairs(plain))
        if tag in _SCOPED:
            scoped = _SCOPED[tag]()
            scoped._data.update(self._pairs(plain))
            return scoped
        if tag in _SCALARS:
            return _SCALARS[tag](plain)
        match tag:
            case "dict":
                return self._pairs(plain)
            case "default":
                return defaultdict(_FACTORIES[plain[0]], self._pairs(plain[1]))
            case "record":
                return self._record(*plain)
            case "file":
                return self._file(plain)
        raise PlainDataError(f"unknown tag ${tag}")

    def _pairs(self, plain: list[list[Any]]) -> dict[Any, Any]:
        return {self.read(key): self.read(item) for key, item in plain}

    def _record(self, name: str, fields: Mapping[str, Any]) -> Any:
        cls = kept_stores.record_class(name)
        if cls is None:
            raise PlainDataError(f"unknown record class {name}")
        values = {field: self.read(value) for field, value in fields.items()}
        if not dataclasses.is_dataclass(cls):
            return cls(**values)
        made = object.__new__(cls)
        missing = {field.name for field in dataclasses.fields(cls)} ^ set(values)
        if missing:
            raise PlainDataError(f"fields of {name} differ: {sorted(missing)}")
        for field, value in values.items():
            object.__setattr__(made, field, value)
        return made
