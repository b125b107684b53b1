"""The page about ``signature.json`` shows a valid one, and every key of the contract."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from examples.pages.signature_from_table import write_signature

from mlops_runtime.serving.signature_file import COLUMN_KEYS, SIGNATURE_KEYS, read_signature

PAGE = (Path(__file__).parents[2] / "docs" / "signature.md").read_text()
EXAMPLE = PAGE.partition("```json\n")[2].partition("```")[0]


def _rows(heading: str) -> dict[str, str]:
    part = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \|(.*)$", part, re.MULTILINE))


def test_the_example_of_the_page_is_right() -> None:
    """The example has no unknown and no missing key for the command."""
    signature, problems = read_signature(EXAMPLE.encode())
    assert problems == []
    assert signature is not None
    assert [column.name for column in signature.inputs] == [each["name"] for each in json.loads(EXAMPLE)["inputs"]]


def test_every_key_of_the_contract_is_on_the_page() -> None:
    """The tables of file and column list every key, and every enumerated value."""
    assert set(_rows("The file")) == set(SIGNATURE_KEYS)
    assert set(_rows("A column of `inputs`")) == set(COLUMN_KEYS)
    for key, words in {
        "kind": ("number", "probability", "classes", "numbers", "vector"),
        "passes": ("codes", "values"),
    }.items():
        assert [word for word in words if f"`{word}`" not in _rows("The file")[key]] == []
    for key, words in {"type": ("number", "category"), "kind": ("integer", "boolean", "text")}.items():
        assert [word for word in words if f"`{word}`" not in _rows("A column of `inputs`")[key]] == []


def test_a_signature_is_written_from_a_table(tmp_path: Path) -> None:
    """The example has no label or extra columns, and the table's values and nulls."""
    week, churned, region = [1, 2], [0.0, 1.0], pa.array(["east", None])
    table = pa.table({"week": week, "region": region, "age": [3, 4], "churned": churned, "last_week": [0.1, 0.2]})
    pq.write_table(table, tmp_path / "train.parquet")
    write_signature(tmp_path / "train.parquet", tmp_path)
    signature, problems = read_signature((tmp_path / "signature.json").read_bytes())
    assert problems == []
    assert signature is not None
    assert [(each.name, each.categories, each.nullable, each.kind) for each in signature.inputs] == [
        ("region", ("east",), True, None),
        ("age", (), False, "integer"),
    ]
