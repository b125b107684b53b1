"""Reports about served models between neighboring registries, and retrainings that a target requests, in the template."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
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
    Profile,
    RetrainingPipeline,
    TrainingJob,
    TrainingSetSource,
    ValidationError,
)
from mlops_constructs.compliance.harness import check
from mlops_runtime.contracts.retraining import EvaluationPlan

BUILD = Environment("build", account="111111111111", region="eu-west-1")
STAGING = Environment("staging", account="222222222222", region="eu-west-1")
PRODUCTION = Environment("production", account="333333333333", region="eu-west-1")
CAPTURE = DataCapture(sampling_percent=100)
IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)


def _endpoint(stack: cdk.Stack, id: str, unit: BusinessUnit, registry: ModelRegistry, name: str) -> ModelEndpoint:
    capacity = EndpointCapacity.instances("ml.m5.large", instance_count=2)
    return ModelEndpoint(
        stack, id, business_unit=unit, registry=registry, name=name, image=IMAGE, capacity=capacity, capture=CAPTURE
    )


def _template(here: Environment, *, source: Environment | None, deploy_to: Sequence[Environment]) -> Mapping[str, Any]:
    app = cdk.App()
    stack = cdk.Stack(app, here.name.capitalize(), env=here.cdk)
    unit = BusinessUnit(stack, "Unit", name="demand")
    if source is None:
        registry = ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", deploy_to=deploy_to)
    else:
        registry = ModelRegistry.from_environment(
            stack, "Registry", business_unit=unit, name="forecast", source=source, deploy_to=deploy_to
        )
        _endpoint(stack, "Endpoint", unit, registry, "forecast")
    return dict(app.synth().get_stack_by_name(stack.stack_name).template["Resources"])


@pytest.fixture(scope="module")
def build() -> Mapping[str, Any]:
    """The first account of the chain."""
    return _template(BUILD, source=None, deploy_to=[STAGING])


@pytest.fixture(scope="module")
def staging() -> Mapping[str, Any]:
    """The account in the middle."""
    return _template(STAGING, source=BUILD, deploy_to=[PRODUCTION])


@pytest.fixture(scope="module")
def production() -> Mapping[str, Any]:
    """The last account."""
    return _template(PRODUCTION, source=STAGING, deploy_to=[])


def _rules(template: Mapping[str, Any]) -> dict[str, Any]:
    rules = {n: each["Properties"] for n, each in template.items() if each["Type"] == "AWS::Events::Rule"}
    return {n.removeprefix("RegistryServed")[:-8]: each for n, each in rules.items() if n.startswith("RegistryServed")}


def _environment(template: Mapping[str, Any]) -> dict[str, Any]:
    (found,) = (
        each["Properties"]["Environment"]["Variables"]
        for name, each in template.items()
        if each["Type"] == "AWS::Lambda::Function" and name.startswith("RegistryServedModels")
    )
    return dict(found)


def _statements(template: Mapping[str, Any]) -> list[dict[str, Any]]:
    (role,) = (n for n in template if n.startswith("RegistryServedModelsRole") and template[n]["Type"].endswith("Role"))
    policies = {n: each["Properties"] for n, each in template.items() if each["Type"] == "AWS::IAM::ManagedPolicy"}
    attached = [each.get("Ref") for each in template[role]["Properties"]["ManagedPolicyArns"] if isinstance(each, dict)]
    found = [p for n, p in policies.items() if n in attached or {"Ref": role} in p.get("Roles", [])]
    return [statement for each in found for statement in each["PolicyDocument"]["Statement"]]


def test_each_side_hears_and_tells_what_it_may(
    build: Mapping[str, Any], staging: Mapping[str, Any], production: Mapping[str, Any]
) -> None:
    """The first receives reports, the last sends them, the middle does both; a schedule repeats them."""
    assert set(_rules(build)) == {"Recheck", "Heard"}
    assert set(_rules(staging)) == {"Recheck", "Heard", "Told", "Rollouts"}
    assert set(_rules(production)) == {"Recheck", "Told", "Rollouts"}


def test_every_rule_is_checked_each_hour(
    build: Mapping[str, Any], staging: Mapping[str, Any], production: Mapping[str, Any]
) -> None:
    """Of inbox, offers, releases and reports, as in the registry's parameter; the alarm also fires once checks stop."""
    for template in (build, staging, production):
        rules = {n for n, each in template.items() if each["Type"] == "AWS::Events::Rule" and n.startswith("Registry")}
        (described,) = [each for each in _statements(template) if each["Action"] == "events:DescribeRule"]
        arns = described["Resource"] if isinstance(described["Resource"], list) else [described["Resource"]]
        assert {each["Fn::GetAtt"][0] for each in arns} == rules
        published = json.dumps(_environment(template)["RULES"])
        assert {name for name in rules if name in published} == rules
        (alarm,) = [
            each["Properties"] for name, each in template.items() if name.startswith("RegistryServedStoppedRules")
        ]
        assert (alarm["Namespace"], alarm["MetricName"]) == ("MLOps/demand", "RulesStopped")
        assert alarm["Dimensions"] == [{"Name": "ModelPackageGroup", "Value": "demand-forecast"}]
        assert (alarm["Threshold"], alarm["Period"], alarm["TreatMissingData"]) == (1, 3600, "missing")
        assert alarm["AlarmActions"] == alarm["InsufficientDataActions"]


def test_a_source_hears_its_targets_alone(build: Mapping[str, Any]) -> None:
    """Filters by account and Region of the event, which AWS sets."""
    pattern = _rules(build)["Heard"]["EventPattern"]

    assert (pattern["account"], pattern["region"]) == ([STAGING.account], [STAGING.region])
    assert (pattern["source"], pattern["detail"]["subject"]) == (["mlops.demand"], ["demand-forecast"])
    settings = json.loads(_environment(build)["SERVED_MODELS"])
    assert settings["targets"] == [{"name": "staging", "account": STAGING.account, "region": STAGING.region}]
    assert settings["has_source"] is False


def test_a_target_tells_what_its_endpoint_serves(production: Mapping[str, Any]) -> None:
    """Reports after each rollout, from the row and its records."""
    variables = _environment(production)

    assert json.loads(variables["SERVED_MODELS"])["has_source"] is True
    assert variables["ENDPOINT"] == "demand-forecast"
    assert {"PROMOTIONS_TABLE", "ROLLOUT_TABLE", "AUDIT_BUCKET"} <= set(variables)
    assert "FREEZE" not in variables  # it may fill half of the 4 KB that Lambda allows
    ended = _rules(production)["Rollouts"]["EventPattern"]
    assert (ended["detail-type"], ended["detail"]) == (["MLOps Rollout Finished"], {"subject": ["demand-forecast"]})


def test_rights_are_those_of_the_side(build: Mapping[str, Any], production: Mapping[str, Any]) -> None:
    """The first puts no event and reads its own row and releases; the last reads no release."""
    first, last = _statements(build), _statements(production)

    def actions(statements: list[dict[str, Any]]) -> set[str]:
        found = [each["Action"] for each in statements if each["Effect"] == "Allow"]
        return {action for each in found for action in ([each] if isinstance(each, str) else each)}

    assert "events:PutEvents" not in actions(first)
    assert "dynamodb:Scan" not in actions(first)
    assert {"events:PutEvents", "dynamodb:Scan"} <= actions(last)
    assert "releases/" not in json.dumps(last)
    rows = [each["Condition"] for each in first if "dynamodb:UpdateItem" in each["Action"]]
    assert rows == [{"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["demand-forecast.downstream"]}}]


def test_a_second_endpoint_is_refused() -> None:
    """The source receives reports about one endpoint."""
    stack = cdk.Stack(cdk.App(), "Production", env=PRODUCTION.cdk)
    unit = BusinessUnit(stack, "Unit", name="demand")
    registry = ModelRegistry.from_environment(stack, "Registry", business_unit=unit, name="forecast", source=STAGING)
    _endpoint(stack, "Endpoint", unit, registry, "forecast")

    with pytest.raises(ValidationError, match="'demand-weekly' and 'demand-forecast' serve the packages"):
        _endpoint(stack, "Weekly", unit, registry, "weekly")


@pytest.mark.parametrize("profile", Profile)
def test_checkers_find_nothing(profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Covers a middle account with alarms that request retrainings from its source, and an account that trains for targets."""
    monkeypatch.delenv("CDK_VALIDATION", raising=False)
    app = cdk.App(context={"@aws-cdk/core:validateAgainstDefaultRules": True})
    stack, day = cdk.Stack(app, "Staging", env=STAGING.cdk), cdk.Duration.days(1)
    unit = BusinessUnit(stack, "Unit", name="demand", profile=profile)
    registry = ModelRegistry.from_environment(
        stack, "Registry", business_unit=unit, name="forecast", source=BUILD, deploy_to=[PRODUCTION]
    )
    endpoint = _endpoint(stack, "Endpoint", unit, registry, "forecast")
    monitor = ModelMonitor(stack, "Monitor", endpoint=endpoint, window=day, interval=day)
    DriftAlarms(stack, "Alarms", monitor=monitor, retraining=registry.upstream)
    (tmp_path / "train.py").write_text("")
    training = cdk.Stack(app, "Build", env=BUILD.cdk)
    unit = BusinessUnit(training, "Unit", name="demand", profile=profile)
    trained = ModelRegistry(training, "Registry", business_unit=unit, name="forecast", deploy_to=[STAGING])
    RetrainingPipeline(
        training,
        "Retraining",
        business_unit=unit,
        registry=trained,
        endpoint=trained.downstream,
        name="forecast",
        training_set=TrainingSetSource.s3(bucket=unit.artifacts, prefix="exports", label="y"),
        training=TrainingJob(
            image=IMAGE, source=tmp_path, script="train.py", instance_type="ml.m5.large", max_runtime=day
        ),
        evaluation=EvaluationPlan(label="y", metric="mae", block="store", baselines=("mean",), timestamp="at"),
    )
    problems = check(app).problems
    assert [problem for problem in problems if "/Registry" in problem or "/Retraining" in problem] == []


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
    (pattern_of_rule,) = (
        each["Properties"]["EventPattern"]
        for name, each in template.items()
        if each["Type"] == "AWS::Events::Rule" and name.startswith("RegistryServedTold")
    )
    assert pattern_of_rule["detail-type"] == ["MLOps Model Served", "MLOps Retraining Requested"]
    assert pattern_of_rule["detail"]["outcome"] == ["PROMOTED", "ROLLED_BACK", "DELETED", "WANTED"]


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
