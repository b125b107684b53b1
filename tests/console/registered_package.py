"""A package that waits for a person, with its evidence, for tests of what is shown of it."""

import hashlib

from tests.cli.deployed_unit import DeployedUnit

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import Evaluation, GateCheck, GateResult, GateVerdict, ModelPackageSpec
from mlops_runtime.registry.model_package import package_request, registered_metadata


def registered(unit: DeployedUnit, execution: str = "alarm-1") -> str:
    """Register a package that passed the gate, with its evidence, and return its name."""
    bucket, group, sagemaker = f"{unit.name}-models", unit.endpoint, unit.cloud.client("sagemaker")
    prefix = f"s3://{bucket}/evaluations/{group}/{execution}"
    unit.s3.create_bucket(Bucket=bucket)
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    spec = ModelPackageSpec(
        group=group,
        image="000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "1" * 64,
        artifact_uri=f"s3://{bucket}/models/{group}/model.tar.gz",
        artifact_sha256="a" * 64,
        model_sha256="b" * 64,
        training_set_id="c" * 64,
        execution=f"arn:aws:states:us-east-1:000000000000:execution:Retrain:{execution}",
        baseline_uri=f"{prefix}/baseline.json",
        baseline_sha256="8" * 64,
        evaluation_uri=f"{prefix}/evaluation.json",
    )
    evaluation = Evaluation(
        metric="wape",
        metrics={"candidate": 0.31, "champion": 0.33, "units_lag_1": 0.6},
        blocks=(),
        rows=1200,
        trained_until="2017-01-01",
        holdout_from="2017-01-02",
        holdout_until="2017-02-01",
        artifact_sha256=spec.artifact_sha256,
        model_sha256=spec.model_sha256,
        training_set_id=spec.training_set_id,
        baseline_uri=spec.baseline_uri,
        baseline_sha256=spec.baseline_sha256,
    )
    content = canonical_json(evaluation)
    digest = hashlib.sha256(content).hexdigest()
    better = GateCheck(rival="champion", passed=True, low=-0.08, high=-0.01, limit=0.02, reason="better")
    worse = GateCheck(rival="champion", passed=False, low=0.03, high=0.2, limit=0.02, reason="worse", segment="store=7")
    gate = GateResult(
        verdict=GateVerdict.FAILED,
        checks=(better, worse),
        evaluation_uri=spec.evaluation_uri,
        evaluation_sha256=digest,
        reason="worse over store=7",
    )
    unit.s3.put_object(Bucket=bucket, Key=f"evaluations/{group}/{execution}/evaluation.json", Body=content)
    unit.s3.put_object(Bucket=bucket, Key=f"gates/{group}/{execution}.json", Body=canonical_json(gate))
    request = package_request(spec)
    metadata = request["CustomerMetadataProperties"] | {"evaluation_sha256": digest}
    container = request["InferenceSpecification"]["Containers"][0]
    request["CustomerMetadataProperties"] = registered_metadata(container, metadata)
    return str(sagemaker.create_model_package(**request)["ModelPackageArn"]).rpartition(":model-package/")[2]
