"""Requirements of a store for a file's schema: names, keys, types and whole days, each rejected with the fix.

Names that people give become names that AWS takes.
"""

import re
import unicodedata
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.training_data.test_feature_rows import DAYS, STORES, read, sales, written

from mlops_runtime.training_data.stored_schema import feature_groups, plain_name
from mlops_runtime.training_data.table_file import TableError
from mlops_runtime.training_data.table_schema import DAY


def test_codes_that_are_integers_are_text(tmp_path: Path) -> None:
    """An integer key and its category are strings in the store, in training sets and in requests."""
    schema = read(written(tmp_path, sales()))
    features, _ = feature_groups(schema, name="units", owner="shop")
    assert [(each.name, each.kind) for each in schema.inputs if each.type == "category"] == [
        ("store_id", "text"),
        ("shelf", "text"),
    ]
    assert (schema.key_kind, schema.entities) == ("text", ("store_id",))
    assert [(each.name, each.type, each.nullable) for each in features.features] == [
        ("price", "double", False),
        ("shelf", "string", True),
        ("open", "boolean", False),
        ("visits", "long", False),
        (DAY, "string", False),
    ]


@pytest.mark.parametrize(
    ("changed", "options", "problem"),
    [
        (
            {"day": [datetime(2025, 1, 1) + timedelta(weeks=n // STORES) for n in range(STORES * DAYS)]},
            {"key": None, "holdout_from": "2025-10-01"},
            "--feature-store needs --key",
        ),
        ({"Shelf size": [1.5, 2.0] * 600}, {}, "rename in the file 'Shelf size' to 'shelf_size', or omit"),
        ({"split": [1.5, 2.0] * 600}, {}, "rename in the file 'split' to 'split_of_file'"),
        ({}, {"row_key": ("aisle",)}, "--row-key must be a column of the file, got 'aisle'; it has store_id, day"),
        ({}, {"row_key": ("day",)}, "--row-key must be neither label nor time, got 'day'"),
        ({}, {"row_key": ("price",)}, "--row-key must be text or integers, got DOUBLE in 'price'"),
        (
            {"store_id": [None if n < 10 else n % 20 for n in range(1200)]},
            {},
            "'store_id' is null in 10 rows, for which no feature can be stored; fill them",
        ),
    ],
)
def test_fails_for_what_a_store_does_not_take(
    tmp_path: Path, changed: dict[str, Any], options: dict[str, Any], problem: str
) -> None:
    """Each message contains the fix."""
    path = written(tmp_path, sales(**changed))
    with pytest.raises(TableError) as raised:
        read(path, **options)
    assert problem in str(raised.value)


def test_a_few_hours_are_no_holdout_of_whole_days(tmp_path: Path) -> None:
    """A store splits by days, which would leave one of two days."""
    hours = [datetime(2026, 1, 1) + timedelta(hours=place // STORES * 0.5) for place in range(STORES * DAYS)]
    path = written(tmp_path, sales(day=hours))
    with pytest.raises(TableError, match="holds out whole days, and the last 1 of them leave"):
        read(path)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Stück", "stueck"),
        ("GRÖßE", "groesse"),
        ("Straße", "strasse"),
        ("Ærø", "aero"),
        ("Łódź", "lodz"),
        ("naïve café", "naive-cafe"),
        ("units_sold", "units-sold"),
        ("商品", ""),
    ],
)
def test_letters_are_spelled_as_people_do_without_their_keys(form: str, text: str, name: str) -> None:
    """This holds for composed and decomposed accents."""
    assert plain_name(unicodedata.normalize(form, text)) == name  # type: ignore[arg-type]


@given(st.text())
def test_a_name_is_one_of_ascii(text: str) -> None:
    """It is empty for a string without letters and digits."""
    assert re.fullmatch(r"([a-z0-9]+(_[a-z0-9]+)*)?", plain_name(text, "_"))
