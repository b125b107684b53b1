"""The campaign's search finds an entity in every format of stored rows."""

import base64
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tests.campaign.erasures import search

from mlops_runtime.features.online_rows import FileRows

SECRET = "household-4711"


def test_an_entity_is_found_in_compressed_files(tmp_path: Path) -> None:
    """Parquet pages contain it compressed, so no byte of the file shows it."""
    many = pa.table({"store_id": pa.array([*(f"household-{n}" for n in range(5000)), SECRET])})
    pq.write_table(many, tmp_path / "a.parquet", compression="zstd", use_dictionary=False, write_statistics=False)
    pq.write_table(many.slice(0, 10), tmp_path / "b.parquet")
    assert SECRET.encode() not in (tmp_path / "a.parquet").read_bytes()
    assert search.in_folder(tmp_path, [SECRET]) == ["a.parquet"]


def test_an_entity_is_found_in_an_online_store_and_its_log(tmp_path: Path) -> None:
    """It is found until it is deleted and the log is emptied."""
    rows = FileRows(tmp_path / "online.db")
    rows.put([{"entity": {"S": f'stock_v1/["{SECRET}"]'}, "version": {"S": "1"}}])
    assert search.in_folder(tmp_path, [SECRET]) == ["online.db-wal"]
    rows.settle()
    assert search.in_folder(tmp_path, [SECRET]) == ["online.db"]
    rows.delete(f'stock_v1/["{SECRET}"]')
    rows.settle()
    assert search.in_folder(tmp_path, [SECRET]) == []


def test_an_entity_is_found_wherever_a_cloud_keeps_it(tmp_path: Path) -> None:
    """It is found in strings, keys, blobs and files of the saved state, reported by path."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "f00d").write_bytes(SECRET.encode())
    stores = {
        "s3": {"$scoped": [[{"$tuple": ["1", "key"]}, {"data": {"$file": "f00d"}, "size": 3}]]},
        "dynamodb": {"items": {SECRET: {"S": "x"}}},
        "glue": {"text": {"$bytes": base64.b64encode(SECRET.encode()).decode()}, "other": "none"},
    }
    (tmp_path / "snapshot.json").write_text(json.dumps({"stores": stores}))
    assert search.in_state(tmp_path, [SECRET]) == ["s3/key/data", "dynamodb/items", "glue/text"]
