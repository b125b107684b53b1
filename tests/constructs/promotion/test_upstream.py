"""Alarms of a target that request a retraining from its source, in the template."""

import json
from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template

from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    DriftAlarms,
    EndpointCapacity,
    Environment,
    ModelEndpoint,
    ModelImage,
    ModelMonitor,
    ModelRegistry,
    ValidationError,
)

BUILD = Environment("build", account="111111111111", region="eu-west-1")
STAGING = Environment("staging", account="222222222222", region="eu-west-1")
IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "1" * 64)


def _registry() -> ModelRegistry:
    stack = cdk.Stack(cdk.App(), "Staging", env=STAGING.cdk)
    unit = BusinessUnit(stack, "Unit", name="demand")
    return ModelRegistry.from_environment(stack, "Registry", business_unit=unit, name="forecast", source=BUILD)


def _monitor(registry: ModelRegistry) -> ModelMonitor:
    stack, day = cdk.Stack.of(registry), cdk.Duration.days(1)
    endpoint = ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=registry.business_unit,
        registry=registry,
        name="forecast",
        image=IMAGE,
        capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
        capture=DataCapture(sampling_percent=100),
    )
    return ModelMonitor(stack, "Monitor", endpoint=endpoint, window=day, interval=day)


@pytest.fixture(scope="module")
def template() -> Mapping[str, Any]:
    """A target whose drift alarms request retrainings from build."""
    registry = _registry()
    monitor = _monitor(registry)
    DriftAlarms(cdk.Stack.of(registry), "Alarms", monitor=monitor, retraining=registry.upstream)
    return dict(Template.from_stack(cdk.Stack.of(registry)).to_json()["Resources"])


def test_drift_and_quality_ask_the_source(template: Mapping[str, Any]) -> None:
    """Only the function that confirms the alarms may put the request on the bus."""
    (rule,) = (
        each["Properties"]["EventPattern"]
        for name, each in template.items()
        if each["Type"] == "AWS::Events::Rule" and name.startswith("RegistryServedAlarms")
    )
    names = [each["Ref"] for each in rule["detail"]["alarmName"]]
    assert sorted(name[:-8] for name in names) == ["AlarmsFeatures", "AlarmsQuality"]
    (policy,) = (
        each["Properties"]["PolicyDocument"]["Statement"]
        for name, each in template.items()
        if each["Type"] == "AWS::IAM::ManagedPolicy" and name.startswith("RegistryServedAsks")
    )
    assert {each["Action"] for each in policy} == {"cloudwatch:DescribeAlarms", "s3:GetObject", "s3:ListBucket"}
    assert "monitor/demand-forecast/reports/*" in json.dumps(policy)
    (variables,) = (
        each["Properties"]["Environment"]["Variables"]
        for name, each in template.items()
        if each["Type"] == "AWS::Lambda::Function" and name.startswith("RegistryServedModels")
    )
    assert all(name in json.dumps(variables["SERVED_MODELS"]) for name in names)


def test_requests_go_to_the_source_and_those_to_pipelines_do_not(template: Mapping[str, Any]) -> None:
    """Rules match the outcome, as both have one detail type."""
    (told,) = (
        each["Properties"]["EventPattern"]
        for name, each in template.items()
        if each["Type"] == "AWS::Events::Rule" and name.startswith("RegistryServedTold")
    )
    assert told["detail-type"] == ["MLOps Model Served", "MLOps Retraining Requested"]
    assert told["detail"]["outcome"] == ["PROMOTED", "ROLLED_BACK", "DELETED", "WANTED"]


def test_alarms_are_added_once() -> None:
    """Follows the rule of pipelines."""
    registry = _registry()
    monitor = _monitor(registry)
    stack = cdk.Stack.of(registry)
    DriftAlarms(stack, "Alarms", monitor=monitor, retraining=registry.upstream)
    with pytest.raises(ValidationError, match="alarms were added before"):
        DriftAlarms(stack, "Again", monitor=monitor, retraining=registry.upstream)


def test_an_endpoint_comes_before_its_alarms() -> None:
    """Reports of its monitor confirm alarms."""
    with pytest.raises(ValidationError, match="no endpoint of this stack serves 'demand-forecast' yet"):
        _ = _registry().upstream.endpoint_name


def test_people_ask_where_the_model_is_trained() -> None:
    """People request retrainings in the source account."""
    registry = _registry()
    role = iam.Role(cdk.Stack.of(registry), "Lead", assumed_by=iam.AccountRootPrincipal())
    with pytest.raises(ValidationError, match=r"is trained in build \(111111111111 eu-west-1\) or before it"):
        registry.upstream.grant_request(role)


def test_a_registry_that_trains_has_no_upstream() -> None:
    """Its own pipeline retrains."""
    stack = cdk.Stack(cdk.App(), "Build", env=BUILD.cdk)
    unit = BusinessUnit(stack, "Unit", name="demand")
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", deploy_to=[STAGING])
    with pytest.raises(ValidationError, match="takes releases of no other environment"):
        _ = registry.upstream
