"""Files of a training set: blocks of its sorted rows, which every engine cuts, hashes and writes separately, to the same bytes."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops_runtime.contracts.features import Output, OutputFile
from mlops_runtime.features.row_hashing import BLOCK, block_digest, hash_of_blocks

ROW_ID = "row_id"
SPLIT = "split"
SPLITS = ("train", "holdout")
# suffix of a staged file with further columns of the rows in the file of the name before it
BESIDE = ".beside"
# of a plan's set, below its prefix, where readers expect it
MANIFEST_FILE = "manifest/training_set.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Result of writing a block of rows: number of rows, digest, and path, hash and size of each file."""

    number: int
    rows: int
    digest: bytes
    files: tuple[OutputFile, ...]


def block_count(rows: int, block: int = BLOCK) -> int:
    """Return the number of blocks of rows; at least one, because a set without rows has a file too.

    Example:
        >>> block_count(0), block_count(4, 4), block_count(5, 4)
        (1, 1, 2)
    """
    return max(1, -(-rows // block))


def file_name(number: int, blocks: int) -> str:
    """Return the name of a block's file; names sort in the order of the blocks.

    Example:
        >>> file_name(0, 1), file_name(7, 12)
        ('part-0.parquet', 'part-07.parquet')
    """
    return f"part-{number:0{len(str(blocks - 1))}d}.parquet"


def written_block(
    rows: pa.Table, number: int, *, blocks: int, splits: Sequence[str] = ()
) -> tuple[Block, dict[str, bytes]]:
    """Return a block and its files by path: one file, or one per split with rows in the block, without the column ``split``."""
    name = file_name(number, blocks)
    parts = {name: rows}
    if splits:
        parts = {f"{split}/{name}": of_split(rows, split) for split in splits}
        parts = {path: part for path, part in parts.items() if part.num_rows}
    content = {path: parquet_bytes(part) for path, part in parts.items()}
    files = tuple(
        OutputFile(
            path=path, sha256=hashlib.sha256(content[path]).hexdigest(), bytes=len(content[path]), rows=part.num_rows
        )
        for path, part in parts.items()
    )
    return Block(number=number, rows=rows.num_rows, digest=block_digest(rows, (ROW_ID,)), files=files), content


def of_split(rows: pa.Table, split: str) -> pa.Table:
    """Return the rows of a split, without the split column."""
    return rows.filter(pc.equal(rows[SPLIT], split)).drop_columns([SPLIT])


def output(
    schema: pa.Schema,
    blocks: Sequence[Block],
    *,
    matched: Sequence[tuple[str, int]],
    splits: Sequence[str] = (),
    block: int = BLOCK,
) -> Output:
    """Return the output of a manifest, from the blocks in order and the number of rows that matched each feature table."""
    rows = sum(each.rows for each in blocks)
    digests = [each.digest for each in blocks if each.rows]
    files = [file for each in blocks for file in each.files]
    ordered = [file for split in splits for file in files if file.path.startswith(f"{split}/")] if splits else files
    return Output(
        rows=rows,
        content_hash=hash_of_blocks(schema, rows, digests, (ROW_ID,), block=block),
        files=tuple(ordered),
        columns={field.name: str(field.type) for field in schema if not (splits and field.name == SPLIT)},
        order_by=ROW_ID,
        matched=dict(matched),
    )


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as one Parquet file: the same rows give the same bytes with the same version of Arrow."""
    sink = io.BytesIO()
    plain = table.replace_schema_metadata(None).combine_chunks()
    pq.write_table(plain, sink, compression="zstd", row_group_size=BLOCK, version="2.6")
    return sink.getvalue()
