"""The result of every model: one prediction per row, or an error that describes the result."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlops_runtime.contracts.model import ModelSignature
from mlops_runtime.serving.served_model import ModelError, check_answer, declared_shape, kind_problems

NUMBER = ModelSignature(inputs=(), output="y")
CHANCE = ModelSignature(inputs=(), output="y", kind="probability")
CLASSES = ModelSignature(inputs=(), output="y", kind="classes", classes=("a", "b", "c"))
OUTPUTS = ModelSignature(inputs=(), output="y", kind="numbers", outputs=("weight", "waist"))
VECTOR = ModelSignature(inputs=(), output="y", kind="vector", width=1)


@pytest.mark.parametrize(
    ("answer", "signature"),
    [
        ([1.0, 2.0], NUMBER),
        ([[1.0], [2.0]], NUMBER),
        ([[0.0, 1.0], [-1.0, 2.0]], CHANCE),
        ([[1.0], [2.0]], CHANCE),
    ],
)
def test_one_prediction_a_row_is_taken(answer: Any, signature: ModelSignature) -> None:
    """As a list, as a column, or as the second of two probabilities."""
    assert declared_shape(np.array(answer), 2, signature).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("answer", [[1.0], [[1.0, 2.0, 3.0]] * 2, [[1.0, 2.0]] * 2, [[[1.0]], [[2.0]]], 1.0])
def test_another_shape_is_refused(answer: Any) -> None:
    """A row too few, three columns, and two of unknown meaning."""
    with pytest.raises(ModelError, match=r"output 'y' has shape \(.*\) for 2 rows; expected one value per row"):
        declared_shape(np.array(answer), 2, NUMBER)


@pytest.mark.parametrize(("signature", "columns"), [(CLASSES, 3), (OUTPUTS, 2), (VECTOR, 1)])
def test_a_list_a_row_is_taken_as_declared(signature: ModelSignature, columns: int) -> None:
    """Also lists of one value; other widths are rejected with the meaning of each column."""
    answer = np.arange(2.0 * columns).reshape(2, columns)
    assert declared_shape(answer, 2, signature).tolist() == answer.tolist()
    with pytest.raises(ModelError, match=rf"has shape \(2,\) for 2 rows; expected {columns} values per row: "):
        declared_shape(np.zeros(2), 2, signature)
    with pytest.raises(
        ModelError, match=rf"has shape \(2, {columns + 1}\) for 2 rows; expected {columns} values per row: "
    ):
        declared_shape(np.zeros((2, columns + 1)), 2, signature)


def test_columns_that_nothing_declares_are_refused_with_each_fix() -> None:
    """Three columns may be classes, outputs or a vector: only the signature defines it."""
    with pytest.raises(ModelError, match=r'"kind": "classes", for several outputs "kind": "numbers", for an embedding'):
        declared_shape(np.zeros((2, 3)), 2, NUMBER)


@pytest.mark.parametrize(
    ("signature", "problem"),
    [
        (replace(CLASSES, classes=None), "kind 'classes' must declare classes: their names, in the order of the model"),
        (replace(CLASSES, classes=("a", "b")), "needs three or more classes, got a, b; two classes are"),
        (replace(CLASSES, classes=("a", "b", "a")), "classes names 'a' twice"),
        (replace(CLASSES, classes=("a", "b", "c/d")), "classes must be names without '/', got 'c/d'"),
        (replace(CLASSES, width=3), "kind 'classes' takes no width; 'vector' does"),
        (
            replace(OUTPUTS, outputs=("weight",)),
            'needs two or more outputs, got weight; one output is "kind": "number"',
        ),
        (replace(NUMBER, classes=("a", "b", "c")), "kind 'number' takes no classes; 'classes' does"),
        (replace(VECTOR, width=0), "width must be 1 or more, got 0"),
    ],
)
def test_what_a_kind_does_not_take_is_named(signature: ModelSignature, problem: str) -> None:
    """With the expected form."""
    assert problem in "; ".join(kind_problems(signature))
    assert kind_problems(CLASSES) == kind_problems(OUTPUTS) == kind_problems(VECTOR) == kind_problems(CHANCE) == []


def test_an_error_of_the_model_is_one_line() -> None:
    """For any error of the library."""

    class Broken:
        signature, sha256 = NUMBER, ""

        def predict(self, _: Any) -> Any:
            raise RuntimeError("no memory\nat node 7")

    with pytest.raises(ModelError, match=r"^the model cannot predict a row of zeros: no memory$"):
        check_answer(Broken())
