"""Contracts that belong to a model."""

from collections.abc import Callable
from typing import Any

import pytest

from mlops_runtime.contracts import content_hash, from_dict, to_dict
from mlops_runtime.contracts.model import (
    Evaluation,
    GateResult,
    GateVerdict,
    ModelPackageSpec,
    ModelSignature,
    SignatureColumn,
)


def test_a_signature_keeps_the_order_of_its_columns(example: Callable[..., Any]) -> None:
    """It is the order of the model's input."""
    stored = from_dict(ModelSignature, example("ModelSignature"))
    turned = from_dict(ModelSignature, example("ModelSignature", inputs=example("ModelSignature")["inputs"][::-1]))

    assert stored.inputs == (
        SignatureColumn(name="price", type="number"),
        SignatureColumn(name="category", type="category", categories=("PASTA", "SALAD"), nullable=True),
    )
    assert turned.inputs == stored.inputs[::-1]
    assert content_hash(turned) != content_hash(stored)


def test_a_package_is_served_in_both_content_types_by_default(example: Callable[..., Any]) -> None:
    """JSON first, then CSV; the ARN is known only after registration."""
    package = from_dict(ModelPackageSpec, example("ModelPackageSpec", content_types=..., environment=...))

    assert package.content_types == ("application/json", "text/csv")
    assert (package.environment, package.package_arn) == ({}, None)


def test_the_example_evaluation_is_sound(example: Callable[..., Any]) -> None:
    """Its WAPE is the sum of absolute errors over the sum of actuals, for each rival: readers may rely on that."""
    evaluation = from_dict(Evaluation, example("Evaluation"))
    actual = sum(block.actual_sum for block in evaluation.blocks)

    assert evaluation.metrics == {
        rival: pytest.approx(sum(block.absolute_error[rival] for block in evaluation.blocks) / actual)
        for rival in ("candidate", "champion", "last_week")
    }
    assert evaluation.rows == sum(block.rows for block in evaluation.blocks)
    assert evaluation.holdout_from >= evaluation.trained_until


def test_a_gate_result_is_read_with_its_verdict(example: Callable[..., Any]) -> None:
    """JSON integers are read as floats."""
    result = from_dict(GateResult, example("GateResult", **{"checks.0.limit": 0}))

    assert result.verdict is GateVerdict.FAILED
    assert (result.checks[0].rival, result.checks[0].passed, result.checks[0].high) == ("last_week", False, 0.01)
    assert isinstance(result.checks[0].limit, float)


def test_an_evaluation_from_before_segments_is_read_as_it_was(example: Callable[..., Any]) -> None:
    """Fields of later versions are absent and stay out of the hashed bytes."""
    document = example("Evaluation")
    evaluation = from_dict(Evaluation, document)
    added = (evaluation.segments, evaluation.failures, evaluation.distinct_predictions, evaluation.milliseconds_a_row)

    assert added == (None, None, None, None)
    assert to_dict(evaluation) == document


def test_a_segment_is_written_as_column_and_value(example: Callable[..., Any]) -> None:
    """As in a gate's limits; its blocks are those of the whole."""
    blocks = example("Evaluation")["blocks"]
    segment = {"column": "promoted", "value": "1", "rows": 120, "blocks": blocks}
    evaluation = from_dict(Evaluation, example("Evaluation", segments=[segment], metric="mae"))

    assert evaluation.segments is not None
    assert evaluation.segments[0].name == "promoted=1"
    assert evaluation.segments[0].blocks == evaluation.blocks
    assert to_dict(evaluation)["segments"] == [segment]


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (
            ModelSignature,
            {"inputs.0.type": "text"},
            "$.inputs[0].type must be one of 'number', 'category', got 'text'",
        ),
        (ModelSignature, {"inputs.1.categories": "PASTA"}, "$.inputs[1].categories must be an array, got 'PASTA'"),
        (ModelSignature, {"inputs.1.nullable": 1}, "$.inputs[1].nullable must be a boolean, got 1"),
        (ModelSignature, {"output": ...}, "$.output is missing"),
        (ModelSignature, {"format": "onnx"}, "$.format must be one of 'mlops.signature/1', got 'onnx'"),
        (ModelPackageSpec, {"model_sha256": ...}, "$.model_sha256 is missing"),
        (ModelPackageSpec, {"image": None}, "$.image must be a string, got None"),
        (ModelPackageSpec, {"environment": {"WORKERS": 2}}, "$.environment.WORKERS must be a string, got 2"),
        (ModelPackageSpec, {"content_types": "text/csv"}, "$.content_types must be an array, got 'text/csv'"),
        (
            Evaluation,
            {"metric": "rmse"},
            "$.metric must be one of 'wape', 'mae', 'log_loss', 'brier', 'macro_log_loss', 'custom_loss', got 'rmse'",
        ),
        (Evaluation, {"metrics": {"candidate": "0.2"}}, "$.metrics.candidate must be a number, got '0.2'"),
        (Evaluation, {"metrics": {"candidate": True}}, "$.metrics.candidate must be a number, got True"),
        (
            Evaluation,
            {"blocks.0.absolute_error": {"candidate": None}},
            "$.blocks[0].absolute_error.candidate must be a number, got None",
        ),
        (Evaluation, {"non_finite": {"candidate": 0.5}}, "$.non_finite.candidate must be an integer, got 0.5"),
        (Evaluation, {"baseline_uri": ...}, "$.baseline_uri is missing"),
        (GateResult, {"verdict": "passed"}, "$.verdict must be one of 'PASSED', 'FAILED', got 'passed'"),
        (GateResult, {"checks.0.passed": "no"}, "$.checks[0].passed must be a boolean, got 'no'"),
        (GateResult, {"evaluation_sha256": ...}, "$.evaluation_sha256 is missing"),
    ],
)
def test_fails_on_a_document_that_names_no_model(
    kind: type, changes: dict[str, Any], message: str, example: Callable[..., Any], refusal: Callable[..., str]
) -> None:
    """Every field used by a decision has its type."""
    assert refusal(kind, example(kind.__name__, **changes)) == f"not a valid {kind.__name__}: {message}"
