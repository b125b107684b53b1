"""The lock file: permanent ids, and rejected changes that would break readers."""

import json
import re
import resource
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.lock_file import FeatureLock, FeatureLockError, write_lock

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
    """Return the path of a lock file that covers STOCK."""
    file = tmp_path / "features.lock.json"
    write_lock([STOCK], file)
    return file


def test_new_table_gets_ids_in_column_order(path):
    """Ids start at 1; the partition on the event time has id 1000."""
    table = FeatureLock.read(path).table(STOCK)
    assert [(f.id, f.name) for f in table.fields] == list(
        enumerate(["store_id", "event_time", "created_time", "ingest_id", "on_hand", "price"], 1)
    )
    assert table.next_field_id == 7
    assert table.identifier_field_ids == (1, 2, 3, 4)
    assert [(p.id, p.source_id, p.name, p.transform) for p in table.partition] == [
        (1000, 2, "event_time_month", "month")
    ]


def test_a_file_that_cannot_be_written_to_its_end_stays_as_it_was(path):
    """All former ids remain, and no partial file is left."""
    before = path.read_text()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_lock([replace(STOCK, features=(ON_HAND, PRICE, COLOUR))], path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_text_is_stable_with_one_line_a_column(path):
    """Reading and rendering gives the same text, with one line per column."""
    text = path.read_text()
    assert FeatureLock.read(path).render() == text
    assert '          {"id": 5, "name": "on_hand", "type": "int", "required": true},\n' in text
    assert json.loads(text)["format"] == "mlops.feature-lock/2"


def test_each_change_adds_a_schema(path):
    """The history has the former columns; a new description is no change."""
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
    """The declared granularity is the table's."""
    lock = write_lock([replace(STOCK, partition="day")], tmp_path / "features.lock.json")
    assert [(p.name, p.transform) for p in lock.tables["stock_v1"].partition] == [("event_time_day", "day")]


def test_new_column_gets_the_next_id_wherever_it_is_declared(path):
    """A column declared first keeps the others' ids and comes last in the table."""
    colour = Feature("colour", "string", "colour", nullable=True)
    write_lock([replace(STOCK, features=(colour, ON_HAND, PRICE))], path)
    table = FeatureLock.read(path).tables["stock_v1"]
    assert [(f.id, f.name) for f in table.fields][4:] == [(5, "on_hand"), (6, "price"), (7, "colour")]
    assert table.next_field_id == 8


def test_widening_keeps_the_id(path):
    """An int may become long, and float double, with the same id."""
    wide = replace(STOCK, features=(replace(ON_HAND, type="long"), replace(PRICE, type="double")))
    fields = FeatureLock.read(path).extend([wide]).tables["stock_v1"].fields
    assert [(f.id, f.type) for f in fields][4:] == [(5, "long"), (6, "double")]


def test_table_that_is_no_longer_declared_keeps_its_ids(path):
    """The file is append-only: a group that is removed and restored gets its own ids."""
    other = replace(STOCK, name="other")
    write_lock([other], path)
    assert set(FeatureLock.read(path).tables) == {"other_v1", "stock_v1"}


def test_new_version_starts_a_new_table(path):
    """Changes that are impossible in place are possible in the next version."""
    second = replace(STOCK, version=2, features=(replace(ON_HAND, type="string"),))
    lock = FeatureLock.read(path).extend([STOCK, second])
    lock.check([STOCK, second])
    assert [f.type for f in lock.tables["stock_v2"].fields][-1] == "string"


def test_fails_when_readers_would_not_survive(path):
    """The file is unchanged."""
    before = path.read_text()
    with pytest.raises(FeatureLockError, match=r"'price' .* is no longer declared"):
        write_lock([replace(STOCK, features=(ON_HAND,))], path)
    assert path.read_text() == before


def test_fails_when_a_table_is_declared_twice(path):
    """Two groups with the same name and version would share a table."""
    with pytest.raises(FeatureLockError, match="stock_v1 is declared 2 times; give one of them another name"):
        write_lock([STOCK, replace(STOCK, description="again")], path)


def test_narrowing_is_refused_after_widening(path):
    """A widened column cannot be narrowed."""
    write_lock([replace(STOCK, features=(replace(ON_HAND, type="long"), PRICE))], path)
    with pytest.raises(FeatureLockError, match="has type 'long' and cannot become 'int'"):
        write_lock([STOCK], path)


def test_check_names_what_is_not_locked(path):
    """A new group and a new column must be locked before use."""
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
    """Rejects a hand-edited file that would reuse an id, and a file of another format."""
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(FeatureLockError) as error:
        FeatureLock.read(path)
    assert message in str(error.value)


def test_fails_when_there_is_no_file(tmp_path):
    """The error names the command that creates the file."""
    with pytest.raises(
        FeatureLockError, match=r"no lock file at .*; create it: mlops features lock <module>:<groups> /"
    ):
        FeatureLock.read(tmp_path / "features.lock.json")


def test_fails_when_the_file_is_unreadable(tmp_path):
    """A folder, a name that the file system does not allow, and bytes that are not text."""
    binary = tmp_path / "features.lock.json"
    binary.write_bytes(b"\xff")
    for path in (tmp_path, tmp_path / ("x" * 300), binary):
        with pytest.raises(FeatureLockError, match=r"the lock file .* cannot be read: .*; restore it from git"):
            FeatureLock.read(path)
    with pytest.raises(FeatureLockError, match=r"the lock file .* cannot be read: .*; restore it from git"):
        write_lock((), binary)
    assert binary.read_bytes() == b"\xff"


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
    """For any sequence of declarations, an id keeps its column, counters never fall, and every schema is kept."""
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
    """Declarations are read at synthesis and in Lambda, with the standard library only."""
    import subprocess

    code = (
        "import sys, mlops_runtime.features.feature_group, mlops_runtime.features.lock_file;"
        "print({m.partition('.')[0] for m in sys.modules} & {'pyarrow','duckdb','pyiceberg','boto3','numpy','jsii'})"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "set()\n"


@pytest.fixture
def two_schemas(path):
    """Return the path of a lock file with two schemas: on_hand and price, and then colour."""
    write_lock([replace(STOCK, features=(ON_HAND, PRICE, COLOUR))], path)
    return path


def line_of(path, text: str, number: int = -1) -> int:
    """Return the line of the file that contains the text: the last one, or the one with the number."""
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
            "'price' (features.lock.json line {}) is nullable and may have nulls; set nullable=True in Feature('price')",
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
            "new column 'size' has no value in existing rows; set nullable=True in Feature('size'), or set version=2",
        ),
    ],
)
def test_breaking_changes_name_the_line(two_schemas, change, text, message):
    """Deletion, rename, narrowing, a new required column, key and partition changes are rejected with the line to change."""
    group = replace(STOCK, **({"features": (ON_HAND, PRICE, COLOUR)} | change))
    with pytest.raises(FeatureLockError) as error:
        FeatureLock.read(two_schemas).extend([group])
    assert message.format(line_of(two_schemas, text)) in str(error.value)


def test_a_group_with_several_breaking_changes_names_each(two_schemas):
    """All breaking changes are reported together."""
    group = replace(STOCK, features=(replace(ON_HAND, type="string"),), partition="day")
    with pytest.raises(FeatureLockError) as error:
        FeatureLock.read(two_schemas).extend([group])
    assert len(error.value.problems) == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"id": 6, "name": "price"',
            '"id": 6, "name": "cost"',
            "id 6 is 'cost' (float, nullable) in line 26 and was 'price' (float, nullable) in line 18, which would return old data",
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
            "schema 1 (line 20) lacks id 6, 'price' of line 18",
        ),
        ('"next_field_id": 8', '"next_field_id": 7', "next_field_id (line 6) must be above 7, got 7"),
        ('{"id": 1, "fields"', '{"id": 0, "fields"', "schema ids must rise, got [0, 0]"),
        (
            '"source_id": 2',
            '"source_id": 9',
            "partition 'event_time_month' (line 9) has source_id 9, which is not a column",
        ),
        ('"id": 1000', '"id": 3', "partition ids must be distinct and at least 1000, got [3]"),
    ],
)
def test_fails_when_the_history_would_give_an_id_twice(two_schemas, old, new, message):
    """Rejects a retired id with another name or type, a lost column and a lower counter, with the line of the file."""
    head, _, tail = two_schemas.read_text().rpartition(old)
    two_schemas.write_text(head + new + tail)
    with pytest.raises(FeatureLockError) as error:
        FeatureLock.read(two_schemas)
    assert message in str(error.value)


def test_fails_when_a_table_has_no_schema(two_schemas):
    """An entry without columns is damaged."""
    two_schemas.write_text(
        re.sub(r'"schemas": \[.*?\n      \]', '"schemas": []', two_schemas.read_text(), flags=re.DOTALL)
    )
    with pytest.raises(FeatureLockError, match=r"stock_v1 \(line 4\) has no schema; restore the file from git"):
        FeatureLock.read(two_schemas)


LISTS = replace(
    STOCK,
    features=(
        ON_HAND,
        Feature("sizes", "list<timestamp>", "sizes", nullable=True),
        Feature("embedding", "vector(8)", "embedding", nullable=True),
    ),
)


def test_what_a_list_holds_has_an_id_of_its_own(tmp_path):
    """Element ids follow the columns'; the next column gets a fresh id, and the element id survives schema changes."""
    file = tmp_path / "features.lock.json"
    first = write_lock([LISTS], file).table(LISTS)
    assert [(f.name, f.id, f.element_id) for f in first.fields[4:]] == [
        ("on_hand", 5, None),
        ("sizes", 6, 8),
        ("embedding", 7, 9),
    ]
    later = replace(LISTS, features=(*LISTS.features, COLOUR, Feature("tags", "list<string>", "tags", nullable=True)))
    second = write_lock([later], file).table(later)
    assert [f.ids for f in second.fields[4:]] == [(5,), (6, 8), (7, 9), (10,), (11, 12)]
    assert second.next_field_id == 13
    assert FeatureLock.read(file).render() == file.read_text()


def test_lists_are_the_json_of_icebergs_specification(tmp_path):
    """Times have a zone inside lists too, and elements are optional."""
    fields = write_lock([LISTS], tmp_path / "features.lock.json").table(LISTS).fields
    assert [json.loads(f.iceberg_type) for f in fields if f.element_id] == [
        {"type": "list", "element-id": 8, "element": "timestamptz", "element-required": False},
        {"type": "list", "element-id": 9, "element": "float", "element-required": False},
    ]
    assert fields[4].iceberg_type == "int"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (', "element_id": 8', "", "'sizes' (line 18) is list<timestamp> and has no element_id"),
        ('"int", "required": true', '"int", "required": true, "element_id": 20', "is int and has an element_id"),
        ('"element_id": 8', '"element_id": 9', "id 9 is used 2 times"),
        ('"element_id": 8', '"element_id": 40', "next_field_id (line 6) must be above 40"),
        ('"list<timestamp>"', '"list<time>"', "'sizes' (line 18) has type 'list<time>': give the element type"),
    ],
)
def test_fails_when_ids_of_elements_are_damaged(tmp_path, old, new, message):
    """Applies the same checks as to ids of columns."""
    file = tmp_path / "features.lock.json"
    write_lock([LISTS], file)
    text = file.read_text()
    changed = text.replace(old, new, 1)
    assert changed != text
    file.write_text(changed)
    with pytest.raises(FeatureLockError, match=re.escape(message)):
        FeatureLock.read(file)


def test_the_id_of_elements_cannot_change_between_schemas(tmp_path):
    """Another id would read other data as the list's."""
    file = tmp_path / "features.lock.json"
    write_lock([LISTS], file)
    write_lock([replace(LISTS, features=(*LISTS.features, COLOUR))], file)
    head, _, tail = file.read_text().rpartition('"element_id": 8')
    file.write_text(f'{head}"element_id": 30{tail}'.replace('"next_field_id": 11', '"next_field_id": 31'))
    with pytest.raises(FeatureLockError, match="id 6 is 'sizes'"):
        FeatureLock.read(file)


def test_a_list_of_other_elements_is_another_version(tmp_path):
    """Another element type breaks existing readers."""
    file = tmp_path / "features.lock.json"
    write_lock([LISTS], file)
    other = replace(LISTS, features=(ON_HAND, replace(LISTS.features[1], type="list<date>"), LISTS.features[2]))
    with pytest.raises(FeatureLockError, match=r"has type 'list<timestamp>' and cannot become 'list<date>'.*version=2"):
        write_lock([other], file)
