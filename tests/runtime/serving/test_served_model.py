"""What every model gives: one prediction a row, or an error that says what it gave."""

from typing import Any

import numpy as np
import pytest

from mlops_runtime.contracts.model import ModelSignature
from mlops_runtime.serving.served_model import ModelError, check_answer, one_a_row

NUMBER = ModelSignature(inputs=(), output="y")
CHANCE = ModelSignature(inputs=(), output="y", kind="probability")


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
    assert one_a_row(np.array(answer), 2, signature).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("answer", [[1.0], [[1.0, 2.0, 3.0]] * 2, [[1.0, 2.0]] * 2, [[[1.0]], [[2.0]]], 1.0])
def test_another_shape_is_refused(answer: Any) -> None:
    """A row too few, three columns, and two of which nothing says what they mean."""
    with pytest.raises(ModelError, match=r"output 'y' has shape \(.*\) for 2 rows; one a row is expected"):
        one_a_row(np.array(answer), 2, NUMBER)


def test_an_error_of_the_model_is_one_line() -> None:
    """Whatever the library raises."""

    class Broken:
        signature, sha256 = NUMBER, ""

        def predict(self, _: Any) -> Any:
            raise RuntimeError("no memory\nat node 7")

    with pytest.raises(ModelError, match=r"^the model cannot predict a row of zeros: no memory$"):
        check_answer(Broken())
