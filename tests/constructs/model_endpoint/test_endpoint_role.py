"""Permissions of an endpoint's models: the bucket of an asynchronous endpoint, and online features that they look up."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk.assertions import Template

from mlops_constructs import (
    BusinessUnit,
    EndpointCapacity,
    Entity,
    Feature,
    FeatureGroup,
    FeatureStore,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Scaling,
    ValidationError,
)
from mlops_runtime.features.lock_file import write_lock

CAPACITY = EndpointCapacity.instances("ml.m5.large", instance_count=2)


def _capacity(stack: cdk.Stack) -> EndpointCapacity:
    topic = sns.Topic.from_topic_arn(stack, "Topic", "arn:aws:sns:us-east-1:123456789012:answers")
    return EndpointCapacity.asynchronous(
        "ml.m5.large",
        instance_count=2,
        scaling=Scaling(min_capacity=0, max_capacity=4, target_backlog=5),
        success_topic=topic,
        error_topic=topic,
        retention=cdk.Duration.days(3),
    )


@pytest.fixture(scope="module")
def queued(serve: Callable[..., Any]) -> Any:
    """An asynchronous endpoint, and the role of a caller."""
    served = serve(_capacity)
    role = iam.Role(served.stack, "Caller", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    assert served.endpoint.grant_invoke_async(role).success
    return served


def test_requests_and_answers_expire(queued: Any) -> None:
    """Expiration follows the capacity's settings."""
    (bucket,) = (
        r["Properties"]
        for n, r in queued.template["Resources"].items()
        if n.startswith("EndpointExchange") and r["Type"] == "AWS::S3::Bucket"
    )
    assert {"ExpirationInDays": 3, "Status": "Enabled"} in bucket["LifecycleConfiguration"]["Rules"]


def test_the_models_role_reads_requests_and_writes_answers(queued: Any) -> None:
    """Grants no list and no delete; the topic is named once."""
    allowed = queued.allowed("EndpointRole")
    ends = {a: sorted(str(r["Fn::Join"][1][-1]) for r in rs) for a, rs in allowed.items() if a.startswith("s3:")}
    assert ends == {
        "s3:GetObject": ["/models/demand-forecast/*", "/requests/demand-forecast/*"],
        "s3:PutObject": ["/answers/demand-forecast/*", "/failures/demand-forecast/*"],
        "s3:AbortMultipartUpload": ["/answers/demand-forecast/*", "/failures/demand-forecast/*"],
    }
    assert allowed["sns:Publish"] == ["arn:aws:sns:us-east-1:123456789012:answers"]


def test_callers_leave_requests_and_fetch_answers(queued: Any) -> None:
    """Grants the call, the three prefixes with the right direction, and the key through S3 only."""
    (policy,) = (r["Properties"] for r in queued.all("AWS::IAM::Policy"))
    found = {str(s["Action"]): s for s in policy["PolicyDocument"]["Statement"]}
    assert "endpoint/demand-forecast" in str(found["sagemaker:InvokeEndpointAsync"]["Resource"])
    assert "/requests/demand-forecast/*" in str(found["s3:PutObject"]["Resource"])
    assert "/answers/demand-forecast/*" in str(found["s3:GetObject"]["Resource"])
    assert "/failures/demand-forecast/*" in str(found["s3:GetObject"]["Resource"])
    assert "kms:ViaService" in found["['kms:Decrypt', 'kms:GenerateDataKey']"]["Condition"]["StringEquals"]


def test_the_serving_spec_says_where_answers_go(queued: Any) -> None:
    """The Deploy machine renders the config with outputs, failures and topics."""
    spec = str(queued.one("Custom::MLOpsServingSpec")["Spec"])
    assert "answers/demand-forecast" in spec
    assert "failures/demand-forecast" in spec
    assert "BACKLOG_PER_INSTANCE" in spec


def test_the_deploy_machine_may_scale_and_wake(queued: Any) -> None:
    """Grants registration, policies and the wake-up alarm, with a condition on the dimension."""
    allowed = queued.allowed("Deploy")
    assert {"application-autoscaling:RegisterScalableTarget", "application-autoscaling:PutScalingPolicy"} <= set(
        allowed
    )
    assert "application-autoscaling:PutScheduledAction" not in allowed
    assert "scaling-*" in str(allowed["cloudwatch:PutMetricAlarm"])


def test_fails_when_the_wrong_call_is_granted(queued: Any, serve: Callable[..., Any]) -> None:
    """Asynchronous endpoints reject direct invocation grants and vice versa."""
    role = iam.Role.from_role_name(queued.stack, "Known", "known")
    with pytest.raises(ValidationError, match="takes no direct calls; use grant_invoke_async"):
        queued.endpoint.grant_invoke(role)
    direct = serve(EndpointCapacity.instances("ml.m5.large", instance_count=1)).endpoint
    with pytest.raises(ValidationError, match="only an asynchronous endpoint takes requests from S3"):
        direct.grant_invoke_async(role)


def test_an_endpoint_defined_elsewhere_grants_both_calls() -> None:
    """The import does not know the kind of the endpoint."""
    stack = cdk.Stack(cdk.App(), "S")
    endpoint = ModelEndpoint.from_endpoint_name(stack, "Endpoint", endpoint_name="demand-forecast", variant="Blue")
    role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    assert endpoint.grant_invoke(role).success
    assert endpoint.grant_invoke_async(role).success
    assert endpoint.variant == "Blue"


def _feature_group(name: str) -> FeatureGroup:
    return FeatureGroup(
        name=name,
        entities=(Entity("store_id", "string", "store"),),
        features=(Feature("on_hand", "double", "units"),),
        owner="logistics",
        description=name,
    )


def _template_with_features(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    groups = (_feature_group("stock"), _feature_group("sales"))
    write_lock(groups, tmp_path / "features.lock.json")
    stack = cdk.Stack(cdk.App(context={"@aws-cdk/aws-iam:minimizePolicies": True}), "Demand")
    unit = BusinessUnit(stack, "Unit", name="demand")
    store = FeatureStore(
        stack,
        "Features",
        business_unit=unit,
        groups=groups,
        lock_file=tmp_path / "features.lock.json",
        online=True,
    )
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="forecast")
    ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=registry,
        name="forecast",
        image=ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64),
        capacity=CAPACITY,
        features=store.online_features(groups=groups[:1]),
        **changes,
    )
    return dict(Template.from_stack(stack).to_json())


def test_containers_know_the_table_and_read_the_groups_named(tmp_path: Path) -> None:
    """Grants only BatchGetItem on their keys besides the model role's permissions; isolation is off."""
    resources = _template_with_features(tmp_path)["Resources"].items()
    (statements,) = (
        r["Properties"]["PolicyDocument"]["Statement"]
        for name, r in resources
        if r["Type"] == "AWS::IAM::ManagedPolicy" and name.startswith("EndpointRole")
    )
    read = [s for s in statements if "dynamodb" in json.dumps(s["Action"])]
    assert [(s["Action"], s["Condition"]) for s in read] == [
        ("dynamodb:BatchGetItem", {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["stock_v1/*"]}})
    ]
    text = json.dumps([r for _, r in resources if "mlops.serving-spec/1" in json.dumps(r)])
    assert "online_table" in text
    assert 'network_isolation\\":false' in text.replace(" ", "")


def test_isolated_containers_cannot_look_up(tmp_path: Path) -> None:
    """The error names the argument to omit."""
    with pytest.raises(ValidationError, match="prevents containers from reading the online table"):
        _template_with_features(tmp_path, network_isolation=True)
