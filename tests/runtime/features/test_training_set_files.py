"""Files of training sets: blocks hashed and written separately."""

import io
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from mlops_runtime.contracts.features import Build, Output, Semantics, TrainingSetManifest
from mlops_runtime.features.row_hashing import BLOCK, content_hash
from mlops_runtime.features.training_set import described
from mlops_runtime.features.training_set_files import SPLIT, SPLITS, block_count, output, written_block

EMPTY = TrainingSetManifest(
    name="shelves",
    semantics=Semantics(as_of="known_at", cutoff=None),
    entities=None,
    features=(),
    build=Build(engine="duckdb", engine_version="1", planner="p", client="c"),
    output=Output(rows=0, content_hash="", files=(), columns={}),
)


def rows(count: int) -> pa.Table:
    """Return the given number of rows, the last third held out."""
    splits = [SPLITS[i >= 2 * count // 3] for i in range(count)]
    return pa.table({"units": [float(i) for i in range(count)], SPLIT: splits, "row_id": range(count)})


def test_a_set_of_one_block_is_one_file_and_a_larger_one_is_a_file_a_block() -> None:
    """Names follow the order of rows, hash and bytes those of blocks; a set without rows has a file too."""
    whole = rows(BLOCK // 1000).drop_columns([SPLIT])
    assert list(described(EMPTY, whole, ()).files) == ["part-0.parquet"]
    built = described(EMPTY, whole, (), block=100)
    assert list(built.files) == [f"part-{i:02d}.parquet" for i in range(11)] == sorted(built.files)
    assert [file.rows for file in built.manifest.output.files] == [100] * 10 + [48]
    read = pa.concat_tables([pq.read_table(io.BytesIO(content)) for content in built.files.values()])
    assert read.equals(whole)
    assert built.manifest.output.content_hash == content_hash(whole, ("row_id",), block=100)
    none = described(EMPTY, whole.slice(0, 0), ())
    assert (list(none.files), none.manifest.output.rows) == (["part-0.parquet"], 0)
    assert none.manifest.output.content_hash == content_hash(whole.slice(0, 0), ("row_id",))


def test_a_file_of_a_split_holds_its_rows_of_a_block() -> None:
    """A block without rows of a split adds no file."""
    whole = rows(30)
    built = described(EMPTY, whole, (), splits=SPLITS, block=8)
    assert [(file.path, file.rows) for file in built.manifest.output.files] == [
        ("train/part-0.parquet", 8),
        ("train/part-1.parquet", 8),
        ("train/part-2.parquet", 4),
        ("holdout/part-2.parquet", 4),
        ("holdout/part-3.parquet", 6),
    ]
    assert built.train.num_rows == 20
    assert SPLIT not in built.manifest.output.columns
    assert built.manifest.output.content_hash == content_hash(whole, ("row_id",), block=8)


def test_blocks_written_apart_are_the_set() -> None:
    """In any order and by any writer, with the same output and bytes."""
    whole = rows(30)
    built = described(EMPTY, whole, (), splits=SPLITS, block=8)
    count = block_count(30, 8)
    parts = [written_block(whole.slice(n * 8, 8), n, blocks=count, splits=SPLITS) for n in reversed(range(count))]
    blocks = sorted((part for part, _ in parts), key=lambda part: part.number)
    found = output(whole.schema, blocks, matched=(), splits=SPLITS, block=8)
    assert replace(EMPTY, output=found) == built.manifest
    assert {path: content for _, files in parts for path, content in files.items()} == dict(built.files)
