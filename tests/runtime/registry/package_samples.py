"""A package for tests of the registry."""

from mlops_runtime.contracts.model import ModelPackageSpec

SPEC = ModelPackageSpec(
    group="demand-forecast",
    image="123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "1" * 64,
    artifact_uri="s3://artifacts/model.tar.gz",
    artifact_sha256="a" * 64,
    model_sha256="b" * 64,
    training_set_id="c" * 64,
    execution="arn:aws:states:us-east-1:123456789012:execution:Retrain:one",
    baseline_uri="s3://artifacts/baseline.json",
    baseline_sha256="8" * 64,
    evaluation_uri="s3://artifacts/evaluation.json",
)
