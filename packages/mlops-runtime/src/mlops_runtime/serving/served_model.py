"""Interface of a loaded model of any library: signature, hashes, and one prediction per row."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.model_manifest import ModelManifest

# Rows of 32-bit floats. If the signature passes values: 64-bit floats, and with categories, objects (floats and strings).
Matrix = npt.NDArray[Any]
SIGNATURE_FILE = "signature.json"
MAX_INTEGER = 2**53  # up to it, 64-bit floats represent every integer

_FEWEST_CLASSES, _FEWEST_OUTPUTS, _PAIR, _SHOWN = 3, 2, 2, 10
_KIND_OF = {"classes": "'classes'", "outputs": "'numbers'", "width": "'vector'"}
_MEANING = {
    "classes": "their names, in the order of the model's probabilities",
    "outputs": "their names, in the order of the model's columns",
    "width": "how many numbers a row has",
}


class ModelError(ValueError):
    """A model cannot be served; the message names the file, the problem and the expected value."""


class SlowModelError(TimeoutError):
    """A model did not respond in time; the message has the timeout."""


class ServedModel(Protocol):
    """A loaded model. Implementations are thread-safe."""

    @property
    def signature(self) -> ModelSignature:
        """The columns in the order of the model's input."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the model, as in the package."""

    @property
    def signature_sha256(self) -> str:
        """SHA-256 of ``signature.json``, which affects predictions as much as the model."""

    @property
    def manifest(self) -> ModelManifest | None:
        """Manifest of the model's files and trust level; None for plain ONNX."""

    def predict(self, rows: Matrix) -> Matrix:
        """Return one prediction per row: shape ``(rows,)``, or ``(rows, signature.columns)`` for lists.

        Args:
            rows: One row per record, columns in the signature's order; a null is NaN (numbers) or -1 (categories). If the
                signature passes values, a category may be its string, None if it is missing.

        Raises:
            ModelError: If the model's output differs from its signature.
            SlowModelError: If the model does not respond in time.
        """

    def close(self) -> None:
        """Release the model's resources; it cannot be used afterwards."""


def declared_shape(answer: npt.NDArray[Any], rows: int, signature: ModelSignature) -> Matrix:
    """Return a model's output in the shape of its signature; of the two columns of a probability model, the second.

    Example:
        >>> declared_shape(np.array([[1.0], [2.0]]), 2, ModelSignature(inputs=(), output="y")).tolist()
        [1.0, 2.0]
        >>> pair = ModelSignature(inputs=(), output="y", kind="numbers", outputs=("weight", "waist"))
        >>> declared_shape(np.array([[1.0, 2.0]]), 1, pair).tolist()
        [[1.0, 2.0]]

    Raises:
        ModelError: If it has another shape.
    """
    columns = signature.columns
    if columns is not None:
        if answer.shape != (rows, columns):
            raise ModelError(
                f"output {signature.output!r} has shape {answer.shape} for {rows} rows; expected {columns} values per row: "
                f"{_named(signature)}"
            )
        return np.asarray(answer, dtype=number_type(signature))
    is_pair = answer.ndim == 2 and answer.shape[1] == 2
    if answer.ndim == 2 and (answer.shape[1] == 1 or (is_pair and signature.kind == "probability")):
        answer = answer[:, -1]
    if answer.shape != (rows,):
        fix = _fix(answer.shape[1]) if answer.ndim == 2 else ""
        raise ModelError(
            f"output {signature.output!r} has shape {answer.shape} for {rows} rows; expected one value per row{fix}"
        )
    return np.asarray(answer, dtype=number_type(signature))


def number_type(signature: ModelSignature) -> type[np.floating[Any]]:
    """Return the float type of a model's input and output."""
    return np.float64 if signature.passes == "values" else np.float32


class CategoryCodes:
    """Category codes of a signature, for rows with categories as strings.

    Example:
        >>> store = SignatureColumn(name="store", type="category", categories=("east",))
        >>> codes = CategoryCodes(ModelSignature(inputs=(store,), output="units", passes="values"))
        >>> codes.of(np.array([["east"], ["west"], [None]], dtype=object)).tolist()
        [[0.0], [-1.0], [-1.0]]
    """

    def __init__(self, signature: ModelSignature) -> None:
        self._type = number_type(signature)
        self._levels = [
            (index, {level: code for code, level in enumerate(column.categories)})
            for index, column in enumerate(signature.inputs)
            if column.type == "category"
        ]

    def of(self, rows: Matrix) -> Matrix:
        """Return rows as numbers; missing categories and those that the signature does not list are -1."""
        if rows.dtype != object:
            return rows
        coded = rows.copy()
        for index, codes in self._levels:
            coded[:, index] = [codes.get(value, -1) for value in rows[:, index].tolist()]
        return coded.astype(self._type)

    def texts(self, rows: Matrix) -> list[tuple[int, int, str]]:
        """Return row, column and string of each category without a code."""
        if rows.dtype != object:
            return []
        return [
            (row, index, value)
            for index, codes in self._levels
            for row, value in enumerate(rows[:, index].tolist())
            if value is not None and value not in codes
        ]


def column_problems(signature: ModelSignature) -> list[str]:
    """Return the problems of a signature's columns.

    Example:
        >>> print(column_problems(ModelSignature(inputs=(SignatureColumn(name="store", type="category"),), output="y"))[0])
        category column 'store' declares no categories; list those that the model was trained with, "categories": ["a", "b"]
    """
    names = [column.name for column in signature.inputs]
    problems = [f"column {name!r} is declared twice" for name in sorted({n for n in names if names.count(n) > 1})]
    if not names:
        problems.append(f"{SIGNATURE_FILE} declares no columns")
    for column in signature.inputs:
        problems += _column_problems(column, signature)
    empty = [repr(c.name) for c in signature.inputs if c.type == "category" and not c.categories and c.kind != "text"]
    if empty:
        beginning = (
            f"category column {empty[0]} declares"
            if len(empty) == 1
            else f"category columns {', '.join(empty)} declare"
        )
        problems.append(
            f'{beginning} no categories; list those that the model was trained with, "categories": ["a", "b"]'
        )
    return problems


def _column_problems(column: SignatureColumn, signature: ModelSignature) -> Iterator[str]:
    name = f"column {column.name!r}"
    if column.type == "number":
        if column.kind == "text":
            yield f'{name} is a number of kind "text"; strings have "type": "category"'
        return
    if column.kind == "boolean":
        yield f'category {name} has kind "boolean"; booleans have "type": "number"'
    if column.kind == "text" and signature.passes != "values":
        yield f'{name} of kind "text" needs "passes": "values"'
    wrong = [text for text in column.categories if column.kind == "integer" and not is_integer(text)]
    if wrong:
        yield f'{name} of kind "integer" must have integers as categories, got {", ".join(wrong[:_SHOWN])}'


def is_integer(text: str) -> bool:
    """Return whether a string is the canonical form of an integer, as Python writes it.

    Example:
        >>> is_integer("-7"), is_integer("07"), is_integer("7.0")
        (True, False, False)
    """
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdecimal() and str(int(digits)) == digits


def kind_problems(signature: ModelSignature) -> list[str]:
    """Return the problems of a signature's output.

    Example:
        >>> kind_problems(ModelSignature(inputs=(), output="y", kind="classes", classes=("no", "yes")))
        ['kind "classes" needs three or more classes, got no, yes; two classes are "kind": "probability" of the second']
    """
    kind = signature.kind or "number"
    given = {"classes": signature.classes, "outputs": signature.outputs, "width": signature.width}
    of_kind = {"classes": "classes", "numbers": "outputs", "vector": "width"}.get(kind)
    problems = [
        f"kind {kind!r} takes no {name}; {_KIND_OF[name]} does"
        for name, value in given.items()
        if value is not None and name != of_kind
    ]
    names = signature.classes if kind == "classes" else signature.outputs if kind == "numbers" else None
    if of_kind is not None and given[of_kind] is None:
        problems.append(f"kind {kind!r} must declare {of_kind}: {_MEANING[of_kind]}")
    elif kind == "vector" and (signature.width or 0) < 1:
        problems.append(f"width must be 1 or more, got {signature.width}")
    if names is not None:
        shown = ", ".join(names) or "none"
        if kind == "classes" and len(names) < _FEWEST_CLASSES:
            problems.append(
                f'kind "classes" needs three or more classes, got {shown}; two classes are "kind": "probability" of the second'
            )
        elif kind == "numbers" and len(names) < _FEWEST_OUTPUTS:
            problems.append(f'kind "numbers" needs two or more outputs, got {shown}; one output is "kind": "number"')
        twice = sorted({name for name in names if names.count(name) > 1})
        problems += [f"{of_kind} names {name!r} twice" for name in twice]
        problems += [f"{of_kind} must be names without '/', got {name!r}" for name in names if not name or "/" in name]
    return problems


def _named(signature: ModelSignature) -> str:
    names = signature.classes or signature.outputs
    if names is None:
        return f"a vector of {signature.width}"
    what = "the probability of each class" if signature.kind == "classes" else "each output"
    return f"{what}, {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"


def _fix(columns: int) -> str:
    pair = ' for a classifier with two probabilities, set "kind": "probability",' if columns == _PAIR else ""
    of_classes = ' for three or more classes, set "kind": "classes",' if columns > _PAIR else ""
    return f'; in {SIGNATURE_FILE}{pair}{of_classes} for several outputs "kind": "numbers", for an embedding "kind": "vector"'


def check_answer(model: ServedModel) -> None:
    """Make one prediction, so that a server whose model always fails does not become ready.

    Raises:
        ModelError: If the model fails, or does not return one prediction per row.
    """
    row = np.zeros((1, len(model.signature.inputs)), dtype=np.float32)
    try:
        model.predict(row)
    except ModelError:
        raise
    except Exception as error:  # the model may raise anything
        raise ModelError(f"the model cannot predict a row of zeros: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return str(error).partition("\n")[0]
