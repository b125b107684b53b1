"""The holdout as requests to a third-party server: the job as a process, and rows that cannot be sent."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.runtime.serving import model_folders

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.model import HoldoutRequests, ModelSignature, SignatureColumn
from mlops_runtime.jobs.holdout_predictions import holdout_sha256
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.jobs.server_rows import sample_rows, write_rows
from mlops_runtime.serving.model_folder import hash_of

SIGNATURE = ModelSignature(
    inputs=(
        SignatureColumn(name="store", type="category", kind="text", nullable=True),
        SignatureColumn(name="price", type="number", nullable=True),
        SignatureColumn(name="units", type="number", kind="integer", nullable=True),
        SignatureColumn(name="open", type="number", kind="boolean"),
    ),
    output="sold",
    passes="values",
)
TABLE = pa.table(
    {
        "open": [True, False, True],
        "store": ["east, 7", None, "west"],
        "units": pa.array([20_000_001, None, 3], type=pa.int64()),
        "price": [2.5, None, 0.1],
        "sold": [1.0, 2.0, 3.0],
    }
)


def test_json_lines_are_whole_requests_with_values(tmp_path: Path) -> None:
    """Columns in the signature's order, integers, and nulls as null; then each row of the sample alone."""
    lines = write_rows(TABLE, SIGNATURE, "application/json", tmp_path).read_text().splitlines()
    rows = [
        {"store": "east, 7", "price": 2.5, "units": 20_000_001, "open": True},
        {"store": None, "price": None, "units": None, "open": False},
        {"store": "west", "price": 0.1, "units": 3, "open": True},
    ]
    assert [json.loads(line) for line in lines] == [{"instances": rows}, *({"instances": [row]} for row in rows)]
    assert list(json.loads(lines[0])["instances"][0]) == ["store", "price", "units", "open"]


def test_csv_has_a_row_a_line_and_no_names(tmp_path: Path) -> None:
    """In the signature's order, nulls as empty fields, text with a comma in quotes."""
    path = write_rows(TABLE, SIGNATURE, "text/csv", tmp_path)
    rows = [["east, 7", "2.5", "20000001", "true"], ["", "", "", "false"], ["west", "0.1", "3", "true"]]
    assert list(csv.reader(path.read_text().splitlines())) == [*rows, *rows]


def test_requests_are_cut_by_rows_and_bytes(tmp_path: Path) -> None:
    """At most 500 rows or about a megabyte a line, below the payload limit of 4 MB."""
    signature = ModelSignature(inputs=SIGNATURE.inputs[:1], output="sold", passes="values")
    table = pa.table({"store": ["x" * 900] * 1200 + ["y" * 10_000] * 300})
    lines = write_rows(table, signature, "application/json", tmp_path).read_bytes().splitlines()
    whole = lines[: -len(sample_rows(1500))]
    assert sum(len(json.loads(line)["instances"]) for line in whole) == 1500
    assert [len(json.loads(line)["instances"]) for line in whole[:2]] == [500, 500]
    assert max(map(len, whole)) < 1_020_000


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.drop_columns(["price"]), "split 'holdout' lacks 'price'"),
        (
            TABLE.set_column(1, "store", pa.array(["a", "b\nc", "d"])),
            "column 'store' of holdout row 1 has a line break, which a transform job cannot send as CSV",
        ),
    ],
)
def test_fails_on_what_cannot_be_sent(tmp_path: Path, table: Any, message: str) -> None:
    """A missing column, and a line break, which splits a CSV record."""
    with pytest.raises(JobError, match=message):
        write_rows(table, SIGNATURE, "text/csv", tmp_path)


@pytest.fixture
def opt_ml(tmp_path: Path) -> Path:
    """Return a folder of any format with a signature, and a holdout, in the job's layout."""
    folder, model = tmp_path / "opt", tmp_path / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(b"\0" * 8)
    (model / "signature.json").write_bytes(canonical_json(SIGNATURE))
    model_folders.archive(model, folder / "processing" / "input" / "model" / "model.tar.gz")
    (folder / "processing" / "input" / "holdout").mkdir(parents=True)
    pq.write_table(TABLE, folder / "processing" / "input" / "holdout" / "part-0.parquet")
    return folder


def run(opt_ml: Path, *options: str) -> tuple[int, str]:
    """Run the job; return its exit code and standard error."""
    command = [sys.executable, "-m", "mlops_runtime.jobs.server_rows", "--content-type", "application/json", *options]
    done = subprocess.run(
        command, env={**os.environ, "MLOPS_OPT_ML": str(opt_ml)}, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def test_the_job_says_what_it_asks(opt_ml: Path) -> None:
    """Its output has the archive and holdout; the model itself is not read."""
    inputs, outputs = opt_ml / "processing" / "input", opt_ml / "processing" / "output"
    digest = hash_of(inputs / "model" / "model.tar.gz")
    assert run(opt_ml, "--artifact-sha256", digest)[0] == 0
    requested = from_json(HoldoutRequests, (outputs / "answers" / "requests.json").read_bytes())
    assert (requested.artifact_sha256, requested.holdout_sha256) == (digest, holdout_sha256(inputs / "holdout"))
    assert (requested.rows, requested.again, requested.signature) == (3, (0, 1, 2), SIGNATURE)
    assert [path.name for path in (outputs / "rows").iterdir()] == ["rows.jsonl"]


def test_another_archive_is_one_line(opt_ml: Path) -> None:
    """The live pointer's hash is checked before anything is written."""
    code, error = run(opt_ml, "--artifact-sha256", "0" * 64)
    assert code == 1
    assert error.startswith("mlops server_rows: the model has SHA-256 ")
    assert error.count("\n") == 1
    assert not (opt_ml / "processing" / "output" / "rows").exists()


def test_an_archive_without_a_signature_is_one_line(opt_ml: Path, tmp_path: Path) -> None:
    """Without columns no request is possible."""
    (tmp_path / "model" / "signature.json").unlink()
    model_folders.archive(tmp_path / "model", opt_ml / "processing" / "input" / "model" / "model.tar.gz")
    assert "model.tar.gz has no signature.json at its root" in run(opt_ml)[1]
