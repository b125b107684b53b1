"""A small AWS in process for rollout tests: moto's SageMaker, S3, DynamoDB, CloudWatch and Step Functions."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3
from botocore.exceptions import ClientError
from moto import mock_aws
from tests.signing import KEY, SigningKms

from mlops_runtime.business_unit.automation import Automation
from mlops_runtime.contracts import canonical_json, content_hash, to_dict
from mlops_runtime.contracts.model import ModelPackageSpec
from mlops_runtime.contracts.rollout import (
    SEAL,
    AuditRecord,
    CaptureSpec,
    DeployReason,
    DeployRequest,
    LivePointer,
    LockRow,
    Outcome,
    RolloutSpec,
    ServingSpec,
    spec_key,
)
from mlops_runtime.contracts.unit_entries import FreezeSpec
from mlops_runtime.registry.model_package import package_request, read_package
from mlops_runtime.registry.package_approval import ApprovalRule, approval_description
from mlops_runtime.rollout.archive_signatures import SignedArchives
from mlops_runtime.rollout.audit_chain import AuditChain, Move
from mlops_runtime.rollout.deploy_plan import Facts
from mlops_runtime.rollout.execution_names import ENDPOINT_TAG
from mlops_runtime.rollout.live_fleet import read_description
from mlops_runtime.rollout.outcome_record import Claim, record
from mlops_runtime.rollout.preflight_facts import Sources
from mlops_runtime.rollout.rollout_table import RolloutTable

NOW = datetime(2017, 8, 1, 9, tzinfo=UTC)
ENDPOINT, VARIANT = "demand-forecast", "AllTraffic"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:Deploy"
EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Deploy:one"
ROLE = "arn:aws:iam::123456789012:role/serving"

SPEC = ServingSpec(
    endpoint=ENDPOINT,
    variant=VARIANT,
    instance_type="ml.m5.large",
    instance_count=2,
    execution_role=ROLE,
    subnets=("subnet-1",),
    security_groups=("sg-1",),
    rollout=RolloutSpec(kind="CANARY", bake=600, maximum=3600, percent=50, min_invocations=20),
    kms_key="arn:aws:kms:us-east-1:123456789012:key/1",
    capture=CaptureSpec(percent=100, destination="s3://capture/capture"),
    tags={"mlops:unit": "demand", "mlops:owner": "planning"},
)
PACKAGE = ModelPackageSpec(
    group=ENDPOINT,
    image="123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "1" * 64,
    artifact_uri="s3://artifacts/models/demand-forecast/job/output/model.tar.gz",
    artifact_sha256="a" * 64,
    model_sha256="b" * 64,
    training_set_id="c" * 64,
    execution="arn:aws:states:us-east-1:123456789012:execution:Retrain:one",
    baseline_uri="s3://artifacts/evaluations/demand-forecast/one/baseline.json",
    evaluation_uri="s3://artifacts/evaluations/demand-forecast/one/evaluation.json",
    baseline_sha256="8" * 64,
)


# variables that constructs set for functions
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "ENDPOINT": "demand-forecast",
    "PIPELINE": "demand-forecast",
    "MODEL_PACKAGE_GROUP": "demand-forecast",
    "ROLLOUT_TABLE": "rollout",
    "RETRAINING_TABLE": "retraining",
    "ARTIFACTS_BUCKET": "artifacts",
    "AUDIT_BUCKET": "audit",
    "HEADS_BUCKET": "heads",
    "SIGNING_KEY": KEY,
    "DEPLOY_MACHINE_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:Deploy",
    "RETRAIN_MACHINE_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:Retrain",
    "COOL_DOWN_SECONDS": "86400",
    "DAILY_BUDGET": "2",
    "ALARM_NAMES": "demand-drift,demand-wape",
    "GATE": '{"resamples": 200}',
    "UNIT": "demand",
    "AUTOMATION_TABLE": "automation",
    "FREEZE": '{"windows": []}',
    "APPROVAL": '{"approvers": ["arn:aws:iam::123456789012:role/Approver"]}',
    "PROBATION_ALARMS": "refunds,demand-forecast-errors",
}
SIGNING_KMS = SigningKms()
APPROVER = "arn:aws:sts::123456789012:assumed-role/Approver/ann"


@cache
def client(service: str) -> Any:
    """Return a client; creating one takes longer than a test, and moto serves it in every world."""
    made = boto3.client(service, region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing")
    if service == "sagemaker":
        with_approver(made)
    return made


def with_approver(sagemaker: Any) -> None:
    """Add the approver and the approved content to a client's responses, as SageMaker does and moto does not."""

    def add(parsed: dict[str, Any], **_: Any) -> None:
        if "ModelPackageArn" in parsed:
            bound = parsed.get("CustomerMetadataProperties", {}).get("container_sha256", "0" * 64)
            parsed.setdefault("ApprovalDescription", approval_description("better", bound=bound))
            parsed["LastModifiedBy"] = {"IamIdentity": {"Arn": APPROVER}}

    sagemaker.meta.events.register("after-call.sagemaker.DescribeModelPackage", add)


class AtomicWrites:
    """A DynamoDB client with atomic conditional writes, which moto lacks between threads."""

    def __init__(self, dynamodb: Any) -> None:
        self._dynamodb, self._lock = dynamodb, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dynamodb, name)

    def update_item(self, **arguments: Any) -> Any:
        """Call UpdateItem, one at a time."""
        with self._lock:
            return self._dynamodb.update_item(**arguments)


class World:
    """Clients, buckets and a table, with operations of other parts of the system."""

    def __init__(self) -> None:
        self.sagemaker: Any = client("sagemaker")
        self.s3: Any = client("s3")
        self.dynamodb: Any = AtomicWrites(client("dynamodb"))
        self.cloudwatch: Any = client("cloudwatch")
        self.stepfunctions: Any = client("stepfunctions")
        self.ecr: Any = client("ecr")
        self.kms = SIGNING_KMS
        for bucket in ("artifacts", "audit", "heads"):
            self.s3.create_bucket(Bucket=bucket)
        self._table("rollout", "endpoint")
        self._table("automation", "endpoint")
        self._table("retraining", "pipeline", "item")
        self.sagemaker.create_model_package_group(ModelPackageGroupName=ENDPOINT)
        for name in ("Deploy", "Retrain"):
            definition = '{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 600, "End": true}}}'
            role = "arn:aws:iam::123456789012:role/machine"
            self.stepfunctions.create_state_machine(name=name, definition=definition, roleArn=role)
        self.table = RolloutTable(self.dynamodb, "rollout", ENDPOINT)
        self.chain = AuditChain(s3=self.s3, bucket="audit", table=self.table, heads="heads", sealer=SIGNING_KMS.sealer)
        self.sources = Sources(
            sagemaker=self.sagemaker,
            cloudwatch=self.cloudwatch,
            s3=self.s3,
            table=self.table,
            group=ENDPOINT,
            bucket="artifacts",
            audit_bucket="audit",
            automation=Automation(
                freeze=FreezeSpec(), table=RolloutTable(self.dynamodb, "automation", ENVIRONMENT["UNIT"])
            ),
            rule=ApprovalRule.from_environment(ENVIRONMENT),
            archives=SignedArchives(s3=self.s3, bucket="artifacts", sealer=SIGNING_KMS.sealer),
        )

    def package(self, approval: str = "Approved", spec: ModelPackageSpec = PACKAGE, **changes: Any) -> str:
        """Register a package."""
        request = package_request(spec, approval=approval) | changes
        return str(self.sagemaker.create_model_package(**request)["ModelPackageArn"])

    def version(self, name: str, package: str, count: int = 2, instance_type: str = "ml.m5.large") -> None:
        """Create a model and an endpoint config of one name."""
        tags = [{"Key": ENDPOINT_TAG, "Value": ENDPOINT}]
        self.sagemaker.create_model(
            ModelName=name, ExecutionRoleArn=ROLE, Containers=[{"ModelPackageName": package}], Tags=tags
        )
        variant = {
            "VariantName": VARIANT,
            "ModelName": name,
            "InstanceType": instance_type,
            "InitialInstanceCount": count,
            "InitialVariantWeight": 1.0,
        }
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], Tags=tags)

    def serve(self, config: str) -> None:
        """Make the endpoint serve a config, as after a deployment."""
        try:
            self.sagemaker.delete_endpoint(EndpointName=ENDPOINT)
        except ClientError as error:
            assert "Could not find" in str(error)
        self.sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=config)

    def store(self, spec: ServingSpec = SPEC) -> str:
        """Store the desired spec."""
        key = spec_key(spec.endpoint, content_hash(spec))
        self.s3.put_object(Bucket="artifacts", Key=key, Body=canonical_json(spec))
        self.table.set_desired(f"s3://artifacts/{key}")
        return f"s3://artifacts/{key}"

    def lock(self, execution: str = EXECUTION) -> None:
        """Take the rollout lock like the Deploy machine."""
        self.dynamodb.update_item(
            TableName="rollout",
            Key={"endpoint": {"S": ENDPOINT}},
            UpdateExpression="SET #owner = :me, lock_until = :until, locked_at = if_not_exists(locked_at, :at)",
            ConditionExpression="attribute_not_exists(#owner) OR lock_until < :now OR #owner = :me",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={
                ":me": {"S": execution},
                ":at": {"S": NOW.isoformat().replace("+00:00", "Z")},
                ":until": {"N": str(int(NOW.timestamp()) + 3600)},
                ":now": {"N": str(int(NOW.timestamp()) + 7200)},
            },
        )

    def promote(self, package: str, *, golden_sha256: str | None = None, **changes: Any) -> AuditRecord:
        """Record a package's container as promoted, as by an earlier rollout."""
        described = self.sagemaker.describe_model_package(ModelPackageName=package)
        held = read_package(described).container_sha256

        def follow(row: LockRow) -> Move:
            made = record_of(
                row.audit_sequence + 1,
                row.audit_head,
                candidate_package=package,
                serving_package=package,
                container_sha256=held,
                golden_sha256=golden_sha256,
                **changes,
            )
            return Move(record=made)

        written = self.chain.append(follow)
        assert isinstance(written, AuditRecord)
        return written

    def point(self, pointer: LivePointer) -> None:
        """Write the live pointer, as by an earlier rollout."""
        self.dynamodb.update_item(
            TableName="rollout",
            Key={"endpoint": {"S": ENDPOINT}},
            UpdateExpression="SET live = :live",
            ExpressionAttributeValues={":live": {"S": canonical_json(pointer).decode()}},
        )

    def pointer(self, config: str, package: str, spec: ServingSpec = SPEC, **changes: Any) -> LivePointer:
        """Return the pointer to a config."""
        described = read_description(self.sagemaker, package)
        made = LivePointer(
            endpoint=ENDPOINT,
            config=config,
            model=config,
            model_package_arn=package,
            model_sha256=PACKAGE.model_sha256,
            artifact_uri=PACKAGE.artifact_uri,
            baseline_uri=PACKAGE.baseline_uri,
            baseline_sha256=PACKAGE.baseline_sha256,
            evaluation_uri=PACKAGE.evaluation_uri,
            training_set_id=PACKAGE.training_set_id,
            spec_sha256=content_hash(spec),
            spec_uri="s3://artifacts/" + spec_key(spec.endpoint, content_hash(spec)),
            execution="earlier",
            since="2017-07-01T00:00:00Z",
            artifact_sha256=PACKAGE.artifact_sha256,
            container_sha256="f" * 64 if described is None else read_package(described).container_sha256,
        )
        return replace(made, **changes)

    def request(self, reason: str, package: str | None = None, alarm: str | None = None) -> DeployRequest:
        """Return a request of the Deploy machine."""
        return DeployRequest(
            reason=DeployReason(reason),
            requested_by="someone",
            requested_at=str(to_dict(NOW)),
            model_package_arn=package,
            alarm=alarm,
        )

    def facts(self, request: DeployRequest) -> Facts:
        """Return the facts of a request."""
        return self.sources.facts(request, execution=EXECUTION, now=NOW)

    def alarm(self, name: str, state: str) -> None:
        """Create an alarm in a state."""
        self.cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="AWS/SageMaker",
            MetricName="M",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1.0,
            ComparisonOperator="GreaterThanThreshold",
        )
        self.cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")

    def objects(self) -> dict[str, bytes]:
        """Return all audit records by key, without their seals."""
        found = self.contents("audit").items()
        return {key: content for key, content in found if key.startswith("audit/") and not key.endswith(SEAL)}

    def contents(self, bucket: str) -> dict[str, bytes]:
        """Return all objects of a bucket."""
        contents = self.s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {e["Key"]: self.s3.get_object(Bucket=bucket, Key=e["Key"])["Body"].read() for e in contents}

    def problems(self) -> list[str]:
        """Return the problems that verify reports with the unit's public key."""
        return self.chain.problems(self.kms.public.is_signed)

    def executions(self, name: str = "Deploy") -> list[str]:
        """Return the names of all executions of a machine."""
        machine = f"arn:aws:states:us-east-1:123456789012:stateMachine:{name}"
        return [e["name"] for e in self.stepfunctions.list_executions(stateMachineArn=machine)["executions"]]

    def _table(self, name: str, *keys: str) -> None:
        kinds = ("HASH", "RANGE")
        self.dynamodb.create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, kinds, strict=False)],
            BillingMode="PAY_PER_REQUEST",
        )


@contextmanager
def world() -> Iterator[World]:
    """Return a new world."""
    with mock_aws():
        yield World()


def claim_of(world: World, config: str, package: str) -> Claim:
    """Return the claim of execution ``one`` that it promoted a config."""
    plan = {
        "config_name": config,
        "previous_config": "demand-forecast-00000001",
        "candidate_package": package,
        "live": to_dict(world.pointer(config, package)),
    }
    return Claim(outcome=Outcome.PROMOTED, reason="evidence", execution=EXECUTION, at=NOW, plan=plan)


def record_in(world: World, claim: Claim) -> dict[str, Any]:
    """Record a claim in the world's chain."""
    return record(claim, sagemaker=world.sagemaker, chain=world.chain)


def record_of(sequence: int, previous: str, **changes: Any) -> AuditRecord:
    """Return a record for a chain."""
    made = AuditRecord(
        endpoint=ENDPOINT,
        sequence=sequence,
        previous=previous,
        outcome=Outcome.PROMOTED,
        reason="r",
        execution=f"execution-{sequence}",
        at="2017-08-01T09:00:00Z",
        requested_by="someone",
    )
    return replace(made, **changes)
