"""Column types as groups declare them: simple types, decimals, lists and vectors.

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
MAXIMUM_VECTOR = 100_000  # of 4 bytes: the largest that fits an item of DynamoDB, 400 KB
ELEMENTS = ("boolean", "int", "long", "float", "double", "string", "date", "timestamp")
ALLOWED = (
    f"{', '.join(ELEMENTS)}, binary, decimal(p,s) with 1 <= p <= {MAXIMUM_PRECISION} and s <= p, "
    f"list<type> of one of the first {len(ELEMENTS)}, vector(n) with 1 <= n <= {MAXIMUM_VECTOR}"
)
# types of other systems, and what to declare instead
_INSTEAD = {
    "time": "times of day are not supported by Spark; declare a long, microseconds since midnight",
    "struct": "declare each of its fields as a feature",
    "map": "declare each of its keys as a feature",
    "uint64": "unsigned integers are not supported by Iceberg; declare decimal(20,0)",
    "decimal256": f"Iceberg supports at most {MAXIMUM_PRECISION} digits; declare decimal({MAXIMUM_PRECISION},s) or string",
    "fixed": "declare binary",
    "array": "declare list<type>, or vector(n) if each has n numbers",
    "list": f"give the element type, one of {', '.join(ELEMENTS)}, such as list<double>",
    "decimal": f"give the number of digits, 1 to {MAXIMUM_PRECISION}, and those after the point, such as decimal(9,2)",
    "vector": f"give the length, 1 to {MAXIMUM_VECTOR}, such as vector(64)",
    "timestamptz": "declare timestamp, which is in UTC",
}
_DECIMAL = re.compile(r"decimal\(([1-9]\d?),(0|[1-9]\d?)\)")
_LIST = re.compile(r"list<([a-z]+)>")
_VECTOR = re.compile(r"vector\(([1-9]\d{0,5})\)")
_EXACT = Context(prec=10_000)  # more digits than any decimal has, to avoid rounding
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
    """A string is not a column type; the message contains it, the allowed types and what to declare instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnType:
    """A parsed column type.

    Example:
        >>> ColumnType.of("decimal(9,2)").precision, ColumnType.of("list<long>").element, ColumnType.of("vector(64)").length
        (9, 'long', 64)
        >>> ColumnType.of("vector")
        Traceback (most recent call last):
            ...
        mlops_runtime.features.column_type.ColumnTypeError: type 'vector': give the length, 1 to 100000, such as vector(64)
    """

    text: str  # the declaration
    base: Base  # type without arguments
    precision: int = 0  # number of digits of a decimal, 0 for other types
    scale: int = 0  # number of digits of a decimal after the point
    element: str = ""  # element type of a list or vector, `""` for other types
    length: int = 0  # length of a vector

    @classmethod
    def of(cls, text: object) -> "ColumnType":
        """Parse a declared type.

        Raises:
            ColumnTypeError: If it is not a type.
        """
        if not isinstance(text, str):
            raise ColumnTypeError(f"type {text!r}, allowed are {ALLOWED}")
        return _read(text)

    @property
    def is_ordered(self) -> bool:
        """Whether all engines agree on the order of values, so that they can have bounds and break ties."""
        return self.base not in ("list", "vector", "binary")

    @property
    def form(self) -> str:
        """Description of the Python values that can be bounds."""
        if self.base == "decimal":
            return f"a decimal.Decimal or int of at most {self.precision} digits, {self.scale} of them after the point"
        return _FORMS[self.base]

    def holds(self, value: object) -> bool:
        """Return whether a Python value is exactly of the type: a string is not a number, nor is a bool.

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
        # an int may exceed the range of floats, and a float that of 32 bits
        struct.pack("<f" if base == "float" else "<d", float(value))
        return math.isfinite(value)
    except OverflowError:
        return False
