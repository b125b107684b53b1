"""The lock file: ids are kept for ever, and what readers would not survive is refused."""

import json
import sys
from dataclasses import replace

import pytest

from mlops_runtime.features import lock as lock_module
from mlops_runtime.features.group import Entity, Feature, FeatureGroup
from mlops_runtime.features.lock import FeatureLock, FeatureLockError, main, write_lock

ON_HAND = Feature("on_hand", "int", "units on hand")
PRICE = Feature("price", "float", "dollars", nullable=True)
STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(ON_HAND, PRICE),
    owner="demand",
    description="stock by store",
)


@pytest.fixture
def path(tmp_path):
    """Return the path of a lock file that covers STOCK."""
    file = tmp_path / "features.lock.json"
    write_lock([STOCK], file)
    return file


def test_new_table_gets_ids_in_column_order(path):
    """Ids count from 1, the partition from 1000 on the event time."""
    table = FeatureLock.read(path).table(STOCK)
    assert [(f.id, f.name) for f in table.fields] == list(
        enumerate(["store_id", "event_time", "created_time", "ingest_id", "on_hand", "price"], 1)
    )
    assert table.next_field_id == 7
    assert table.identifier_field_ids == (1, 2, 3, 4)
    assert [(p.id, p.source_id, p.name, p.transform) for p in table.partition] == [
        (1000, 2, "event_time_month", "month")
    ]


def test_text_is_stable_with_one_line_a_column(path):
    """Reading and rendering gives the same text, and each column stands on a line of its own."""
    text = path.read_text()
    assert FeatureLock.read(path).render() == text
    assert '        {"id": 5, "name": "on_hand", "type": "int", "required": true},\n' in text
    assert json.loads(text)["format"] == "mlops.feature-lock/1"


def test_new_column_gets_the_next_id_wherever_it_is_declared(path):
    """A column put first keeps the ids of the others and comes last in the table."""
    colour = Feature("colour", "string", "colour", nullable=True)
    write_lock([replace(STOCK, features=(colour, ON_HAND, PRICE))], path)
    table = FeatureLock.read(path).tables["stock_v1"]
    assert [(f.id, f.name) for f in table.fields][4:] == [(5, "on_hand"), (6, "price"), (7, "colour")]
    assert table.next_field_id == 8


def test_widening_keeps_the_id(path):
    """Int may become long and float double under the same id."""
    wide = replace(STOCK, features=(replace(ON_HAND, type="long"), replace(PRICE, type="double")))
    fields = FeatureLock.read(path).extend([wide]).tables["stock_v1"].fields
    assert [(f.id, f.type) for f in fields][4:] == [(5, "long"), (6, "double")]


def test_table_that_is_no_longer_declared_keeps_its_ids(path):
    """The file is append-only: a group taken away and put back gets its own ids again."""
    other = replace(STOCK, name="other")
    write_lock([other], path)
    assert set(FeatureLock.read(path).tables) == {"other_v1", "stock_v1"}


def test_new_version_starts_a_new_table(path):
    """What cannot be done in place can be done in the next version."""
    second = replace(STOCK, version=2, features=(replace(ON_HAND, type="string"),))
    lock = FeatureLock.read(path).extend([STOCK, second])
    lock.check([STOCK, second])
    assert [f.type for f in lock.tables["stock_v2"].fields][-1] == "string"


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (
            replace(STOCK, features=(ON_HAND,)),
            "FeatureGroup('stock', version=1): 'price' (id 6, features.lock.json line 13) is no longer declared; "
            "put Feature('price', 'float', ...) back, or set version=2",
        ),
        (
            replace(STOCK, features=(ON_HAND, replace(PRICE, name="cost"))),
            "'price' (id 6, features.lock.json line 13) is no longer declared ('cost' looks like its new name)",
        ),
        (
            replace(STOCK, features=(replace(ON_HAND, type="string"), PRICE)),
            "'on_hand' (features.lock.json line 12) has type 'int' and cannot become 'string'",
        ),
        (replace(STOCK, features=(ON_HAND, replace(PRICE, nullable=False))), "set nullable=True in Feature('price')"),
        (
            replace(STOCK, features=(ON_HAND, PRICE, Feature("colour", "string", "colour"))),
            "new column 'colour' has no value in the rows already there; set nullable=True in Feature('colour')",
        ),
        (
            replace(STOCK, entities=(*STOCK.entities, Entity("sku", "long", "product"))),
            "entities are ['store_id', 'sku'], the table was made with ['store_id']; put them back, or set version=2",
        ),
    ],
)
def test_fails_when_readers_would_not_survive(path, group, message):
    """Deletion, rename, narrowing and a new required column name the line to change; the file stays as it was."""
    before = path.read_text()
    with pytest.raises(FeatureLockError) as error:
        write_lock([group], path)
    assert message in str(error.value)
    assert path.read_text() == before


def test_narrowing_is_refused_after_widening(path):
    """A widened column does not go back."""
    write_lock([replace(STOCK, features=(replace(ON_HAND, type="long"), PRICE))], path)
    with pytest.raises(FeatureLockError, match="has type 'long' and cannot become 'int'"):
        write_lock([STOCK], path)


def test_check_names_what_is_not_locked(path):
    """A new group and a new column must be locked before they are used."""
    lock = FeatureLock.read(path)
    lock.check([STOCK])
    grown = replace(STOCK, features=(ON_HAND, PRICE, Feature("colour", "string", "colour", nullable=True)))
    with pytest.raises(FeatureLockError) as error:
        lock.check([grown, replace(STOCK, name="other")])
    assert "stock_v1: colour not yet in the lock file" in error.value.problems[0]
    assert "other_v1 has no ids in the lock file" in error.value.problems[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"id": 6, "name": "price"', '"id": 5, "name": "price"', "stock_v1: id 5 is used 2 times"),
        ('"next_field_id": 7', '"next_field_id": 6', "next_field_id must be above 6, got 6"),
        ('"name": "price"', '"name": "on_hand"', "column 'on_hand' appears 2 times"),
        ('"source_id": 2', '"source_id": 9', "partition 'event_time_month' has source_id 9, which is no column"),
        ('"id": 1000', '"id": 3', "partition ids must be distinct and at least 1000, got [3]"),
        ('"transform": "month"', '"transform": "hour"', "transform must be one of 'month', got 'hour'"),
    ],
)
def test_fails_when_the_file_is_damaged(path, old, new, message):
    """A hand-edited file that would reuse an id is refused."""
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(FeatureLockError) as error:
        FeatureLock.read(path)
    assert message in str(error.value)


def test_fails_when_there_is_no_file(tmp_path):
    """A missing file names the command that makes it."""
    with pytest.raises(FeatureLockError, match=r"no lock file at .*; make it: python -m mlops_runtime.features.lock"):
        FeatureLock.read(tmp_path / "features.lock.json")


def test_command_extends_the_file(tmp_path, monkeypatch, capsys):
    """The command writes ids, and prints each refusal on a line of its own."""
    monkeypatch.setattr(lock_module, "GROUPS", [STOCK], raising=False)
    monkeypatch.setattr(lock_module, "LESS", [replace(STOCK, features=(ON_HAND,))], raising=False)
    file = tmp_path / "features.lock.json"
    assert main(["mlops_runtime.features.lock:GROUPS", str(file)]) == 0
    assert main(["mlops_runtime.features.lock:LESS", str(file)]) == 1
    assert main(["mlops_runtime.features.lock:NONE", str(file)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "'price' (id 6" in lines[0]
    assert lines[1].startswith("cannot read 'mlops_runtime.features.lock:NONE', expected <module>:<groups>")


def test_importing_declarations_loads_no_third_party_module():
    """Declarations are read at synth and in Lambda: only the standard library."""
    import subprocess

    code = (
        "import sys, mlops_runtime.features.group, mlops_runtime.features.lock;"
        "print({m.partition('.')[0] for m in sys.modules} & {'pyarrow','duckdb','pyiceberg','boto3','numpy','jsii'})"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "set()\n"
