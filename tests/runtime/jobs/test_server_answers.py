"""Responses of a third-party server read as predictions; each invalid form has one reason."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import HoldoutRequests, ModelSignature, SignatureColumn
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.jobs.server_answers import AnsweredModel, AnswerError, parse_answers, read_answers
from mlops_runtime.serving.served_model import ModelError

INPUTS = (SignatureColumn(name="price", type="number"),)
NUMBER = ModelSignature(inputs=INPUTS, output="units", passes="values")
CLASSES = ModelSignature(inputs=INPUTS, output="kind", kind="classes", classes=("a", "b", "c"))
CHANCE = ModelSignature(inputs=INPUTS, output="bought", kind="probability")
ASKED = HoldoutRequests(
    artifact_sha256="a" * 64,
    holdout_sha256="b" * 64,
    rows=3,
    again=(0, 2),
    signature=NUMBER,
    signature_sha256="c" * 64,
)


def lay_down(folder: Path, answers: str, request: HoldoutRequests = ASKED) -> Path:
    """Write requests and responses."""
    folder.mkdir()
    (folder / "requests.json").write_bytes(canonical_json(request))
    (folder / "rows.jsonl.out").write_text(answers)
    return folder


def read(folder: Path) -> Any:
    """Read them like the evaluation."""
    return read_answers(folder, artifact_sha256="a" * 64, holdout="b" * 64, rows=3)


@pytest.mark.parametrize(
    ("text", "signature", "expected"),
    [
        ('{"predictions": [1, 2.5]}\n{"predictions": [null]}\n', NUMBER, [1.0, 2.5, np.nan]),
        ('{\n  "predictions": [\n 1, 2, 3]\n}\n\n', NUMBER, [1.0, 2.0, 3.0]),
        ("[1, 2, 3]", NUMBER, [1.0, 2.0, 3.0]),
        ('{"predictions": [{"score": 1}, {"score": 2}, {"score": 3}]}', NUMBER, [1.0, 2.0, 3.0]),
        ("1\n2\n\n3\n", NUMBER, [1.0, 2.0, 3.0]),
        ('{"predictions": [[0.9, 0.1], [0.5, 0.5], [0, 1]]}', CHANCE, [0.1, 0.5, 1.0]),
        ("0.2,0.3,0.5\n1,0,0\n0,1,0\n", CLASSES, [[0.2, 0.3, 0.5], [1, 0, 0], [0, 1, 0]]),
    ],
)
def test_answers_are_predictions(text: str, signature: ModelSignature, expected: Any) -> None:
    """Concatenated JSON documents, pretty-printed or not, and CSV."""
    np.testing.assert_array_equal(parse_answers(text, signature, rows=3), expected)


@pytest.mark.parametrize(
    ("text", "signature", "reason"),
    [
        ('{"predictions": [1, 2]}', NUMBER, "the server returned 2 predictions for 3 rows"),
        ("", NUMBER, "the server returned 0 predictions for 3 rows"),
        ('{"predictions": [1, "yes", 3]}', NUMBER, "the server returned 'yes' for row 1, expected a number"),
        ('{"predictions": [1, true, 3]}', NUMBER, "the server returned 'True' for row 1, expected a number"),
        ('{"predictions": [1, {"a": 1}, 3]}', NUMBER, "for row 1, expected a number"),
        ("1\nyes\n3\n", NUMBER, "the server returned 'yes' for row 1, expected a number"),
        ('{"predictions": [[1, 2], [1, 2], [1]]}', NUMBER, "the server returned predictions of 1 and 2 values"),
        ('{"predictions": [[1, 2], [1, 2], [1, 2]]}', NUMBER, "output 'units' has shape (3, 2) for 3 rows"),
        ('{"predictions": [1, 2, 3]}', CLASSES, "output 'kind' has shape (3, 1) for 3 rows; expected 3 values per row"),
        (
            '{"error": "out of memory"}',
            NUMBER,
            'a response must be {"predictions": [...]}, got {"error": "out of memory"}',
        ),
        ('{"predictions": [1, 2', NUMBER, "the responses are not JSON from character 0 on"),
        ("[" * 100_000, NUMBER, "the responses are not JSON from character 0 on"),
    ],
)
def test_what_is_no_prediction_has_a_reason(text: str, signature: ModelSignature, reason: str) -> None:
    """Too few, no numbers, other columns, invalid JSON."""
    with pytest.raises(AnswerError) as error:
        parse_answers(text, signature, rows=3)
    assert reason in str(error.value)


def test_the_sample_is_compared_and_cut_off(tmp_path: Path) -> None:
    """Repeated rows are not predictions of their own."""
    found = read(lay_down(tmp_path / "same", json.dumps({"predictions": [1, 2, 3, 1.00001, 3]})))
    assert found.predicted.values.tolist() == [1.0, 2.0, 3.0]
    assert found.problems == ()
    (problem,) = read(lay_down(tmp_path / "other", json.dumps({"predictions": [1, 2, 3, 1, 4]}))).problems
    assert problem.startswith("holdout row 2 gives 3.0 among all rows and 4.0 when repeated")


def test_answers_that_are_no_predictions_are_nan_with_the_reason(tmp_path: Path) -> None:
    """Like those of a failing model."""
    found = read(lay_down(tmp_path / "few", json.dumps({"predictions": [1, 2, 3, 1]})))
    assert np.isnan(found.predicted.values).all()
    assert found.predicted.of.failure == "the server returned 4 predictions for 5 rows"
    with pytest.raises(ModelError, match="4 predictions for 5 rows"):
        AnsweredModel(answers=found).predict(np.zeros((3, 1)))


def test_a_model_behind_its_server_answers_the_holdout_alone(tmp_path: Path) -> None:
    """It has the model's metadata and rejects other rows."""
    model = AnsweredModel(answers=read(lay_down(tmp_path / "answers", "[1, 2, 3, 1, 3]")))
    assert (model.signature, model.sha256, model.signature_sha256) == (NUMBER, "a" * 64, "c" * 64)
    assert model.manifest is None
    assert model.predict(np.zeros((3, 1))).tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ModelError, match="the model runs only in its server, which predicted 3 rows, not 1"):
        model.predict(np.zeros((1, 1)))


def test_fails_on_answers_of_something_else(tmp_path: Path) -> None:
    """Responses belong to one archive and holdout; no file or several files are an error."""
    folder = lay_down(tmp_path / "answers", "[1, 2, 3, 1, 3]")
    with pytest.raises(JobError, match=f"of archive {'a' * 64}, expected {'d' * 64}; rows 3, expected 4; remove them"):
        read_answers(folder, artifact_sha256="d" * 64, holdout="b" * 64, rows=4)
    (folder / "more.out").write_text("")
    with pytest.raises(JobError, match="must contain exactly one file"):
        read(folder)
    (folder / "requests.json").unlink()
    with pytest.raises(JobError, match=r"requests\.json must be beside the server's responses"):
        read(folder)
