"""The program of a metric function's process, run by its own Python."""

from array import array
from pathlib import Path

import pytest

from mlops_runtime.jobs.metric_worker import load, losses


def test_rows_are_cut_by_the_sizes_of_their_labels() -> None:
    """Labels may have any length, predictions have one."""
    seen = []

    def loss(label: "array[float]", prediction: "array[float]") -> float:
        seen.append((list(label), list(prediction)))
        return float(len(label))

    sizes, labels, predictions = array("q", [1, 2]), array("d", [1.0, 2.0, 3.0]), array("d", [4.0, 5.0, 6.0, 7.0])
    content = losses(loss, array("q", [7, 9]), sizes, labels, predictions)
    assert array("d", content).tolist() == [1.0, 2.0]
    assert seen == [([1.0], [4.0, 5.0]), ([2.0, 3.0], [6.0, 7.0])]


def test_an_error_has_the_row_of_the_holdout() -> None:
    """And the function's message."""

    def loss(label: object, prediction: object) -> float:
        raise ValueError(f"{label} beside {prediction}")

    with pytest.raises(RuntimeError, match=r"row 9 of the holdout: ValueError: array\('d', \[1.0\]\) beside"):
        losses(loss, array("q", [9]), array("q", [1]), array("d", [1.0]), array("d", [2.0]))


def test_a_file_must_have_the_function(tmp_path: Path) -> None:
    """A name that is not a function does not count."""
    file = tmp_path / "metric.py"
    file.write_text("loss = 3\n")
    with pytest.raises(TypeError, match=r"it has no function loss\(label, prediction\)"):
        load(str(file))
    file.write_text("def loss(label, prediction):\n    return 0.5\n")
    assert load(str(file))(None, None) == 0.5
    with pytest.raises(ImportError, match="is not a Python file"):
        load(str(tmp_path / "metric"))
