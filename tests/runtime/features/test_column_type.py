"""Types as text: their parts, their values, and rejected types."""

from datetime import UTC, date, datetime
from decimal import Context, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.features.column_type import ColumnType, ColumnTypeError

DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=Decimal(-(10**12)), max_value=Decimal(10**12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time", "times of day are not supported by Spark; declare a long"),
        ("struct<a:int>", "declare each of its fields as a feature"),
        ("map", "declare each of its keys as a feature"),
        ("uint64", "declare decimal(20,0)"),
        ("decimal256(50,2)", "declare decimal(38,s) or string"),
        ("decimal(39,2)", "give the number of digits, 1 to 38"),
        ("decimal(2,3)", "give the number of digits, 1 to 38, and those after the point"),
        ("decimal(9, 2)", "such as decimal(9,2)"),
        ("list<decimal(9,2)>", "give the element type, one of boolean"),
        ("list<list<long>>", "give the element type, one of boolean"),
        ("array<double>", "declare list<type>"),
        ("vector(0)", "give the length, 1 to 100000"),
        ("vector(100001)", "give the length, 1 to 100000"),
        ("number", "allowed are boolean, int, long"),
        (7, "type 7, allowed are boolean"),
        (None, "type None, allowed are boolean"),
    ],
)
def test_fails_with_what_to_declare_instead(text, message):
    """The error names the type and its replacement."""
    with pytest.raises(ColumnTypeError) as error:
        ColumnType.of(text)
    assert message in str(error.value)
    assert repr(text) in str(error.value)


@given(DECIMALS, st.integers(1, 38), st.integers(0, 38))
def test_a_decimal_holds_what_its_digits_say(value, precision, scale):
    """Values are integers of the given digits in units of the last one; trailing zeros do not matter."""
    scale = min(scale, precision)
    units = Fraction(value) * 10**scale
    fits = units.denominator == 1 and abs(units) < 10**precision
    kind = ColumnType.of(f"decimal({precision},{scale})")
    assert kind.holds(value) is kind.holds(value.normalize(Context(prec=100))) is fits


def test_values_are_held_by_their_own_type_alone():
    """A boolean is not a number, nor is text; a date is not a time, and a float not a decimal."""
    values = {
        "boolean": True,
        "long": 2**40,
        "double": 0.5,
        "string": "a",
        "date": date(1969, 12, 31),
        "timestamp": datetime(2017, 1, 1, tzinfo=UTC),
        "decimal(4,2)": Decimal("10.25"),
    }
    held = {
        kind: [name for name, value in values.items() if ColumnType.of(kind).holds(value)]
        for kind in (*values, "int", "float", "binary", "list<long>", "vector(2)")
    }
    assert held == {
        "boolean": ["boolean"],
        "long": ["long"],
        "double": ["long", "double"],
        "string": ["string"],
        "date": ["date"],
        "timestamp": ["timestamp"],
        "decimal(4,2)": ["decimal(4,2)"],
        "int": [],
        "float": ["long", "double"],
        "binary": [],
        "list<long>": [],
        "vector(2)": [],
    }


def test_what_is_not_finite_is_no_decimal():
    """Rejects NaN and infinity."""
    kind = ColumnType.of("decimal(4,2)")
    assert not any(kind.holds(Decimal(text)) for text in ("NaN", "Infinity", "1E+40", "1E-40"))
    assert kind.holds(Decimal("0E-40"))
