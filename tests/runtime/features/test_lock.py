"""The lock file: ids are kept for ever, and what readers would not survive is refused."""

import json
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.features.group import Entity, Feature, FeatureGroup
from mlops_runtime.features.lock import FeatureLock, FeatureLockError, write_lock

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
    assert '          {"id": 5, "name": "on_hand", "type": "int", "required": true},\n' in text
    assert json.loads(text)["format"] == "mlops.feature-lock/2"


def test_each_change_adds_a_schema(path):
    """The history keeps what the columns were; a new description is no change."""
    write_lock([replace(STOCK, features=(replace(ON_HAND, description="pieces"), PRICE))], path)
    assert len(FeatureLock.read(path).tables["stock_v1"].schemas) == 1
    write_lock([replace(STOCK, features=(replace(ON_HAND, type="long"), PRICE))], path)
    colour = Feature("colour", "string", "colour", nullable=True)
    write_lock([replace(STOCK, features=(replace(ON_HAND, type="long"), PRICE, colour))], path)
    table = FeatureLock.read(path).tables["stock_v1"]
    assert [(s.id, [(f.id, f.name, f.type) for f in s.fields[4:]]) for s in table.schemas] == [
        (0, [(5, "on_hand", "int"), (6, "price", "float")]),
        (1, [(5, "on_hand", "long"), (6, "price", "float")]),
        (2, [(5, "on_hand", "long"), (6, "price", "float"), (7, "colour", "string")]),
    ]
    assert (table.schema_id, table.partition_spec_id) == (2, 0)


def test_partition_by_day_is_locked(tmp_path):
    """The granularity that a group declares is the table's."""
    lock = write_lock([replace(STOCK, partition="day")], tmp_path / "features.lock.json")
    assert [(p.name, p.transform) for p in lock.tables["stock_v1"].partition] == [("event_time_day", "day")]


def test_file_of_the_older_form_is_written_again_with_its_ids(path):
    """Without a history a file is refused with the command, which keeps its ids."""
    value = json.loads(path.read_text())
    value["format"] = "mlops.feature-lock/1"
    table = value["tables"]["stock_v1"]
    del table["partition_spec_id"]
    table["fields"] = table.pop("schemas")[0]["fields"]
    table["fields"][5]["id"], table["next_field_id"] = 9, 10
    path.write_text(json.dumps(value))
    with pytest.raises(
        FeatureLockError, match=r"has no history of schemas; .*: mlops features lock <module>:<groups> /"
    ):
        FeatureLock.read(path)
    write_lock([STOCK], path)
    table = FeatureLock.read(path).table(STOCK)
    assert ([f.id for f in table.fields], table.next_field_id) == ([1, 2, 3, 4, 5, 9], 10)


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


def test_fails_when_readers_would_not_survive(path):
    """The file stays as it was."""
    before = path.read_text()
    with pytest.raises(FeatureLockError, match=r"'price' .* is no longer declared"):
        write_lock([replace(STOCK, features=(ON_HAND,))], path)
    assert path.read_text() == before


def test_fails_when_a_table_is_declared_twice(path):
    """Two groups of one name and version are one table."""
    with pytest.raises(FeatureLockError, match="stock_v1 is declared 2 times; give one of them another name"):
        write_lock([STOCK, replace(STOCK, description="again")], path)


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
    assert (
        "stock_v1: the declared schema is newer than the lock file, which lacks colour as declared"
        in error.value.problems[0]
    )
    assert "other_v1 has no ids in the lock file" in error.value.problems[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"id": 6, "name": "price"', '"id": 5, "name": "price"', "id 5 is used 2 times; restore the file from git"),
        ('"transform": "month"', '"transform": "hour"', "transform must be one of 'month', 'day', got 'hour'"),
        ('"partition_spec_id": 0,', "", "partition_spec_id is missing"),
        ("{", "", "not JSON"),
    ],
)
def test_fails_when_the_file_is_damaged(path, old, new, message):
    """A hand-edited file that would reuse an id, or is none of ours, is refused."""
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(FeatureLockError) as error:
        FeatureLock.read(path)
    assert message in str(error.value)


def test_fails_when_there_is_no_file(tmp_path):
    """A missing file names the command that makes it."""
    with pytest.raises(FeatureLockError, match=r"no lock file at .*; make it: mlops features lock <module>:<groups> /"):
        FeatureLock.read(tmp_path / "features.lock.json")


FEATURES = st.lists(
    st.builds(
        Feature,
        st.sampled_from(["a", "b", "c", "d"]),
        st.sampled_from(["int", "long", "float", "double", "string"]),
        st.just("x"),
        nullable=st.booleans(),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda feature: feature.name,
)
DECLARATIONS = st.builds(
    lambda features, version, partition: replace(STOCK, features=tuple(features), version=version, partition=partition),
    FEATURES,
    st.integers(1, 2),
    st.sampled_from(["month", "month", "month", "day"]),
)


@given(declarations=st.lists(DECLARATIONS, max_size=8))
def test_ids_are_never_reused_and_never_fall(declarations):
    """Whatever is declared one after the other: an id keeps its column, counts only rise, and no schema is forgotten."""
    lock = FeatureLock()
    given_ids: dict[tuple[str, int], str] = {}
    for group in declarations:
        try:
            after = lock.extend([group])
        except FeatureLockError:
            continue
        for name, old in lock.tables.items():
            new = after.tables[name]
            assert new.next_field_id >= old.next_field_id
            assert new.schemas[: len(old.schemas)] == old.schemas
            assert new.partition == old.partition
            added = {f.id for f in new.fields} - {f.id for f in old.fields}
            assert all(number >= old.next_field_id for number in added)
        for name, table in after.tables.items():
            for field in table.fields:
                assert given_ids.setdefault((name, field.id), field.name) == field.name
        after.check([group])
        assert FeatureLock._parsed(after.render(), "features.lock.json") == after
        lock = after


def test_importing_declarations_loads_no_third_party_module():
    """Declarations are read at synth and in Lambda: only the standard library."""
    import subprocess

    code = (
        "import sys, mlops_runtime.features.group, mlops_runtime.features.lock;"
        "print({m.partition('.')[0] for m in sys.modules} & {'pyarrow','duckdb','pyiceberg','boto3','numpy','jsii'})"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "set()\n"
