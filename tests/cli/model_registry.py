"""A package group with its evidence on an embedded cloud, and the role of approvers."""

import hashlib
import json
from dataclasses import replace
from typing import Any

from mlops_local import cloud
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import (
    ComparedPredictions,
    Evaluation,
    GateCheck,
    GateResult,
    GateVerdict,
    ModelPackageSpec,
)
from mlops_runtime.contracts.model_manifest import Flavor, Trust
from mlops_runtime.registry.model_package import package_request, registered_metadata
from mlops_runtime.registry.package_approval import ApprovalRule, RegistryEntry, registry_parameter
from mlops_runtime.retraining.loss_intervals import UNBOUNDED

GROUP, BUCKET = "demand-forecast", "artifacts"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"}, "Action": "sts:AssumeRole"}
    ],
}
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sagemaker:UpdateModelPackage", "Resource": "*"}],
}


class PackageGroup:
    """A group with packages and their evidence, in its own bucket."""

    def __init__(self, running: cloud.Cloud, group: str = GROUP, bucket: str = BUCKET) -> None:
        self.group, self.bucket = group, bucket
        self.sagemaker, self.s3 = running.client("sagemaker"), running.client("s3")
        self.s3.create_bucket(Bucket=bucket)
        self.sagemaker.create_model_package_group(ModelPackageGroupName=group)

    def register(
        self,
        execution: str,
        *,
        artifact: str | None = None,
        flavor: Flavor | None = None,
        trust: Trust | None = None,
        pickled: tuple[str, ...] | None = None,
        left_out: str | None = None,
        service: str | None = None,
        released: str | None = None,
        worse: str | None = None,
    ) -> str:
        """Register a package that passed the gate, or was worse over a segment, and return its name."""
        prefix = f"s3://{self.bucket}/evaluations/{self.group}/{execution}"
        artifact = artifact or f"models/{self.group}/job/output/model.tar.gz"
        spec = ModelPackageSpec(
            group=self.group,
            image="000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "1" * 64,
            artifact_uri=f"s3://{self.bucket}/{artifact}",
            artifact_sha256="a" * 64,
            model_sha256="b" * 64,
            training_set_id="c" * 64,
            execution=f"arn:aws:states:us-east-1:000000000000:execution:Retrain:{execution}",
            baseline_uri=f"{prefix}/baseline.json",
            baseline_sha256="8" * 64,
            evaluation_uri=f"{prefix}/evaluation.json",
            flavor=flavor,
            trust=trust,
            feature_service=service,
            source_package=released,
            source_record=None if released is None else "d" * 64,
            source_environment=None if released is None else "staging",
        )
        sha256 = self._write_evidence(spec, execution, pickled, left_out, worse)
        request = package_request(spec)
        metadata = request["CustomerMetadataProperties"] | {"evaluation_sha256": sha256}
        container = request["InferenceSpecification"]["Containers"][0]
        request["CustomerMetadataProperties"] = registered_metadata(container, metadata)
        arn: str = self.sagemaker.create_model_package(**request)["ModelPackageArn"]
        return arn.rpartition(":model-package/")[2]

    def describe(self, package: str) -> dict[str, Any]:
        """Return SageMaker's description of a package."""
        arn = f"arn:aws:sagemaker:us-east-1:000000000000:model-package/{package}"
        return dict(self.sagemaker.describe_model_package(ModelPackageName=arn))

    def _write_evidence(
        self,
        spec: ModelPackageSpec,
        execution: str,
        pickled: tuple[str, ...] | None,
        left_out: str | None,
        worse: str | None,
    ) -> str:
        evaluation = Evaluation(
            metric="wape",
            metrics={"candidate": 0.31, "champion": 0.33},
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
            pickled=pickled,
            champion_left_out=left_out,
            compared=ComparedPredictions(rows=1200, largest_difference=1e-7),
        )
        content = canonical_json(evaluation)
        sha256 = hashlib.sha256(content).hexdigest()
        check = GateCheck(
            rival="champion", passed=True, low=-0.08, high=-0.01, limit=0.02, reason="better", segment="store=7"
        )
        if left_out is not None:
            check = replace(check, low=-UNBOUNDED, high=-UNBOUNDED, reason="not compared", segment=None)
        failed = (
            [] if worse is None else [replace(check, passed=False, low=0.03, high=0.2, reason="worse", segment=worse)]
        )
        gate = GateResult(
            verdict=GateVerdict.PASSED if worse is None else GateVerdict.FAILED,
            checks=(check, *failed),
            evaluation_uri=spec.evaluation_uri,
            evaluation_sha256=sha256,
            reason="better" if worse is None else f"worse over {worse}",
        )
        self.s3.put_object(
            Bucket=self.bucket, Key=f"evaluations/{self.group}/{execution}/evaluation.json", Body=content
        )
        self.s3.put_object(Bucket=self.bucket, Key=f"gates/{self.group}/{execution}.json", Body=canonical_json(gate))
        return sha256


class Registry(PackageGroup):
    """A group with packages, and the role of approvers."""

    def __init__(self, running: cloud.Cloud) -> None:
        super().__init__(running)
        self.home = running.home
        iam = running.client("iam")
        role = iam.create_role(RoleName="Approver", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
        iam.put_role_policy(RoleName="Approver", PolicyName="Approve", PolicyDocument=json.dumps(POLICY))
        models = (f"s3://{BUCKET}/models/{GROUP}/",)
        rule = ApprovalRule(approvers=(role["Arn"],), timeout_seconds=7 * 86400, artifacts=models)
        entry = RegistryEntry(group=GROUP, unit="demand", rule=rule)
        name = registry_parameter(unit="demand", group=GROUP)
        running.client("ssm").put_parameter(Name=name, Value=canonical_json(entry).decode(), Type="String")
