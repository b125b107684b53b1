"""Model endpoints in a template, and their default rollout policy."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Match, Template

from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    EndpointCapacity,
    EndpointVariant,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Ownership,
    Profile,
    RequestSchema,
    RolloutKind,
    RolloutPolicy,
    Scaling,
    ValidationError,
    off_hours,
)
from mlops_constructs.model_endpoint.model_endpoint import default_policy
from mlops_local.alarm_evaluation import problems
from mlops_runtime.contracts import from_dict
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.serving import RequestPromise
from mlops_runtime.inference_api.request_promise import request_schema

TWO = EndpointCapacity.instances("ml.m5.large", instance_count=2)


_BAKE = cdk.Duration.minutes(10)
_CANARY = RolloutPolicy.canary(percent=50, bake=_BAKE)
_SERVERLESS = EndpointCapacity.serverless(memory=cdk.Size.gibibytes(1), max_concurrency=5)
_QUEUED = EndpointCapacity.asynchronous("ml.m5.large", instance_count=2)
_NIGHTLY = EndpointCapacity.instances(
    "ml.m5.large",
    instance_count=4,
    scaling=Scaling(
        min_capacity=2, max_capacity=8, target_invocations=600, schedules=off_hours(min_capacity=2, max_capacity=8)
    ),
)
_VARIED = EndpointCapacity.instances(
    "ml.m5.large",
    instance_count=2,
    variants=[EndpointVariant(name="Arm", instance_type="ml.c7g.large", instance_count=2, weight=0.2)],
)


@pytest.mark.parametrize(
    "capacity",
    [
        EndpointCapacity.instances("ml.m5.large", instance_count=1),
        EndpointCapacity.instances(
            "ml.m5.large", instance_count=4, scaling=Scaling(min_capacity=1, max_capacity=4, target_invocations=60)
        ),
        EndpointCapacity.serverless(memory=cdk.Size.gibibytes(2), max_concurrency=2),
    ],
    ids=["one instance", "scaled in to one", "serverless"],
)
def test_what_cannot_be_sliced_takes_over_all_at_once(capacity: EndpointCapacity) -> None:
    """A canary takes whole instances of the smallest possible fleet."""
    assert default_policy(capacity, Ownership.PIPELINE).kind is RolloutKind.ALL_AT_ONCE


@pytest.mark.parametrize(("ownership", "invocations"), [(Ownership.PIPELINE, 20), (Ownership.CLOUDFORMATION, 0)])
def test_two_instances_take_over_by_canary(ownership: Ownership, invocations: int) -> None:
    """Only the Deploy machine can wait for evidence."""
    policy = default_policy(TWO, ownership)
    assert (policy.kind, policy.percent, policy.min_invocations) == (RolloutKind.CANARY, 50, invocations)


def test_captures_are_encrypted_announced_and_expire(demand: Any):
    """The capture bucket sends object events to the default bus, and keeps objects for 90 days."""
    bucket = demand.one("AWS::S3::Bucket", "EndpointCapture")
    assert bucket["NotificationConfiguration"] == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    assert {"ExpirationInDays": 90, "Status": "Enabled"} in bucket["LifecycleConfiguration"]["Rules"]
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"


@pytest.mark.parametrize(
    ("capacity", "changes", "written", "serves"),
    [
        (TWO, {"capture": DataCapture(sampling_percent=10)}, "EndpointCapture", "Custom::MLOpsServingSpec"),
        (_QUEUED, {}, "EndpointExchange", "Custom::MLOpsServingSpec"),
        (
            TWO,
            {
                "capture": DataCapture(sampling_percent=10),
                "ownership": Ownership.CLOUDFORMATION,
                "model_package_arn": "arn:aws:sagemaker:us-east-1:000000000000:model-package/demand-forecast/1",
            },
            "EndpointCapture",
            "AWS::SageMaker::Endpoint",
        ),
    ],
)
def test_what_serves_goes_before_its_buckets_are_emptied(
    serve: Any, capacity: EndpointCapacity, changes: dict[str, Any], written: str, serves: str
) -> None:
    """A late call would write an object that blocks the bucket's deletion."""
    resources = serve(capacity, profile=Profile.DEVELOPMENT, **changes).template["Resources"]
    (sweep,) = (
        name
        for name, resource in resources.items()
        if resource["Type"] == "Custom::BucketSweep" and name.startswith(written)
    )
    (serving,) = (resource for resource in resources.values() if resource["Type"] == serves)
    assert sweep in serving["DependsOn"]


def test_the_models_role_reads_its_models_and_writes_its_captures(demand: Any):
    """Grants no other prefix, no list and no delete."""
    found = {}
    for statement in demand.statements("EndpointRole"):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        found.update(dict.fromkeys(actions, statement["Resource"]))
    s3 = {action: resource["Fn::Join"][1][-1] for action, resource in found.items() if action.startswith("s3:")}
    assert s3 == {"s3:GetObject": "/models/demand-forecast/*", "s3:PutObject": "/capture/demand-forecast/*"}
    assert not [action for action in found if action.startswith(("sagemaker:", "iam:", "dynamodb:"))]


def test_only_sagemaker_of_the_account_assumes_the_role(demand: Any):
    """Prevents the confused-deputy problem."""
    (statement,) = next(
        r["AssumeRolePolicyDocument"]["Statement"]
        for name, r in demand.resources("AWS::IAM::Role").items()
        if name.startswith("EndpointRole") and "Rollout" not in name
    )
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}


def test_the_alarm_does_not_ring_in_silence_and_tells_the_topic(demand: Any):
    """Missing data mean no calls and are not breaching."""
    alarm = demand.one("AWS::CloudWatch::Alarm", "EndpointErrorsAlarm")
    assert (alarm["TreatMissingData"], alarm["Threshold"]) == ("notBreaching", 1)
    assert len(alarm["AlarmActions"]) == 1
    assert problems(alarm["Metrics"]) == []
    stats = {query["Id"]: query["MetricStat"] for query in alarm["Metrics"] if "MetricStat" in query}
    assert {name: stat["Stat"] for name, stat in stats.items()} == {"errors": "Sum", "calls": "SampleCount"}
    for stat in stats.values():
        assert stat["Metric"]["MetricName"] == "Invocation5XXErrors"
        assert {each["Name"] for each in stat["Metric"]["Dimensions"]} == {"EndpointName", "VariantName"}


def test_one_instance_moves_all_at_once(define: Callable[..., Any]):
    """A canary needs two instances, so one instance shifts all at once by default."""
    made = define(endpoint={"capacity": EndpointCapacity.instances("ml.m5.large", instance_count=1)})
    assert made.endpoint._policy.kind is RolloutKind.ALL_AT_ONCE


def test_grant_invoke_is_one_action_on_one_endpoint():
    """The caller's role gets one action, also for an endpoint of another stack."""
    stack = cdk.Stack(cdk.App(), "S")
    endpoint = ModelEndpoint.from_endpoint_name(stack, "Endpoint", endpoint_name="demand-forecast")
    role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    assert endpoint.grant_invoke(role).success
    Template.from_stack(stack).has_resource_properties(
        "AWS::IAM::Policy",
        {
            "PolicyDocument": {
                "Statement": [
                    {
                        "Action": "sagemaker:InvokeEndpoint",
                        "Effect": "Allow",
                        "Resource": {"Fn::Join": ["", Match.array_with([":endpoint/demand-forecast"])]},
                    }
                ]
            }
        },
    )


def test_metrics_carry_sagemakers_names(demand: Any):
    """Namespace, dimensions and statistic are SageMaker's."""
    metric = demand.endpoint.metric_model_latency(period=cdk.Duration.minutes(1))
    assert (metric.namespace, metric.metric_name, metric.statistic) == ("AWS/SageMaker", "ModelLatency", "p95")
    assert metric.dimensions == {"EndpointName": "demand-forecast", "VariantName": "AllTraffic"}
    assert demand.endpoint.metric_invocations(statistic="Average").statistic == "Average"
    assert demand.endpoint.metric_invocation_5xx_errors().statistic == "Sum"


@pytest.mark.parametrize("name", ["F", "Forecast", "-a", "a" * 21])
def test_fails_when_the_name_is_not_possible(define: Callable[..., Any], name: str):
    """The name is part of names of configs and jobs."""
    with pytest.raises(ValidationError, match="name must be 2 to 20 lower-case letters"):
        define(endpoint={"name": name})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EndpointCapacity.instances("m5.large", instance_count=0), "instance_type must be a type such as"),
        (lambda: EndpointCapacity.instances("ml.m5.large", instance_count=0), "count must be from 1 to 1000, got 0"),
        (lambda: DataCapture(sampling_percent=0), "percent must be from 1 to 100, got 0; leave capture out"),
        (lambda: DataCapture(sampling_percent=1, retention=cdk.Duration.hours(1)), "retention must be from"),
    ],
)
def test_fails_when_a_value_is_not_possible(make: Callable[[], object], message: str):
    """Value classes reject impossible endpoints."""
    with pytest.raises(ValidationError, match=message):
        make()


def _spec(served: Any) -> dict[str, Any]:
    text = served.one("Custom::MLOpsServingSpec")["Spec"]
    joined = (
        text if isinstance(text, str) else "".join(p if isinstance(p, str) else "token" for p in text["Fn::Join"][1])
    )
    spec: dict[str, Any] = json.loads(joined)
    return spec


def test_several_scaled_fleets_are_in_the_serving_spec(serve: Callable[..., Any]):
    """The Deploy machine gets variants, bounds and schedules, and may create configs of these instance types only."""
    served = serve(
        EndpointCapacity.instances(
            "ml.m5.large",
            instance_count=2,
            scaling=Scaling(
                min_capacity=2,
                max_capacity=4,
                target_invocations=600,
                schedules=off_hours(min_capacity=2, max_capacity=4, off_min_capacity=2, off_max_capacity=2),
            ),
            variants=[EndpointVariant(name="Arm", instance_type="ml.c7g.large", instance_count=2, weight=0.2)],
        )
    )
    spec = _spec(served)
    assert spec["variants"] == [{"name": "Arm", "instance_type": "ml.c7g.large", "instance_count": 2, "weight": 0.2}]
    assert [s["name"] for s in spec["scaling"]["schedules"]] == ["OffHoursStart", "OffHoursEnd"]
    (config,) = (s for s in served.statements("Deploy") if s["Action"] == "sagemaker:CreateEndpointConfig")
    assert config["Condition"]["ForAllValues:StringEquals"] == {
        "sagemaker:InstanceTypes": ["ml.c7g.large", "ml.m5.large"]
    }
    assert config["Condition"]["Null"] == {"sagemaker:InstanceTypes": "false"}
    # it has no monitor, and the console reports that
    (entry,) = (
        each["Properties"]["Value"]
        for each in served.all("AWS::SSM::Parameter")
        if "/endpoint/" in json.dumps(each["Properties"]["Name"])
    )
    assert '"is_monitored":false' in json.dumps(entry).replace("\\", "")


def test_serverless_asks_for_nothing_that_it_does_not_have(serve: Callable[..., Any]):
    """Rejects network, volume key, isolation and scaling together, and grants none of them."""
    served = serve(EndpointCapacity.serverless(memory=cdk.Size.gibibytes(1), max_concurrency=5))
    spec = _spec(served)
    assert spec["serverless"] == {"memory_mb": 1024, "max_concurrency": 5}
    assert (spec["subnets"], spec["security_groups"], spec["network_isolation"]) == ([], [], False)
    assert (spec["instance_type"], spec["instance_count"], spec["rollout"]["kind"]) == ("", 0, "ALL_AT_ONCE")
    assert not {"kms_key", "scaling", "capture"} & set(spec)
    allowed = served.allowed("Deploy")
    assert not [action for action in allowed if action.startswith(("application-autoscaling:", "iam:Create"))]
    assert "kms:CreateGrant" not in allowed
    (config,) = (s for s in served.statements("Deploy") if s["Action"] == "sagemaker:CreateEndpointConfig")
    assert config["Condition"] == {"Null": {"sagemaker:InstanceTypes": "true"}}


def test_local_storage_goes_without_a_key(serve: Callable[..., Any]):
    """Local instance storage is encrypted without a key; naming one is an error."""
    capacity = EndpointCapacity.instances("ml.g5.xlarge", instance_count=2)
    assert "kms_key" not in _spec(serve(capacity))
    assert "kms_key" not in _spec(
        serve(EndpointCapacity.instances("ml.m5.large", instance_count=2), encrypt_volumes=False)
    )
    with pytest.raises(ValidationError, match=r"kms_key cannot be used with ml\.g5"):
        serve(capacity, encrypt_volumes=True)


def test_a_promise_is_in_the_serving_spec_and_lets_preflight_read_evaluations(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    """Adds the schema once however often it is given; without one preflight reads no evaluations."""
    signature = ModelSignature(inputs=(SignatureColumn(name="price", type="number"),), output="units")
    (tmp_path / "units.schema.json").write_text(json.dumps(request_schema(signature)))
    request = RequestSchema.from_file(tmp_path / "units.schema.json")
    plain, promised = (serve(EndpointCapacity.instances("ml.m5.large", instance_count=2)) for _ in range(2))
    for _ in range(2):
        promised.endpoint.keep_promise(request)

    assert "promises" not in _spec(plain)
    (promise,) = _spec(promised)["promises"]
    assert from_dict(RequestPromise, promise) == request.promise
    read = promised.allowed("Evaluations")["s3:GetObject"]
    assert [each["Fn::Join"][1][-1] for each in read] == ["/evaluations/demand-forecast/*"]
    assert plain.allowed("Evaluations") == {}


def test_a_stack_that_names_its_model_compares_none(serve: Callable[..., Any], tmp_path: Path) -> None:
    """A stack-owned model has no Deploy machine."""
    signature = ModelSignature(inputs=(SignatureColumn(name="price", type="number"),), output="units")
    (tmp_path / "units.schema.json").write_text(json.dumps(request_schema(signature)))
    package = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/1"
    owned = serve(
        EndpointCapacity.instances("ml.m5.large", instance_count=2),
        ownership=Ownership.CLOUDFORMATION,
        model_package_arn=package,
    )

    with pytest.raises(ValidationError, match="an endpoint with ownership CLOUDFORMATION has no rollout"):
        owned.endpoint.keep_promise(RequestSchema.from_file(tmp_path / "units.schema.json"))


def test_isolation_can_be_switched_off(serve: Callable[..., Any]):
    """The Deploy machine may then create only models without isolation."""
    served = serve(EndpointCapacity.instances("ml.m5.large", instance_count=2), network_isolation=False)
    assert _spec(served)["network_isolation"] is False
    (model,) = (s for s in served.statements("Deploy") if s["Action"] == "sagemaker:CreateModel")
    assert model["Condition"]["Bool"] == {"sagemaker:NetworkIsolation": "false"}


@pytest.mark.parametrize(
    ("capacity", "changes", "message"),
    [
        (_SERVERLESS, {"capture": DataCapture(sampling_percent=10)}, "does not support capture"),
        (_SERVERLESS, {"network_isolation": True}, "does not support network_isolation"),
        (_SERVERLESS, {"encrypt_volumes": True}, "kms_key encrypts the volumes of instances"),
        (_SERVERLESS, {"rollout": _CANARY}, "deployment guardrails do not work for serverless endpoints"),
        (_NIGHTLY, {"rollout": _CANARY}, "may scale to 1 instances, of which rollout.percent 50 is less than one"),
        (_QUEUED, {"capture": DataCapture(sampling_percent=10)}, "documented for real-time endpoints only"),
        (_QUEUED, {"rollout": _CANARY}, "does not publish Invocations, so they cannot be evidence"),
        (
            EndpointCapacity.instances("ml.inf1.xlarge", instance_count=2),
            {"rollout": _CANARY},
            "excluded from deployment guardrails",
        ),
        (_VARIED, {"rollout": RolloutPolicy.rolling(batch_percent=50, bake=_BAKE)}, "rolling rollouts are excluded"),
    ],
)
def test_fails_when_capacity_and_the_rest_cannot_stand_together(
    serve: Callable[..., Any], capacity: EndpointCapacity, changes: dict[str, Any], message: str
):
    """Rejects at synthesis what AWS rejects or ignores."""
    with pytest.raises(ValidationError, match=message):
        serve(capacity, **changes)


@pytest.mark.parametrize(
    ("capacity", "ownership", "kind", "evidence"),
    [
        (EndpointCapacity.instances("ml.m5.large", instance_count=2), Ownership.PIPELINE, "CANARY", 20),
        (EndpointCapacity.instances("ml.m5.large", instance_count=2), Ownership.CLOUDFORMATION, "CANARY", 0),
        (EndpointCapacity.instances("ml.m5.large", instance_count=1), Ownership.PIPELINE, "ALL_AT_ONCE", 0),
        (EndpointCapacity.instances("ml.inf1.xlarge", instance_count=2), Ownership.PIPELINE, "ALL_AT_ONCE", 0),
        (_NIGHTLY, Ownership.PIPELINE, "ALL_AT_ONCE", 0),
        (_QUEUED, Ownership.PIPELINE, "CANARY", 0),
        (_SERVERLESS, Ownership.PIPELINE, "ALL_AT_ONCE", 0),
    ],
)
def test_the_default_policy_is_what_the_capacity_can(
    capacity: EndpointCapacity, ownership: Ownership, kind: str, evidence: int
):
    """The default policy is the most careful one of SageMaker for the capacity."""
    spec = default_policy(capacity, ownership).to_spec()
    assert (spec.kind, spec.min_invocations) == (kind, evidence)


@pytest.mark.parametrize("capacity", [_SERVERLESS, EndpointCapacity.instances("ml.m5.large", instance_count=2)])
def test_pickles_need_isolation(capacity: EndpointCapacity) -> None:
    """Pickles may run any code: their registry allows no endpoint with a network."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand")
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", trust=("pickle", "data"))
    image = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)
    define = partial(
        ModelEndpoint, stack, business_unit=unit, registry=registry, name="forecast", image=image, capacity=capacity
    )
    with pytest.raises(
        ValidationError, match=r"demand-forecast allows pickles, .* network_isolation must be on, got False"
    ):
        define("Networked", **({} if capacity is _SERVERLESS else {"network_isolation": False}))
    if capacity is not _SERVERLESS:
        define("Isolated")
