"""The rules of a lock file: each refusal names the line of the declaration or of the file."""

import re
from dataclasses import replace

import pytest

from mlops_runtime.features.group import Entity, Feature, FeatureGroup
from mlops_runtime.features.lock import FeatureLock, FeatureLockError, write_lock
from mlops_runtime.features.lock_rules import breaking_changes, damage, not_locked

ON_HAND = Feature("on_hand", "int", "units on hand")
PRICE = Feature("price", "float", "dollars", nullable=True)
COLOUR = Feature("colour", "string", "colour", nullable=True)
STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(ON_HAND, PRICE),
    owner="demand",
    description="stock by store",
)


@pytest.fixture
def path(tmp_path):
    """Return the path of a lock file with two schemas: on_hand and price, and then a colour."""
    file = tmp_path / "features.lock.json"
    write_lock([STOCK], file)
    write_lock([replace(STOCK, features=(ON_HAND, PRICE, COLOUR))], file)
    return file


def line_of(path, text: str, number: int = -1) -> int:
    """Return the line of the file that has the text, the last or the one with the number."""
    return [n for n, line in enumerate(path.read_text().splitlines(), 1) if text in line][number]


@pytest.mark.parametrize(
    ("change", "text", "message"),
    [
        (
            {"features": (ON_HAND, COLOUR)},
            '"price"',
            "FeatureGroup('stock', version=1): 'price' (id 6, features.lock.json line {}) is no longer declared; "
            "put Feature('price', 'float', ...) back, or set version=2",
        ),
        (
            {"features": (ON_HAND, replace(PRICE, name="cost"), COLOUR)},
            '"price"',
            "'price' (id 6, features.lock.json line {}) is no longer declared ('cost' looks like its new name)",
        ),
        (
            {"features": (replace(ON_HAND, type="string"), PRICE, COLOUR)},
            '"on_hand"',
            "'on_hand' (features.lock.json line {}) has type 'int' and cannot become 'string'",
        ),
        (
            {"features": (ON_HAND, replace(PRICE, nullable=False), COLOUR)},
            '"price"',
            "'price' (features.lock.json line {}) is nullable and may hold nulls; set nullable=True in Feature('price')",
        ),
        (
            {"entities": (*STOCK.entities, Entity("sku", "long", "product"))},
            '"entities"',
            "entities are ['store_id', 'sku'], the table was made with ['store_id'] (features.lock.json line {}); "
            "put them back, or set version=2",
        ),
        (
            {"partition": "day"},
            '"transform"',
            "partition is 'day', the table was made with 'month' (features.lock.json line {}); set partition='month', or set",
        ),
        (
            {"features": (ON_HAND, PRICE, COLOUR, Feature("size", "string", "size"))},
            "",
            "new column 'size' has no value in the rows already there; set nullable=True in Feature('size'), or set version=2",
        ),
    ],
)
def test_breaking_changes_name_the_line(path, change, text, message):
    """Deletion, rename, narrowing, a new required column, key and partition are refused with the line to change."""
    table = FeatureLock.read(path).tables["stock_v1"]
    group = replace(STOCK, **({"features": (ON_HAND, PRICE, COLOUR)} | change))
    with pytest.raises(FeatureLockError) as error:
        FeatureLock.read(path).extend([group])
    assert message.format(line_of(path, text)) in str(error.value)
    lines = FeatureLock.read(path)._line_numbers()["stock_v1"]
    assert tuple(breaking_changes(group, table, lines)) == error.value.problems


def test_a_group_with_several_breaking_changes_names_each(path):
    """All that readers would not survive is said at once."""
    group = replace(STOCK, features=(replace(ON_HAND, type="string"),), partition="day")
    with pytest.raises(FeatureLockError) as error:
        FeatureLock.read(path).extend([group])
    assert len(error.value.problems) == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"id": 6, "name": "price"',
            '"id": 6, "name": "cost"',
            "id 6 is 'cost' (float, nullable) in line 26 and was 'price' (float, nullable) in line 18, whose data",
        ),
        (
            '"id": 5, "name": "on_hand", "type": "int"',
            '"id": 5, "name": "on_hand", "type": "string"',
            "id 5 is 'on_hand' (string",
        ),
        (
            '"id": 6, "name": "price", "type": "float", "required": false',
            '"id": 6, "name": "price", "type": "float", "required": true',
            "id 6 is 'price' (float, required) in line 26",
        ),
        ('"id": 7, "name": "colour"', '"id": 5, "name": "colour"', "schema 1 (line 20): id 5 is used 2 times"),
        ('"id": 7, "name": "colour"', '"id": 7, "name": "price"', "schema 1 (line 20): column 'price' appears 2 times"),
        (
            '"id": 7, "name": "colour"',
            '"id": 0, "name": "colour"',
            "'colour' (line 27) has id 0, which is below 6 and may be retired; give it id 8",
        ),
        (
            '{"id": 6, "name": "price", "type": "float", "required": false},\n',
            "",
            "schema 1 (line 20) has lost id 6, 'price' of line 18",
        ),
        ('"next_field_id": 8', '"next_field_id": 7', "next_field_id (line 6) must be above 7, got 7"),
        ('{"id": 1, "fields"', '{"id": 0, "fields"', "schema ids must rise, got [0, 0]"),
        (
            '"source_id": 2',
            '"source_id": 9',
            "partition 'event_time_month' (line 9) has source_id 9, which is no column",
        ),
        ('"id": 1000', '"id": 3', "partition ids must be distinct and at least 1000, got [3]"),
    ],
)
def test_fails_when_the_history_would_give_an_id_twice(path, old, new, message):
    """A retired id under another name or type, a lost column and a count that fell are refused, with the line of the file."""
    head, _, tail = path.read_text().rpartition(old)
    path.write_text(head + new + tail)
    with pytest.raises(FeatureLockError) as error:
        FeatureLock.read(path)
    assert message in str(error.value)


def test_fails_when_a_table_has_no_schema(path):
    """An entry without columns is damaged."""
    path.write_text(re.sub(r'"schemas": \[.*?\n      \]', '"schemas": []', path.read_text(), flags=re.DOTALL))
    with pytest.raises(FeatureLockError, match=r"stock_v1 \(line 4\) has no schema; restore the file from git"):
        FeatureLock.read(path)


def test_sound_entry_has_no_damage(path):
    """What the command wrote is sound, and covers what it was written for."""
    lock = FeatureLock.read(path)
    table = lock.tables["stock_v1"]
    assert list(damage("stock_v1", table, lock._line_numbers()["stock_v1"])) == []
    assert list(not_locked(table, table, STOCK)) == []
