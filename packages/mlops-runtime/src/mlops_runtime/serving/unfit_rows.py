"""Find the rows of a table that a server would reject by the model's signature, before the model is evaluated.

A server only reports the first problems of a single request; this module checks a whole table at once.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.serving.served_model import MAX_INTEGER, is_integer, number_type

_SHOWN = 3
Mask = npt.NDArray[np.bool_]


def unfit_rows(table: Any, signature: ModelSignature, where: str) -> list[str]:
    """Return what a server would reject in a table: one problem for all nulls, and one for each kind of invalid value of a column.

    Args:
        table: An Arrow table; columns that it lacks are skipped.
        signature: The model's signature.
        where: Name of the table in messages.

    Example:
        >>> age = SignatureColumn(name="age", type="number")
        >>> print(unfit_rows(pa.table({"age": [3, None]}), ModelSignature(inputs=(age,), output="y"), "the holdout")[0])
        the holdout has nulls where signature.json allows none: 'age' in 1 of 2 rows (1 from 0); set "nullable": true if ...
    """
    nulls: list[str] = []
    problems: list[str] = []
    for column in signature.inputs:
        if column.name in table.column_names:
            problems += _problems(table.column(column.name), column, signature, where, nulls)
    if nulls:
        fix = 'set "nullable": true if the model accepts missing values, else fill them before training and in every request'
        problems.insert(0, f"{where} has nulls where signature.json allows none: {', '.join(nulls)}; {fix}")
    return problems


def _problems(
    values: Any, column: SignatureColumn, signature: ModelSignature, where: str, nulls: list[str]
) -> Iterator[str]:
    name = repr(column.name)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    try:
        if column.type == "category":
            texts = pc.cast(values, pa.string())
            is_null = pc.or_kleene(pc.is_null(texts), pc.equal(texts, "")).to_numpy()
        else:
            wide = values.cast(pa.int8()) if pa.types.is_boolean(values.type) else values
            numbers = np.asarray(wide.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
            is_null = np.isnan(numbers)
    except (pa.ArrowException, TypeError, ValueError):
        yield f"{name} is of type {values.type} in {where}, signature.json declares a {column.type}"
        return
    if not column.nullable and is_null.any():
        nulls.append(f"{name} in {_counted(is_null)}")
    if column.type == "number":
        wrong = _wrong_numbers(numbers, column, signature)
    elif column.kind == "integer":
        wrong = {
            "an integer": np.array([bool(text) and not is_integer(text) for text in texts.to_pylist()], dtype=bool)
        }
    else:
        wrong = {}
    for wanted, rows in wrong.items():
        if rows.any():
            yield f"{name} must be {wanted}, got {values[int(np.argmax(rows))].as_py()!r}: in {_counted(rows)} of {where}"


def _wrong_numbers(numbers: Any, column: SignatureColumn, signature: ModelSignature) -> dict[str, Mask]:
    with np.errstate(over="ignore"):
        is_large = np.isinf(numbers.astype(number_type(signature)))
    wrong = {"finite" if signature.passes == "values" else "finite as a 32-bit float": is_large}
    finite = np.isfinite(numbers)
    if column.kind == "integer":
        is_odd = (numbers != np.trunc(numbers)) | (np.abs(numbers) > MAX_INTEGER)
        wrong[f"an integer from {-MAX_INTEGER} to {MAX_INTEGER}"] = finite & is_odd
    elif column.kind == "boolean":
        wrong["true or false"] = finite & (numbers != 0) & (numbers != 1)
    return wrong


def _counted(mask: Mask) -> str:
    rows = np.flatnonzero(mask)
    shown = ", ".join(map(str, rows[:_SHOWN].tolist())) + (", ..." if len(rows) > _SHOWN else "")
    return f"{len(rows)} of {len(mask)} rows ({shown} from 0)"
