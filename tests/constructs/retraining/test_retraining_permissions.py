"""Permissions of the training-set job on the lineage graph and of jobs that load champions, with IAM enforced."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import boto3
import pytest
from aws_cdk import aws_iam as iam
from botocore.exceptions import ClientError

from mlops_constructs import ModelImage, RetrainingPipeline, TrainingJob, TrainingSetSource
from mlops_constructs.retraining.retraining_permissions import lineage_statements
from mlops_local.stacks import deployer
from mlops_runtime.contracts.features import Build, Output, PinnedTable, Semantics, TrainingSetManifest
from mlops_runtime.contracts.retraining import EvaluationPlan
from mlops_runtime.features.sagemaker_lineage import SageMakerLineage, SageMakerLineageError

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud


def _manifest(number: int) -> TrainingSetManifest:
    """Write a training set of a new table, without lineage yet."""
    return TrainingSetManifest(
        name="weekly demand",
        semantics=Semantics(as_of="known_at", cutoff="2017-01-01T00:00:00Z"),
        entities=PinnedTable(
            group="sales",
            version=number + 1,
            database="iam_features",
            table=f"sales_v{number + 1}",
            table_uuid="uuid",
            snapshot_id=1,
            sequence=1,
            schema_id=0,
            tag="ts-1",
            columns=("units",),
        ),
        features=(),
        build=Build(engine="duckdb", engine_version="1", planner="pit/3", client="0"),
        output=Output(rows=1, content_hash="h1:00", files=(), columns={}),
    )


def _session(cloud: "Cloud", role: str) -> Any:
    keys = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="job")["Credentials"]
    return boto3.client(
        "sagemaker",
        region_name="us-east-1",
        endpoint_url=cloud.endpoint_url,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )


@pytest.mark.cloud
def test_recording_needs_each_statement_and_no_more(cloud: "Cloud", tmp_path: Path) -> None:
    """Records, also repeatedly, with all statements; fails without any one of them; never deletes."""
    app = cdk.App(outdir=str(tmp_path / "cdk.out"))
    stack = cdk.Stack(app, "LineageRights")
    statements = lineage_statements(stack, "weekly-demand")
    for left_out in range(-1, len(statements)):
        role = iam.Role(stack, f"Role{left_out + 1}", assumed_by=iam.AccountRootPrincipal())
        for number, statement in enumerate(lineage_statements(stack, "weekly-demand")):
            if number != left_out:
                role.add_to_policy(statement)
        cdk.CfnOutput(stack, f"Arn{left_out + 1}", value=role.role_arn)
    app.synth()
    outputs = deployer.deploy(cloud, tmp_path / "cdk.out")["LineageRights"]
    place = {"catalog": "arn:aws:glue:us-east-1:000000000000", "manifests": "s3://iam-sets/manifests"}
    for number in range(1, len(statements) + 1):
        with pytest.raises(SageMakerLineageError, match="AccessDenied"):
            SageMakerLineage(_session(cloud, outputs[f"Arn{number}"]), **place).record(_manifest(number))
    sagemaker = _session(cloud, outputs["Arn0"])
    recorded = SageMakerLineage(sagemaker, **place).record(_manifest(0))
    assert SageMakerLineage(sagemaker, **place).record(_manifest(0)).created == 0
    with pytest.raises(ClientError, match="AccessDenied"):
        sagemaker.delete_association(SourceArn=recorded.action, DestinationArn=recorded.training_set)
    hashed = "0" * 12
    # no build, one of another pipeline, and one of a pipeline with the same prefix in its name
    for name in ("deploy-1", f"build-price-{hashed}", f"build-weekly-demand-two-{hashed}"):
        with pytest.raises(ClientError, match="AccessDenied"):
            sagemaker.create_action(ActionName=name, Source={"SourceUri": "s3://a"}, ActionType="ModelDeployment")


def _add(made: Any, name: str, folder: Path) -> None:
    """Add a pipeline of the same endpoint."""
    RetrainingPipeline(
        made.stack,
        name.title(),
        business_unit=made.unit,
        registry=made.registry,
        endpoint=made.endpoint,
        name=name,
        training_set=TrainingSetSource.s3(bucket=made.unit.artifacts, prefix=f"exports/{name}", label="units"),
        training=TrainingJob(
            image=ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64),
            source=folder / "training",
            script="train.py",
            instance_type="ml.m5.large",
            max_runtime=cdk.Duration.hours(1),
        ),
        evaluation=EvaluationPlan(label="units", block="store", baselines=("price",)),
    )


@pytest.mark.parametrize("others", [(), ("weekly",), ("weekly", "monthly")])
def test_jobs_that_load_champions_read_those_of_every_pipeline(
    define: Callable[..., Any], tmp_path: Path, others: tuple[str, ...]
) -> None:
    """Evaluation and prediction roles get the policy, and no other; a single pipeline has none."""
    made = define()
    for name in others:
        _add(made, name, tmp_path)
    policies = {key: value for key, value in made.resources("AWS::IAM::ManagedPolicy").items() if "Champions" in key}
    names = ("forecast", *others)
    assert len(policies) == (len(names) if others else 0)
    ids = {"forecast": "Retraining", **{name: name.title() for name in others}}
    for name in names if others else ():
        ((key, _),) = ((key, value) for key, value in policies.items() if key.startswith(ids[name]))
        statements = str(policies[key]["PolicyDocument"]["Statement"])
        assert [other for other in names if f"models/demand-{other}/*" in statements] == [n for n in names if n != name]
        readers = [
            role
            for role, properties in made.resources("AWS::IAM::Role").items()
            if {"Ref": key} in properties.get("ManagedPolicyArns", ())
        ]
        assert sorted(role.removeprefix(ids[name]).rstrip("0123456789ABCDEF") for role in readers) == [
            "EvaluationRole",
            "PredictionRole",
        ]
