"""Derive the signature of a model whose script writes none, from the columns of the training split."""

from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.retraining import SignaturePlan
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.jobs.model_input import categories, require_columns

# prefix of the columns in which pandas stores a frame's index
_INDEX = "__index_level_"


def signature_of(table: Any, plan: SignaturePlan, *, has_values: bool = True) -> ModelSignature:
    """Return the signature of a model that was trained on a split; without ``has_values``, an ONNX model that gets codes.

    A text column is a category with the values in the split; all other columns are numbers. A column is nullable if the split has
    a null or NaN in it. Classes are those of the split in the order of their values, like scikit-learn's ``classes_``.

    Raises:
        JobError: If a column is missing, or is neither numeric nor text.

    Example:
        >>> split = pa.table({"store": ["east", None], "price": [1.5, 2.0], "units": [3.0, 4.0]})
        >>> [(c.name, c.type, c.nullable) for c in signature_of(split, SignaturePlan(label="units")).inputs]
        [('store', 'category', True), ('price', 'number', False)]
    """
    labels = (plan.label, *(plan.labels or ()))
    left_out = {*labels, *(plan.without or ())}
    named = plan.inputs or [n for n in table.column_names if n not in left_out and not n.startswith(_INDEX)]
    require_columns(table, [*labels, *named], "train")
    problems = [problem for name in named if (problem := _problem(name, table.schema.field(name).type)) is not None]
    if not named:
        problems.append(f"no column is left as an input, the split has {', '.join(map(repr, table.column_names))}")
    problems += [f"inputs must not name the label {name!r}" for name in dict.fromkeys(labels) if name in named]
    if problems:
        raise JobError(f"cannot write the model's signature: {'; '.join(problems)}")
    return ModelSignature(
        inputs=tuple(_column(table, name, has_values) for name in named),
        output=plan.label,
        kind=plan.kind,
        classes=_values(table, plan.label) if plan.kind == "classes" else None,
        outputs=plan.labels if plan.kind == "numbers" else None,
        width=_width(table, plan.label) if plan.kind == "vector" else None,
        passes="values" if has_values else None,
    )


def _width(table: Any, label: str) -> int:
    """Return the length of every row's label list, which is the width of the predicted vector."""
    column = table.column(label)
    is_list = any(
        is_kind(column.type) for is_kind in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    )
    widths = pc.unique(pc.list_value_length(column).drop_null()).to_pylist() if is_list else []
    if len(widths) != 1 or not widths[0]:
        found = f"lists of {', '.join(map(str, sorted(widths)[:5]))} numbers" if is_list else str(column.type)
        raise JobError(
            f"cannot write the model's signature: label {label!r} must have lists of one length, got {found}; let the script write "
            'signature.json with "kind": "vector" and the width of the predictions'
        )
    return int(widths[0])


def _problem(name: str, kind: Any) -> str | None:
    fix = "exclude it with TrainingJob(inputs=), or convert it in the training set"
    if pa.types.is_dictionary(kind):
        if _is_text(kind.value_type) or pa.types.is_integer(kind.value_type):
            return None
        return f"column {name!r} is a category of {kind.value_type}, but requests have text; {fix}"
    is_number = (
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
    )
    if is_number or _is_text(kind):
        return None
    return f"column {name!r} is of type {kind}, supported are numbers and text; {fix}"


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _column(table: Any, name: str, has_values: bool) -> SignatureColumn:
    column = table.column(name)
    if pa.types.is_dictionary(column.type) or _is_text(column.type):
        has_null = any(value is None for value in categories(table, name))
        has_integers = pa.types.is_dictionary(column.type) and pa.types.is_integer(column.type.value_type)
        known = _values(table, name)
        return SignatureColumn(
            name=name,
            type="category",
            categories=tuple(sorted(known, key=int)) if has_integers else known,
            nullable=has_null,
            kind="integer" if has_integers else None,
        )
    has_nan = pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py()
    kind: Literal["integer", "boolean"] | None = None
    if has_values and pa.types.is_boolean(column.type):
        kind = "boolean"
    elif has_values and pa.types.is_integer(column.type):
        kind = "integer"
    return SignatureColumn(name=name, type="number", nullable=bool(column.null_count or has_nan), kind=kind)


def _values(table: Any, name: str) -> tuple[str, ...]:
    found = {value for value in categories(table, name) if value is not None}
    # integers in numeric order instead of the order of their text
    return tuple(sorted(found, key=int) if pa.types.is_integer(table.column(name).type) else sorted(found))
