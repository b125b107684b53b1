"""Endpoints owned by the stack: their CloudFormation resources and limitations."""

from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import cdk_nag
import pytest
from aws_cdk.assertions import Annotations, Match

from mlops_constructs import (
    DataCapture,
    EndpointCapacity,
    EndpointVariant,
    Ownership,
    RolloutChecks,
    RolloutPolicy,
    Scaling,
    ValidationError,
    off_hours,
)
from mlops_constructs.model_endpoint.owned_endpoint import machine_only_problems
from mlops_local.alarm_evaluation import problems
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.contracts.serving import GoldenSpec, MetricRule, ShadowSpec
from mlops_runtime.rollout.fleet_alarms import WORSE

PACKAGE = "arn:aws:sagemaker:us-east-1:123456789012:model-package/demand-forecast/7"
OWNED = {"ownership": Ownership.CLOUDFORMATION, "model_package_arn": PACKAGE}
SCALED = Scaling(
    min_capacity=2,
    max_capacity=6,
    target_invocations=600,
    schedules=off_hours(
        min_capacity=2, max_capacity=6, off_min_capacity=2, off_max_capacity=2, time_zone="Europe/Berlin"
    ),
)
QUEUED = Scaling(min_capacity=0, max_capacity=4, target_backlog=5)


@pytest.fixture(scope="module")
def owned(serve: Callable[..., Any]) -> Any:
    """Two scaled fleets with capture."""
    variants = [EndpointVariant(name="Arm", instance_type="ml.c7g.large", instance_count=2, weight=0.25)]
    capacity = EndpointCapacity.instances("ml.m5.large", instance_count=2, scaling=SCALED, variants=variants)
    return serve(capacity, capture=DataCapture(sampling_percent=50), **OWNED)


@pytest.fixture(scope="module")
def queued(serve: Callable[..., Any]) -> Any:
    """An asynchronous fleet that scales to zero."""
    return serve(
        EndpointCapacity.asynchronous("ml.m5.large", instance_count=2, scaling=QUEUED, max_concurrency=4), **OWNED
    )


def test_model_and_config_have_no_names_of_their_own(owned: Any) -> None:
    """Fixed names would prevent CloudFormation from creating the replacement first."""
    model, config = owned.one("AWS::SageMaker::Model"), owned.one("AWS::SageMaker::EndpointConfig")
    assert "ModelName" not in model
    assert "EndpointConfigName" not in config
    assert model["Containers"] == [{"ModelPackageName": PACKAGE}]
    assert model["EnableNetworkIsolation"] is True
    assert model["VpcConfig"]["Subnets"]
    assert owned.one("AWS::SageMaker::Endpoint")["EndpointName"] == "demand-forecast"


def test_the_model_waits_for_the_policy_of_its_role(owned: Any) -> None:
    """Without the policy the image could not be pulled."""
    (model,) = owned.all("AWS::SageMaker::Model")
    assert [name for name in model["DependsOn"] if "RolePolicy" in name]


def test_the_config_is_what_the_serving_spec_says(owned: Any) -> None:
    """Has variants with weights, volume key, and capture of text."""
    config = owned.one("AWS::SageMaker::EndpointConfig")
    main, further = config["ProductionVariants"]
    assert (main["VariantName"], main["InstanceType"], main["InitialVariantWeight"]) == (
        "AllTraffic",
        "ml.m5.large",
        0.75,
    )
    assert (further["VariantName"], further["InitialInstanceCount"], further["InitialVariantWeight"]) == (
        "Arm",
        2,
        0.25,
    )
    assert "KmsKeyId" in config
    capture = config["DataCaptureConfig"]
    assert capture["InitialSamplingPercentage"] == 50
    assert capture["CaptureContentTypeHeader"] == {
        "CsvContentTypes": ["text/csv"],
        "JsonContentTypes": ["application/json"],
    }


def test_a_deployment_is_taken_back_by_alarms_and_keeps_the_scaled_fleet(owned: Any) -> None:
    """Uses a canary with rollback alarms; capture and weights come from the new config."""
    endpoint = owned.one("AWS::SageMaker::Endpoint")
    blue_green = endpoint["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert blue_green["TrafficRoutingConfiguration"] == {
        "Type": "CANARY",
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
        "WaitIntervalInSeconds": 600,
    }
    assert len(endpoint["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]) == 1
    assert endpoint["RetainAllVariantProperties"] is True
    assert endpoint["ExcludeRetainedVariantProperties"] == [
        {"VariantPropertyType": "DataCaptureConfig"},
        {"VariantPropertyType": "DesiredWeight"},
    ]


def test_sagemaker_may_read_the_alarms_that_take_back(owned: Any) -> None:
    """The role names the alarm by name: a reference would be circular, as the alarm needs the config and the config the role."""
    (resource,) = owned.allowed("EndpointRole")["cloudwatch:DescribeAlarms"]
    assert ":alarm:demand-forecast-deployment-errors" in str(resource)


def rollback_errors(made: Any) -> dict[str, Any]:
    """Return the alarm on errors that rolls a deployment back."""
    alarms = [each["Properties"] for each in made.all("AWS::CloudWatch::Alarm")]
    (found,) = [alarm for alarm in alarms if alarm.get("AlarmName") == "demand-forecast-deployment-errors"]
    return dict(found)


def test_the_rollback_alarm_compares_the_deployed_config_with_the_rest(owned: Any) -> None:
    """The alarm names the config, which is known before the endpoint uses it."""
    alarm = rollback_errors(owned)
    metrics = {query["Id"]: query for query in alarm["Metrics"]}
    (worse,) = [query for query in alarm["Metrics"] if "Expression" in query]
    assert worse["Expression"] == WORSE
    assert problems(alarm["Metrics"]) == []
    for name, statistic in (("n", "SampleCount"), ("x", "Sum"), ("all_n", "SampleCount"), ("all_x", "Sum")):
        stat = metrics[name]["MetricStat"]
        assert (stat["Stat"], stat["Period"], stat["Metric"]["MetricName"]) == (statistic, 60, "InvocationModelErrors")
        dimensions = {each["Name"]: each["Value"] for each in stat["Metric"]["Dimensions"]}
        assert ("EndpointConfigName" in dimensions) is not name.startswith("all_")
        if not name.startswith("all_"):
            assert dimensions["EndpointConfigName"]["Fn::GetAtt"][1] == "EndpointConfigName"
    assert (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"], alarm["TreatMissingData"]) == (5, 3, "notBreaching")
    (endpoint,) = owned.all("AWS::SageMaker::Endpoint")
    assert any("RollbackErrorsAlarm" in name for name in endpoint["DependsOn"])


def test_an_absolute_limit_stays_where_the_policy_has_one(serve: Callable[..., Any]) -> None:
    """Counts errors of the whole endpoint in one period."""
    policy = RolloutPolicy.canary(
        percent=50, bake=cdk.Duration.minutes(10), checks=RolloutChecks(min_invocations=0, max_error_count=3)
    )
    made = serve(EndpointCapacity.instances("ml.m5.large", instance_count=2), rollout=policy, **OWNED)
    alarm = rollback_errors(made)
    assert (alarm["Threshold"], alarm["Statistic"], alarm["EvaluationPeriods"]) == (3, "Sum", 1)
    assert {each["Name"] for each in alarm["Dimensions"]} == {"EndpointName", "VariantName"}


def test_each_variant_scales_after_the_endpoint_exists(owned: Any) -> None:
    """Targets depend on the endpoint and contain their schedules; each has its policy."""
    targets = owned.all("AWS::ApplicationAutoScaling::ScalableTarget")
    ids = {t["Properties"]["ResourceId"] for t in targets}
    assert ids == {"endpoint/demand-forecast/variant/AllTraffic", "endpoint/demand-forecast/variant/Arm"}
    for target in targets:
        assert any("EndpointServed" in name for name in target["DependsOn"])
        start, end = target["Properties"]["ScheduledActions"]
        assert start["ScalableTargetAction"] == {"MinCapacity": 2, "MaxCapacity": 2}
        assert (end["Timezone"], end["Schedule"]) == ("Europe/Berlin", "cron(0 7 ? * MON-FRI *)")
    policies = owned.all("AWS::ApplicationAutoScaling::ScalingPolicy")
    assert len(policies) == 2
    tracking = policies[0]["Properties"]["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["PredefinedMetricSpecification"] == {
        "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
    }
    assert (tracking["TargetValue"], tracking["ScaleInCooldown"]) == (600, 300)


def test_a_queue_wakes_an_empty_fleet(queued: Any) -> None:
    """Target tracking follows the backlog; a step policy with an alarm starts the first instance."""
    policies = [p["Properties"] for p in queued.all("AWS::ApplicationAutoScaling::ScalingPolicy")]
    assert {p["PolicyType"] for p in policies} == {"TargetTrackingScaling", "StepScaling"}
    (alarm,) = (
        a["Properties"]
        for a in queued.all("AWS::CloudWatch::Alarm")
        if a["Properties"].get("MetricName") == "HasBacklogWithoutCapacity"
    )
    assert "Waking" in str(alarm["AlarmActions"])
    assert alarm["Dimensions"] == [{"Name": "EndpointName", "Value": "demand-forecast"}]
    config = queued.one("AWS::SageMaker::EndpointConfig")["AsyncInferenceConfig"]
    assert config["ClientConfig"] == {"MaxConcurrentInvocationsPerInstance": 4}
    assert set(config["OutputConfig"]) == {"S3OutputPath", "S3FailurePath", "KmsKeyId"}


def test_serverless_has_no_network_key_or_guardrails(serve: Callable[..., Any]) -> None:
    """Omits features that serverless inference lacks."""
    served = serve(EndpointCapacity.serverless(memory=cdk.Size.gibibytes(2), max_concurrency=5), **OWNED)
    config, endpoint = served.one("AWS::SageMaker::EndpointConfig"), served.one("AWS::SageMaker::Endpoint")
    (variant,) = config["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    assert "KmsKeyId" not in config
    assert "VpcConfig" not in served.one("AWS::SageMaker::Model")
    assert not {"DeploymentConfig", "RetainAllVariantProperties"} & set(endpoint)
    allowed = served.allowed("EndpointRole")
    assert not [action for action in allowed if action.startswith(("ec2:", "cloudwatch:Describe"))]


def test_volumes_without_a_key_are_acknowledged_only_where_none_is_possible(serve: Callable[..., Any]) -> None:
    """A missing but possible key remains a finding."""
    rule, key = "SageMakerEndpointConfigurationKMSKeyConfigured", cdk.Validations.ACKNOWLEDGED_RULES_METADATA_KEY
    for capacity, changes, (is_found, is_acknowledged) in (
        (EndpointCapacity.instances("ml.g5.xlarge", instance_count=2), {}, (True, True)),
        (EndpointCapacity.instances("ml.m5.large", instance_count=2), {}, (False, False)),
        (EndpointCapacity.instances("ml.m5.large", instance_count=2), {"encrypt_volumes": False}, (True, False)),
    ):
        served = serve(capacity, **OWNED, **changes)
        found = cdk_nag.NIST80053R5Checks(served.stack).validate_scope(served.stack).violations
        config = served.endpoint.node.find_child("Served").node.find_child("Config")
        acknowledged = [name for m in config.node.metadata if m.type == key for name in m.data]
        assert any(rule in violation.rule_name for violation in found) is is_found
        assert any(rule in name for name in acknowledged) is is_acknowledged


def test_there_is_no_rollout_and_that_is_said(owned: Any) -> None:
    """Defines no Deploy machine; its members raise an error with the reason."""
    assert owned.all("AWS::StepFunctions::StateMachine") == []
    assert owned.endpoint.ownership is Ownership.CLOUDFORMATION
    with pytest.raises(ValidationError, match="NoRollout: an endpoint with ownership CLOUDFORMATION has no rollout"):
        _ = owned.endpoint.rollout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ownership": Ownership.CLOUDFORMATION}, "model_package_arn must be given with Ownership.CLOUDFORMATION"),
        ({"model_package_arn": PACKAGE}, "has no effect with Ownership.PIPELINE"),
        ({**OWNED, "model_package_arn": "demand-forecast/7"}, "must be the ARN of a model package version"),
        (
            {**OWNED, "rollout": RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(10))},
            "min_invocations: only the Deploy machine supports it",
        ),
    ],
)
def test_fails_when_the_owner_cannot_do_it(serve: Callable[..., Any], changes: dict[str, Any], message: str) -> None:
    """Ownership must be declared as a whole."""
    with pytest.raises(ValidationError, match=message):
        serve(EndpointCapacity.instances("ml.m5.large", instance_count=2), **changes)


def test_what_only_the_machine_does_is_refused_by_name() -> None:
    """Reports each of them at once."""
    rollout = RolloutSpec(
        kind="ALL_AT_ONCE",
        bake=0,
        maximum=3600,
        min_invocations=1,
        max_latency_ratio=1.5,
        golden=GoldenSpec(uri="s3://b", sha256="0"),
        synthetic=1,
        shadow=ShadowSpec(percent=1, bake=1),
        probation=600,
        metrics=(MetricRule(namespace="N", metric="M", threshold=1),),
        max_bake=600,
    )
    assert len(machine_only_problems(rollout)) == 8
    assert machine_only_problems(RolloutSpec(kind="ALL_AT_ONCE", bake=0, maximum=3600)) == []


def test_a_placeholder_digest_warns_here_too(serve: Callable[..., Any]) -> None:
    """No function checks the registry; CloudFormation fails when SageMaker cannot pull the image."""
    stack = serve(EndpointCapacity.instances("ml.m5.large", instance_count=2), **OWNED).stack

    found = Annotations.from_stack(stack).find_warning("*", Match.string_like_regexp("ModelImage.placeholderDigest"))
    assert [message.id for message in found] == ["/Demand/Endpoint"]
    assert "mlops image build --repository mlops-runtime" in str(found[0].entry.data)
