"""``python -m mlops_runtime.jobs.server_rows``: write a holdout as requests that a transform job sends to a model's own server.

Third-party images do not contain this library, so their models are evaluated over HTTP. Each line of JSON is a whole request of
the container contract with many rows; a line of CSV is a row. A sample of the rows is repeated at the end, which reveals servers
that are not deterministic, or whose rows depend on each other.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform.html
"""

import argparse
import csv
import io
import os
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import numpy as np
import orjson
import pyarrow as pa

from mlops_runtime.contracts import ContractError, canonical_json, from_json
from mlops_runtime.contracts.model import HoldoutRequests, ModelSignature, ServerContentType, SignatureColumn
from mlops_runtime.jobs.holdout_predictions import holdout_sha256
from mlops_runtime.jobs.job_environment import JobError, OptMl, single_file
from mlops_runtime.jobs.model_input import SAMPLE_ROWS, categories, numbers, read_split, require_columns
from mlops_runtime.serving.model_archive import ArchiveError, read
from mlops_runtime.serving.model_folder import hash_of
from mlops_runtime.serving.served_model import SIGNATURE_FILE, column_problems, kind_problems

REQUESTS_FILE = "requests.json"
_FILES = {"application/json": "rows.jsonl", "text/csv": "rows.csv"}
_REQUEST_ROWS, _REQUEST_BYTES = 500, 1_000_000  # per line; an endpoint accepts 6 MB per call, this transform 4
_BREAKS = frozenset("\n\r")
_SIGNATURE_BYTES = 16 * 1024**2


def archived_signature(archive: Path) -> tuple[ModelSignature, bytes]:
    """Return the signature in a ``model.tar.gz`` and its bytes, without loading the model.

    Raises:
        JobError: If the signature is missing or invalid.
    """
    try:
        with archive.open("rb") as packed:
            content = read(packed, (SIGNATURE_FILE,), max_bytes=_SIGNATURE_BYTES).get(SIGNATURE_FILE)
        if content is None:
            raise JobError(
                f"{archive.name} has no {SIGNATURE_FILE} at its root; it defines the columns of requests to the server"
            )
        signature = from_json(ModelSignature, content)
    except (OSError, ArchiveError) as error:
        raise JobError(f"cannot read {archive.name}: {error}") from error
    except ContractError as error:
        raise JobError(f"{SIGNATURE_FILE}: {error}") from error
    problems = [*column_problems(signature), *kind_problems(signature)]
    if problems:
        raise JobError(f"{SIGNATURE_FILE}: {'; '.join(problems)}")
    return signature, content


def sample_rows(count: int) -> tuple[int, ...]:
    """Return the numbers of the rows that are repeated.

    Example:
        >>> sample_rows(3)
        (0, 1, 2)
    """
    return tuple(np.unique(np.linspace(0, count - 1, SAMPLE_ROWS, dtype=np.int64)).tolist())


def write_rows(table: Any, signature: ModelSignature, content_type: ServerContentType, folder: Path) -> Path:
    """Write the rows of a holdout and the repeated sample to a file, and return the file.

    A server gets values as in the table, even if the signature passes codes to a model: numbers as 64-bit floats or integers,
    categories as strings, nulls as null or an empty field.

    Raises:
        JobError: If a column is missing, or a string cannot be written as CSV.
    """
    require_columns(table, [column.name for column in signature.inputs], "holdout")
    names = [column.name for column in signature.inputs]
    rows = list(zip(*(_values(table, column) for column in signature.inputs), strict=True))
    again = [rows[index] for index in sample_rows(len(rows))]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _FILES[content_type]
    with path.open("wb") as file:
        if content_type == "text/csv":
            file.writelines(_csv_lines(names, [*rows, *again]))
        else:
            file.writelines(_requests(names, rows))
            file.writelines(_request([_object(names, row)]) for row in again)
    return path


def _values(table: Any, column: SignatureColumn) -> list[object]:
    if column.type == "category":
        return list(categories(table, column.name))
    kind = table.schema.field(column.name).type
    if column.kind == "boolean" and pa.types.is_boolean(kind):
        return list(table.column(column.name).to_pylist())
    found = numbers(table, column.name, np.float64)
    if column.kind == "integer":
        return [int(value) if value.is_integer() else None if np.isnan(value) else value for value in found.tolist()]
    return [None if np.isnan(value) else value for value in found.tolist()]


def _object(names: list[str], row: tuple[object, ...]) -> bytes:
    return orjson.dumps(dict(zip(names, row, strict=True)))


def _request(rows: list[bytes]) -> bytes:
    return b'{"instances":[' + b",".join(rows) + b"]}\n"


def _requests(names: list[str], rows: list[tuple[object, ...]]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for row in rows:
        text = _object(names, row)
        if held and (len(held) == _REQUEST_ROWS or size + len(text) > _REQUEST_BYTES):
            yield _request(held)
            held, size = [], 0
        held.append(text)
        size += len(text)
    yield _request(held)


def _csv_lines(names: list[str], rows: list[tuple[object, ...]]) -> Iterator[bytes]:
    for number, row in enumerate(rows):
        broken = [
            name for name, value in zip(names, row, strict=True) if isinstance(value, str) and set(value) & _BREAKS
        ]
        if broken:
            # https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform.html: no line breaks within fields
            raise JobError(
                f"column {broken[0]!r} of holdout row {number} has a line break, which a transform job cannot send as CSV; remove "
                "it, or serve application/json"
            )
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(_field(value) for value in row)
        yield line.getvalue().encode()


def _field(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _checked_hash(archive: Path, expected: str | None) -> str:
    found = hash_of(archive)
    if expected not in (None, found):
        raise JobError(f"the model has SHA-256 {found}, expected {expected}; find out who wrote it")
    return found


def main(arguments: list[str]) -> int:
    """Run the job. Returns the exit code; a user error is one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m mlops_runtime.jobs.server_rows")
    parser.add_argument("--content-type", required=True, choices=get_args(ServerContentType))
    parser.add_argument("--artifact-sha256", help="expected hash of the archive in input model; default: any")
    options = parser.parse_args(arguments)
    opt_ml = OptMl.from_environment(os.environ)
    try:
        archive = single_file(opt_ml.processing_input("model"), "*.tar.gz")
        found = _checked_hash(archive, options.artifact_sha256)
        signature, content = archived_signature(archive)
        folder = opt_ml.processing_input("holdout")
        table = read_split(folder)
        write_rows(table, signature, options.content_type, opt_ml.processing_output("rows"))
    except JobError as error:
        return opt_ml.refuse("server_rows", error)
    holdout = HoldoutRequests(
        artifact_sha256=found,
        holdout_sha256=holdout_sha256(folder),
        rows=table.num_rows,
        again=sample_rows(table.num_rows),
        signature=signature,
        signature_sha256=sha256(content).hexdigest(),
    )
    answers = opt_ml.processing_output("answers")
    answers.mkdir(parents=True, exist_ok=True)
    (answers / REQUESTS_FILE).write_bytes(canonical_json(holdout))
    sys.stderr.write(f"mlops server_rows: {table.num_rows} rows for model {found}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
