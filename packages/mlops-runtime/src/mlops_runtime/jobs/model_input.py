"""Convert columns of an Arrow table to model input, and check that a model gives the same results alone, batched and repeated."""

import base64
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops_runtime.contracts.model import ModelSignature
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.serving.request_payload import parse
from mlops_runtime.serving.served_model import Matrix, ServedModel, number_type

BATCHES = (1, 2, 7, 64)
SAMPLE_ROWS = 64
_RELATIVE_TOLERANCE = 1e-4  # allows for 32-bit sums in another order
_ROUNDS = 3
_ARROW_SCHEMA = b"ARROW:schema"  # in Parquet's own metadata

Timer = Callable[[], float]


def read_split(directory: Path) -> Any:
    """Return all Parquet files of a directory as one table, in the order of their names.

    Integer categories are restored from the stored Arrow schema: Parquet has no such type, and Arrow only restores string
    categories.

    Raises:
        JobError: If there is no file, their schemas differ, or they have no rows.
    """
    paths = sorted(directory.glob("*.parquet"))
    if not paths:
        raise JobError(f"{directory} must contain Parquet files, got none")
    try:
        table = pa.concat_tables([pq.read_table(path) for path in paths])
    except pa.ArrowException as error:
        raise JobError(f"cannot read {directory} as one table: {error}") from error
    if table.num_rows == 0:
        raise JobError(f"{directory} must contain at least one row, got none")
    for name in sorted({name for path in paths for name in _integer_categories(path)}):
        if pa.types.is_integer(table.schema.field(name).type):
            table = table.set_column(table.column_names.index(name), name, table[name].dictionary_encode())
    return table


def _integer_categories(path: Path) -> Iterator[str]:
    """Yield the integer columns that were categories when the file was written, from Arrow's schema in the Parquet metadata."""
    # https://arrow.apache.org/docs/cpp/parquet.html#serializing-the-arrow-schema
    kept = (pq.read_metadata(path).metadata or {}).get(_ARROW_SCHEMA)
    if kept is None:
        return
    for field in pa.ipc.read_schema(pa.BufferReader(base64.b64decode(kept))):
        if pa.types.is_dictionary(field.type) and pa.types.is_integer(field.type.value_type):
            yield field.name


def require_columns(table: Any, names: Sequence[str], split: str) -> None:
    """Check that a split has columns.

    Raises:
        JobError: With every missing column and the existing ones.
    """
    problem = missing_columns(table, names, split)
    if problem is not None:
        raise JobError(problem)


def missing_columns(table: Any, names: Sequence[str], split: str) -> str | None:
    """Return a message with the missing and the existing columns of a split; None if it has all of them."""
    missing = [name for name in dict.fromkeys(names) if name not in table.column_names]
    if not missing:
        return None
    return f"split {split!r} lacks {', '.join(map(repr, missing))}; it has {', '.join(map(repr, table.column_names))}"


def numbers(table: Any, name: str, number: type[np.floating[Any]] = np.float32) -> Matrix:
    """Return a column as floats, 32-bit by default, NaN where null.

    Raises:
        JobError: If the column is not numeric.
    """
    column = table.column(name)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    try:
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=number)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise JobError(f"column {name!r} must be numeric, got {column.type}") from error


def categories(table: Any, name: str) -> list[str | None]:
    """Return a column as strings, None where null; integers in decimal."""
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return [value or None for value in pc.cast(column, pa.string()).to_pylist()]


def model_input(table: Any, signature: ModelSignature) -> Matrix:
    """Return the rows in the signature's columns: as codes, or as values if the signature passes values."""
    number = number_type(signature)
    has_texts = signature.passes == "values" and any(column.type == "category" for column in signature.inputs)
    matrix: Matrix = np.empty((table.num_rows, len(signature.inputs)), dtype=object if has_texts else number)
    for index, column in enumerate(signature.inputs):
        if column.type == "number":
            matrix[:, index] = numbers(table, column.name, number)
        elif has_texts:
            matrix[:, index] = categories(table, column.name)
        else:
            position = {category: float(code) for code, category in enumerate(column.categories)}
            matrix[:, index] = [position.get(value or "", -1.0) for value in categories(table, column.name)]
    return matrix


def serving_problems(model: ServedModel, table: Any, rows: Matrix) -> list[str]:
    """Return why a model would serve differently than it was evaluated: at most one reason for each check.

    A sample is sent in batches of each size in `BATCHES` through the server's JSON parser, so that differences between how job
    and server read a column are found before the model is registered. All rows are predicted twice.
    """
    whole = model.predict(rows)
    again = model.predict(rows)
    problems = []
    same = (whole == again) | (np.isnan(whole) & np.isnan(again))
    differing = np.flatnonzero(~same.reshape(len(rows), -1).all(axis=1))
    if len(differing):
        row = differing[0]
        problems.append(
            f"holdout row {row} gives {whole[row]} and then {again[row]} in the same batch; a model must be deterministic"
        )
    sample = _sample(len(rows))
    sent = _instances(model, table, sample)
    for size in BATCHES:
        problem = _batch_problem(model, sent, sample, whole, size)
        if problem is not None:
            problems.append(problem)
    return list(dict.fromkeys(problems))


def milliseconds_a_row(models: dict[str, ServedModel], table: Any, timer: Timer) -> dict[str, float]:
    """Return the median latency of a single row, including the server's JSON parsing, for each model.

    The models alternate on the same machine, so that their ratio is more reliable than the absolute values. A model that fails for
    the sample is left out.
    """
    sample = _sample(table.num_rows)
    bodies = {name: [_body([row]) for row in _instances(model, table, sample)] for name, model in models.items()}
    able = [name for name, model in models.items() if _answers_all(model, bodies[name])]  # also warms up the models
    taken: dict[str, list[float]] = {name: [] for name in able}
    for _ in range(_ROUNDS):
        for index in range(len(sample)):
            for name in able:
                started = timer()
                _answer(models[name], bodies[name][index])
                taken[name].append(timer() - started)
    return {name: 1000 * statistics.median(times) for name, times in taken.items()}


def _answers_all(model: ServedModel, bodies: Sequence[bytes]) -> bool:
    try:
        for body in bodies:
            _answer(model, body)
    except Exception:  # ONNX Runtime raises its own types, all direct children of Exception
        return False
    return True


def _answer(model: ServedModel, body: bytes) -> Matrix:
    return model.predict(parse("application/json", body, model.signature))


def _sample(count: int) -> Any:
    return np.unique(np.linspace(0, count - 1, SAMPLE_ROWS, dtype=np.int64))


def _instances(model: ServedModel, table: Any, sample: Any) -> list[dict[str, object]]:
    part, number = table.take(sample), number_type(model.signature)
    columns = {
        column.name: categories(part, column.name)
        if column.type == "category"
        else numbers(part, column.name, number).tolist()
        for column in model.signature.inputs
    }
    return [{name: values[index] for name, values in columns.items()} for index in range(len(sample))]


def _body(instances: Sequence[dict[str, object]]) -> bytes:
    return orjson.dumps({"instances": list(instances)})


def _batch_problem(
    model: ServedModel, sent: Sequence[dict[str, object]], sample: Any, whole: Matrix, size: int
) -> str | None:
    for start in range(0, len(sent), size):
        chosen = sample[start : start + size]
        try:
            answers = _answer(model, _body(sent[start : start + size]))
        except ValueError as error:
            return f"holdout row {chosen[0]} could not be sent to the server: {error}"
        expected = whole[chosen]
        close = np.isclose(answers, expected, rtol=_RELATIVE_TOLERANCE, atol=1e-6, equal_nan=True)
        near = close.reshape(len(chosen), -1).all(axis=1)
        if not near.all():
            index = int(np.flatnonzero(~near)[0])
            how = "alone" if size == 1 else f"among {size}"
            return (
                f"holdout row {chosen[index]} gives {expected[index]} among all rows and {answers[index]} {how}; "
                "rows must not depend on each other"
            )
    return None
