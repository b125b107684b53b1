"""Packages and their evidence, read at moto's SageMaker and S3."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import Evaluation, GateCheck, GateResult, GateVerdict
from mlops_runtime.registry.catalog import Catalog, gate_uri

PREFIX = "evaluations/demand-forecast/one"
URI = f"s3://artifacts/{PREFIX}/evaluation.json"
EVALUATION = Evaluation(
    metric="wape",
    metrics={"candidate": 0.3, "naive": 0.4},
    blocks=(),
    rows=10,
    trained_until="2017-01-01",
    holdout_from="2017-01-02",
    holdout_until="2017-02-01",
    artifact_sha256="a" * 64,
    model_sha256="b" * 64,
    training_set_id="c" * 64,
    baseline_uri="s3://artifacts/baseline.json",
    baseline_sha256="8" * 64,
)
SHA256 = hashlib.sha256(canonical_json(EVALUATION)).hexdigest()
GATE = GateResult(
    verdict=GateVerdict.PASSED,
    checks=(GateCheck(rival="naive", passed=True, low=-0.3, high=-0.2, limit=0.0, reason="better"),),
    evaluation_uri=URI,
    evaluation_sha256=SHA256,
    reason="better",
)


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    """A bucket with one evaluation and its gate."""
    with mock_aws():
        s3 = boto3.client("s3", "us-east-1")
        s3.create_bucket(Bucket="artifacts")
        s3.put_object(Bucket="artifacts", Key=f"{PREFIX}/evaluation.json", Body=canonical_json(EVALUATION))
        s3.put_object(Bucket="artifacts", Key="gates/demand-forecast/one.json", Body=canonical_json(GATE))
        yield Catalog(sagemaker=boto3.client("sagemaker", "us-east-1"), s3=s3)


def _described(**metadata: str) -> dict[str, Any]:
    return {"CustomerMetadataProperties": {"evaluation_uri": URI, "evaluation_sha256": SHA256, **metadata}}


def test_the_newest_packages_come_first(catalog: Catalog) -> None:
    """As many as are asked for."""
    catalog.sagemaker.create_model_package_group(ModelPackageGroupName="demand-forecast")
    arns = [
        catalog.sagemaker.create_model_package(ModelPackageGroupName="demand-forecast", ModelPackageDescription=text)[
            "ModelPackageArn"
        ]
        for text in "abc"
    ]

    found = catalog.newest("demand-forecast", 2)

    assert [description["ModelPackageArn"] for description in found] == [arns[2], arns[1]]
    assert found[0]["ModelPackageDescription"] == "c"


def test_evidence_is_what_was_registered(catalog: Catalog) -> None:
    """Gate and evaluation, with the hashes in agreement."""
    evidence = catalog.evidence(_described())

    assert (evidence.gate, evidence.evaluation, evidence.problems) == (GATE, EVALUATION, ())


def test_a_changed_evaluation_is_named(catalog: Catalog) -> None:
    """Both by the package's hash and by the gate's."""
    worse = canonical_json(replace(EVALUATION, rows=11))
    catalog.s3.put_object(Bucket="artifacts", Key=f"{PREFIX}/evaluation.json", Body=worse)

    found = hashlib.sha256(worse).hexdigest()
    registered, judged = catalog.evidence(_described()).problems

    assert registered == f"the evaluation {URI} hashes to {found}, registered is {SHA256}"
    assert judged == f"the gate judged an evaluation of {SHA256}, {URI} is {found}"


def test_missing_evidence_is_named(catalog: Catalog) -> None:
    """Objects that are gone, objects that are something else, metadata that say nothing."""
    catalog.s3.delete_object(Bucket="artifacts", Key="gates/demand-forecast/one.json")
    catalog.s3.put_object(Bucket="artifacts", Key=f"{PREFIX}/evaluation.json", Body=b"{}")

    gone, other, _ = catalog.evidence(_described()).problems
    nothing = catalog.evidence({}).problems

    assert gone == "the gate's result s3://artifacts/gates/demand-forecast/one.json cannot be read: NoSuchKey"
    assert other.startswith("the evaluation is no Evaluation: ")
    assert nothing == (
        "the package does not say where its evaluation is",
        "the package does not say where its gate's result is",
    )


@pytest.mark.parametrize("uri", [None, "s3://artifacts/evaluation.json", "https://x/evaluations/a/b/evaluation.json"])
def test_an_evaluation_elsewhere_has_no_gate(uri: str | None) -> None:
    """Such as one of a package that no pipeline registered."""
    assert gate_uri(uri) is None
