"""The signature that the training job derives from the training split."""

from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from mlops_runtime.contracts.retraining import SignaturePlan
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.jobs.training_signature import signature_of

SPLIT: Any = pa.table(
    {
        "at": pa.array([datetime(2026, 1, 1)] * 3),
        "store": ["west", "east", None],
        "kind": pa.array(["b", "a", "b"]).dictionary_encode(),
        "open": [True, False, True],
        "price": [1.5, float("nan"), 2.0],
        "sold": pa.array([1, None, 3], pa.int64()),
        "stock": [1, 2, 3],
        "naive": [1.0, 2.0, 3.0],
        "__index_level_0__": [0, 1, 2],
        "units": [3.0, 4.0, 5.0],
    }
)


def test_a_vector_is_as_wide_as_its_labels() -> None:
    """If all have one length; otherwise the script must declare it."""
    split: Any = SPLIT.append_column("axes", pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    plan = SignaturePlan(label="axes", kind="vector", inputs=("stock",))
    found = signature_of(split, plan)
    assert (found.kind, found.width, found.output) == ("vector", 2, "axes")
    ragged = SPLIT.append_column("axes", pa.array([[1.0, 2.0], [3.0], None]))
    with pytest.raises(
        JobError, match="label 'axes' must have lists of one length, got lists of 1, 2 numbers; let the"
    ):
        signature_of(ragged, plan)
    with pytest.raises(JobError, match="label 'units' must have lists of one length, got double"):
        signature_of(SPLIT, SignaturePlan(label="units", kind="vector", inputs=("stock",)))


def test_inputs_are_the_columns_that_are_not_left_out() -> None:
    """Text is a category of the split's values, the rest a number; nullable if the split has a null or NaN."""
    signature = signature_of(SPLIT, SignaturePlan(label="units", without=("at", "naive")))
    assert [(c.name, c.type, c.categories, c.nullable) for c in signature.inputs] == [
        ("store", "category", ("east", "west"), True),
        ("kind", "category", ("a", "b"), False),
        ("open", "number", (), False),
        ("price", "number", (), True),
        ("sold", "number", (), True),
        ("stock", "number", (), False),
    ]
    assert (signature.output, signature.kind) == ("units", "number")


def test_named_inputs_keep_their_order() -> None:
    """In the model's order."""
    signature = signature_of(SPLIT, SignaturePlan(label="units", kind="probability", inputs=("stock", "store")))
    assert [column.name for column in signature.inputs] == ["stock", "store"]
    assert signature.kind == "probability"


def test_classes_are_the_labels_of_the_split() -> None:
    """In text order."""
    split = pa.table({"x": [1.0, 2.0, 3.0], "grade": ["low", "high", "mid"]})
    assert signature_of(split, SignaturePlan(label="grade", kind="classes")).classes == ("high", "low", "mid")


def test_classes_of_integers_are_in_the_order_of_numbers() -> None:
    """Probabilities of scikit-learn and LightGBM have that order; by text 10 would precede 2."""
    split = pa.table({"x": [1.0, 2.0, 3.0], "grade": [10, 2, 1]})
    assert signature_of(split, SignaturePlan(label="grade", kind="classes")).classes == ("1", "2", "10")


def test_outputs_are_the_labels_in_their_order() -> None:
    """They are not inputs."""
    signature = signature_of(
        SPLIT, SignaturePlan(label="units", kind="numbers", labels=("units", "stock"), without=("at", "naive"))
    )
    assert (signature.kind, signature.outputs) == ("numbers", ("units", "stock"))
    assert [column.name for column in signature.inputs] == ["store", "kind", "open", "price", "sold"]


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        (
            SignaturePlan(label="units", inputs=("at",)),
            r"column 'at' is of type timestamp\[us\], supported are numbers and text",
        ),
        (SignaturePlan(label="units", inputs=("colour",)), "split 'train' lacks 'colour'; it has 'at', 'store'"),
        (SignaturePlan(label="sales"), "split 'train' lacks 'sales'"),
        (SignaturePlan(label="units", inputs=("units",)), "inputs must not name the label 'units'"),
        (SignaturePlan(label="units", without=tuple(SPLIT.column_names)), "no column is left as an input"),
    ],
)
def test_fails_on_columns_that_no_request_can_send(plan: SignaturePlan, problem: str) -> None:
    """The error has the column and the fix."""
    with pytest.raises(JobError, match=problem):
        signature_of(SPLIT, plan)


def test_a_category_of_integers_stays_one() -> None:
    """In numeric order, as pandas has it; an ONNX model gets positions in that order."""
    split = pa.table({"store": pa.array([10, 2]).dictionary_encode(), "units": [1.0, 2.0]})
    for has_values in (True, False):
        (column,) = signature_of(split, SignaturePlan(label="units"), has_values=has_values).inputs
        assert (column.type, column.kind, column.categories) == ("category", "integer", ("2", "10"))
