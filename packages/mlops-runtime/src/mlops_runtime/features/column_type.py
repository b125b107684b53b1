"""Types of columns as groups declare them: plain ones by name, decimals, lists and vectors with what they are made of.

Standard library only.
"""

import functools
import math
import re
import struct
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Context, Decimal
from typing import Literal, cast

Base = Literal[
    "boolean", "int", "long", "float", "double", "string", "date", "timestamp", "binary", "decimal", "list", "vector"
]
FeatureType = str
"""``boolean``, ``int``, ``long``, ``float``, ``double``, ``string``, ``date``, ``timestamp``, ``binary``, ``decimal(9,2)``,
``list<double>`` or ``vector(64)``."""

MAXIMUM_PRECISION = 38  # https://iceberg.apache.org/spec/#primitive-types
MAXIMUM_VECTOR = 100_000  # of 4 bytes; an item of DynamoDB takes 400 KB
ELEMENTS = ("boolean", "int", "long", "float", "double", "string", "date", "timestamp")
ALLOWED = (
    f"{', '.join(ELEMENTS)}, binary, decimal(p,s) with 1 <= p <= {MAXIMUM_PRECISION} and s <= p, "
    f"list<type> of one of the first {len(ELEMENTS)}, vector(n) with 1 <= n <= {MAXIMUM_VECTOR}"
)
# what people have elsewhere, and how the same is said here
_INSTEAD = {
    "time": "Spark has no times of day; declare a long, microseconds since midnight",
    "struct": "declare each of its fields as a feature",
    "map": "declare each of its keys as a feature",
    "uint64": "Iceberg has no unsigned numbers; declare decimal(20,0)",
    "decimal256": f"Iceberg has {MAXIMUM_PRECISION} digits at most; declare decimal({MAXIMUM_PRECISION},s) or string",
    "fixed": "declare binary",
    "array": "declare list<type>, or vector(n) where each has n numbers",
    "list": f"say of what, one of {', '.join(ELEMENTS)}, such as list<double>",
    "decimal": f"say how many digits, 1 to {MAXIMUM_PRECISION}, and how many of them after the point, such as decimal(9,2)",
    "vector": f"say how many numbers, 1 to {MAXIMUM_VECTOR}, such as vector(64)",
    "timestamptz": "declare timestamp, which is in UTC",
}
_DECIMAL = re.compile(r"decimal\(([1-9]\d?),(0|[1-9]\d?)\)")
_LIST = re.compile(r"list<([a-z]+)>")
_VECTOR = re.compile(r"vector\(([1-9]\d{0,5})\)")
_EXACT = Context(prec=10_000)  # more digits than fit into any decimal, so that none is rounded away
_RANGES = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
_FORMS = {
    "boolean": "True or False",
    "int": "an int of 32 bits",
    "long": "an int of 64 bits",
    "float": "a finite number of 32 bits",
    "double": "a finite number",
    "string": "a str",
    "date": "a datetime.date",
    "timestamp": "a datetime with a time zone",
}


class ColumnTypeError(ValueError):
    """A text is not a type of a column; the message names it, what is allowed and what to declare instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnType:
    """A declared type, taken apart.

    Attributes:
        text: As it is declared.
        base: What it is, without its arguments.
        precision: Digits of a decimal, 0 of others.
        scale: Digits of a decimal after the point.
        element: Type of what a list or a vector holds, ``""`` of others.
        length: How many numbers a vector holds.

    Example:
        >>> ColumnType.of("decimal(9,2)").precision, ColumnType.of("list<long>").element, ColumnType.of("vector(64)").length
        (9, 'long', 64)
        >>> ColumnType.of("vector")
        Traceback (most recent call last):
            ...
        mlops_runtime.features.column_type.ColumnTypeError: type 'vector': say how many numbers, 1 to 100000, such as vector(64)
    """

    text: str
    base: Base
    precision: int = 0
    scale: int = 0
    element: str = ""
    length: int = 0

    @classmethod
    def of(cls, text: object) -> "ColumnType":
        """Read a declared type.

        Args:
            text: As a group declares it, without spaces.

        Raises:
            ColumnTypeError: If it is not a type.
        """
        if not isinstance(text, str):
            raise ColumnTypeError(f"type {text!r}, allowed are {ALLOWED}")
        return _read(text)

    @property
    def is_ordered(self) -> bool:
        """Whether values have an order that every engine agrees on, so that they can have bounds and break ties."""
        return self.base not in ("list", "vector", "binary")

    @property
    def form(self) -> str:
        """What a value is in Python, in words; of what may be a bound."""
        if self.base == "decimal":
            return f"a decimal.Decimal or int of at most {self.precision} digits, {self.scale} of them after the point"
        return _FORMS[self.base]

    def holds(self, value: object) -> bool:
        """Return whether Python's value is one of the type, exactly: text is not a number, and ``True`` is not one either.

        Example:
            >>> ColumnType.of("decimal(4,2)").holds(Decimal("10.50")), ColumnType.of("decimal(4,2)").holds(Decimal("1.005"))
            (True, False)
        """
        if isinstance(value, bool) or self.base == "boolean":
            return isinstance(value, bool) and self.base == "boolean"
        if self.base in _RANGES:
            low, high = _RANGES[self.base]
            return isinstance(value, int) and low <= value <= high
        if self.base == "decimal":
            return isinstance(value, int | Decimal) and self._fits(Decimal(value))
        if self.base == "string":
            return isinstance(value, str)
        if self.base == "timestamp":
            return isinstance(value, datetime) and value.utcoffset() is not None
        if self.base == "date":
            return isinstance(value, date) and not isinstance(value, datetime)
        return self.base in ("float", "double") and _is_float(value, self.base)

    def _fits(self, value: Decimal) -> bool:
        if not value.is_finite():
            return False
        _, digits, exponent = value.normalize(_EXACT).as_tuple()
        return not value or (
            int(exponent) >= -self.scale and len(digits) + int(exponent) <= self.precision - self.scale
        )


@functools.cache
def _read(text: str) -> ColumnType:
    if text in ELEMENTS or text == "binary":
        return ColumnType(text=text, base=cast(Base, text))
    if found := _DECIMAL.fullmatch(text):
        precision, scale = int(found[1]), int(found[2])
        if scale <= precision <= MAXIMUM_PRECISION:
            return ColumnType(text=text, base="decimal", precision=precision, scale=scale)
    elif found := _LIST.fullmatch(text):
        if found[1] in ELEMENTS:
            return ColumnType(text=text, base="list", element=found[1])
    elif (found := _VECTOR.fullmatch(text)) and int(found[1]) <= MAXIMUM_VECTOR:
        return ColumnType(text=text, base="vector", element="float", length=int(found[1]))
    if instead := _INSTEAD.get(re.split(r"[^a-z0-9]", text, maxsplit=1)[0]):
        raise ColumnTypeError(f"type {text!r}: {instead}")
    raise ColumnTypeError(f"type {text!r}, allowed are {ALLOWED}")


def _is_float(value: object, base: str) -> bool:
    if not isinstance(value, int | float):
        return False
    try:
        # an int may be beyond the floats, a float beyond 32 bits
        struct.pack("<f" if base == "float" else "<d", float(value))
        return math.isfinite(value)
    except OverflowError:
        return False
