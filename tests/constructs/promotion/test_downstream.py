"""A pipeline whose champion is the model that serves downstream, in the template."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from mlops_constructs import (
    BusinessUnit,
    Environment,
    ModelImage,
    ModelRegistry,
    RetrainingPipeline,
    TrainingJob,
    TrainingSetSource,
    ValidationError,
)
from mlops_constructs.promotion.downstream import Downstream
from mlops_runtime.contracts.retraining import EvaluationPlan

BUILD = Environment("build", account="111111111111", region="eu-west-1")
STAGING = Environment("staging", account="222222222222", region="eu-west-1")
ROW = "demand-forecast.downstream"


def _registry(*targets: Environment) -> ModelRegistry:
    stack = cdk.Stack(cdk.App(), "Build", env=BUILD.cdk)
    unit = BusinessUnit(stack, "Unit", name="demand")
    return ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", deploy_to=list(targets))


def _pipeline(registry: ModelRegistry, folder: Path, name: str, champion: Downstream) -> RetrainingPipeline:
    (folder / "train.py").write_text("")
    return RetrainingPipeline(
        cdk.Stack.of(registry),
        name.title(),
        business_unit=registry.business_unit,
        registry=registry,
        endpoint=champion,
        name=name,
        training_set=TrainingSetSource.s3(bucket=registry.business_unit.artifacts, prefix="exports", label="y"),
        training=TrainingJob(
            image=ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "1" * 64),
            source=folder,
            script="train.py",
            instance_type="ml.m5.large",
            max_runtime=cdk.Duration.hours(1),
        ),
        evaluation=EvaluationPlan(label="y", metric="mae", block="store", baselines=("mean",), timestamp="at"),
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """A registry whose two pipelines are compared with the model in production."""
    registry = _registry(STAGING)
    champion = registry.downstream_in("production")
    for name in ("forecast", "weekly"):
        _pipeline(registry, tmp_path_factory.mktemp(name), name, champion)
    return dict(Template.from_stack(cdk.Stack.of(registry)).to_json()["Resources"])


def _variables(template: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    (found,) = (
        each["Properties"]["Environment"]["Variables"]
        for name, each in template.items()
        if each["Type"] == "AWS::Lambda::Function" and name.startswith(prefix)
    )
    return dict(found)


def test_the_champion_is_read_from_the_units_table(template: Mapping[str, Any]) -> None:
    """The pipeline reads the row that target reports update; it calls no endpoint."""
    definitions = [
        json.dumps(each["Properties"]["DefinitionString"])
        for name, each in template.items()
        if each["Type"] == "AWS::StepFunctions::StateMachine" and "Retrain" in name
    ]
    assert len(definitions) == 2
    assert all(ROW in each and "UnitAutomation" in each for each in definitions)
    variables = _variables(template, "RegistryDownstreamRecord")
    assert (variables["ENDPOINT"], variables["HAS_ENDPOINT"]) == (ROW, "false")
    settings = json.dumps(_variables(template, "RegistryServedModels")["SERVED_MODELS"])
    assert '\\"champion\\":\\"production\\"' in settings.replace("\\\\", "\\").replace(": ", ":")


def test_the_recorder_moves_its_own_row_alone(template: Mapping[str, Any]) -> None:
    """It writes its own audit chain and calls nothing of SageMaker."""
    (policy,) = (
        each["Properties"]["PolicyDocument"]["Statement"]
        for name, each in template.items()
        if each["Type"] == "AWS::IAM::ManagedPolicy" and name.startswith("RegistryDownstreamRecordRole")
    )
    rows = [each["Condition"] for each in policy if "dynamodb:UpdateItem" in each["Action"]]
    assert rows == [{"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [ROW]}}]
    assert "sagemaker:" not in json.dumps(policy)


def test_what_targets_ask_for_reaches_each_pipeline(template: Mapping[str, Any]) -> None:
    """Requests are events of the unit, not of a person; the guard listens only with targets."""
    rules = [
        each["Properties"]["EventPattern"]
        for name, each in template.items()
        if each["Type"] == "AWS::Events::Rule" and "Targets" in name
    ]
    assert sorted(each["detail"]["subject"][0] for each in rules) == ["demand-forecast", "demand-weekly"]
    assert all((each["source"], each["detail"]["outcome"]) == (["mlops.demand"], ["REQUESTED"]) for each in rules)
    assert _variables(template, "ForecastGuard")["HAS_TARGETS"] == "true"


def test_each_pipeline_reads_the_champions_of_the_other(template: Mapping[str, Any]) -> None:
    """Either pipeline may have trained the serving model."""
    policies = [
        json.dumps(each["Properties"]["PolicyDocument"])
        for name, each in template.items()
        if each["Type"] == "AWS::IAM::ManagedPolicy" and "Champions" in name
    ]
    assert sorted("/models/demand-weekly/*" in each for each in policies) == [False, True]


def test_the_command_finds_no_endpoint_that_is_not_here(template: Mapping[str, Any]) -> None:
    """The pipeline's parameter names no endpoint."""
    (entry,) = (
        json.dumps(each["Properties"]["Value"])
        for name, each in template.items()
        if each["Type"] == "AWS::SSM::Parameter" and name.startswith("ForecastEntry")
    )
    assert ROW not in entry


def test_a_registry_has_one_champion() -> None:
    """The row has one live pointer."""
    registry = _registry(STAGING)
    assert registry.downstream is registry.downstream
    assert registry.downstream.endpoint_name == ROW
    with pytest.raises(ValidationError, match="is already the model of the last environment, got production"):
        registry.downstream_in("production")


def test_a_registry_without_targets_has_none() -> None:
    """Its models serve nowhere else."""
    with pytest.raises(ValidationError, match="has no target environment whose model could be the champion"):
        _ = _registry().downstream
