"""Job definitions and schedules of SageMaker Model Monitor in a template."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Annotations, Match, Template

from constructs import Construct
from mlops_constructs import (
    Approval,
    BusinessUnit,
    DataCapture,
    EndpointCapacity,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    ValidationError,
)
from mlops_constructs.compliance.harness import check
from mlops_constructs.model_monitor.monitor_engine import MonitorBaseline, SageMakerModelMonitor
from mlops_constructs.model_monitor.sagemaker_schedules import SageMakerMonitors, define_sagemaker_monitors, image_uri

ALL = SageMakerModelMonitor(
    monitors=("data_quality", "model_quality", "bias", "explainability"),
    problem_type="BinaryClassification",
    probability_attribute="0",
    probability_threshold=0.4,
    analysis_configs={"bias": "s3://configs/bias.json", "explainability": "s3://configs/explainability.json"},
    baselines={"bias": MonitorBaseline(constraints="s3://baselines/analysis.json")},
    record_preprocessor="s3://configs/flatten.py",
)
KINDS = {
    "DataQuality": "AWS::SageMaker::DataQualityJobDefinition",
    "ModelQuality": "AWS::SageMaker::ModelQualityJobDefinition",
    "ModelBias": "AWS::SageMaker::ModelBiasJobDefinition",
    "ModelExplainability": "AWS::SageMaker::ModelExplainabilityJobDefinition",
}


@dataclass
class Native:
    """A unit, an endpoint and its monitors."""

    stack: cdk.Stack
    monitors: SageMakerMonitors

    @cached_property
    def template(self) -> dict[str, Any]:
        """The template; nothing can be added to the stack afterwards."""
        return Template.from_stack(self.stack).to_json()

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the properties of all resources of a type, by logical id."""
        found = self.template["Resources"].items()
        return {name: resource["Properties"] for name, resource in found if resource["Type"] == kind}

    def one(self, kind: str, part: str = "") -> dict[str, Any]:
        """Return the properties of the only resource of a type whose logical id contains ``part``."""
        (properties,) = (p for name, p in self.resources(kind).items() if part in name)
        return properties

    def statements(self, part: str) -> list[dict[str, Any]]:
        """Return the statements of managed policies whose logical id contains ``part``."""
        policies = self.resources("AWS::IAM::ManagedPolicy").items()
        return [s for name, p in policies if part in name for s in p["PolicyDocument"]["Statement"]]


def _native(settings: SageMakerModelMonitor = ALL, tags: dict[str, str] | None = None) -> Native:
    stack = cdk.Stack(cdk.App(), "Demand", tags=tags)
    unit = BusinessUnit(stack, "Unit", name="demand")
    endpoint = ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", approval=Approval.automatic()),
        image=ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64),
        name="forecast",
        capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
        capture=DataCapture(sampling_percent=100),
    )
    scope = Construct(stack, "Native")
    unit.tag(scope)
    return Native(stack, define_sagemaker_monitors(scope, business_unit=unit, endpoint=endpoint, settings=settings))


@pytest.fixture(scope="module")
def native() -> Native:
    """A unit with all four monitors."""
    return _native()


@pytest.mark.parametrize("kind", KINDS)
def test_each_monitor_has_a_definition_and_a_schedule(native: Native, kind: str) -> None:
    """The schedule references the definition, and is created after it and deleted first; both follow the endpoint."""
    ((logical_id, definition),) = native.resources(KINDS[kind]).items()
    schedule_id, schedule = next(
        (name, found)
        for name, found in native.resources("AWS::SageMaker::MonitoringSchedule").items()
        if found["MonitoringScheduleConfig"]["MonitoringType"] == kind
    )

    assert re.fullmatch(r"demand-forecast-[a-z-]+-[0-9a-f]{10}", definition["JobDefinitionName"])
    config = schedule["MonitoringScheduleConfig"]
    assert config["MonitoringJobDefinitionName"] == definition["JobDefinitionName"]
    assert config["ScheduleConfig"] == {"ScheduleExpression": "cron(0 * ? * * *)"}
    assert logical_id in native.template["Resources"][schedule_id]["DependsOn"]
    assert any("Endpoint" in name for name in native.template["Resources"][logical_id]["DependsOn"])


@pytest.mark.parametrize("kind", KINDS)
def test_jobs_are_encrypted_placed_and_isolated_where_that_works(native: Native, kind: str) -> None:
    """Jobs use the unit's key and subnets; all are isolated except Clarify's, which calls copies of the model."""
    (definition,) = native.resources(KINDS[kind]).values()
    (output,) = (value for name, value in definition.items() if name.endswith("JobOutputConfig"))
    key = definition["JobResources"]["ClusterConfig"]["VolumeKmsKeyId"]

    assert list(key) == ["Fn::GetAtt"]
    assert output["KmsKeyId"] == key
    network = definition["NetworkConfig"]
    assert network["EnableInterContainerTrafficEncryption"] is True
    assert network["EnableNetworkIsolation"] is (kind != "ModelExplainability")
    assert network["VpcConfig"]["Subnets"]
    assert {tag["Key"] for tag in definition["Tags"]} == {"mlops:unit", "mlops:owner", "mlops:cost-center"}


def test_monitors_with_labels_look_where_the_labels_are_due(native: Native) -> None:
    """Reads an hour that is one day old, and the endpoint's labels."""
    given = native.one(KINDS["ModelQuality"])["ModelQualityJobInput"]

    assert given["EndpointInput"] == {
        "EndpointName": "demand-forecast",
        "LocalPath": "/opt/ml/processing/input_data",
        "StartTimeOffset": "-PT25H",
        "EndTimeOffset": "-PT24H",
        "InferenceAttribute": "0",
        "ProbabilityAttribute": "0",
        "ProbabilityThresholdAttribute": 0.4,
    }
    assert json.dumps(given["GroundTruthS3Input"]).endswith('"/labels/demand-forecast"]]}}')


def test_a_change_makes_another_definition() -> None:
    """Changes of content or tags replace it; the schedule keeps its name."""

    def names(tags: dict[str, str] | None = None, **changes: Any) -> tuple[str, str]:
        found = _native(SageMakerModelMonitor(**changes), tags)
        schedule = found.one("AWS::SageMaker::MonitoringSchedule")["MonitoringScheduleName"]
        return found.one(KINDS["DataQuality"])["JobDefinitionName"], schedule

    plain, larger, tagged = names(), names(instance_type="ml.m5.4xlarge"), names({"team": "blue"})

    assert plain == names()
    assert len({plain[0], larger[0], tagged[0]}) == 3
    assert plain[1] == larger[1] == "demand-forecast-data-quality"


def test_the_image_is_of_the_stacks_region(native: Native) -> None:
    """Uses a mapping if the Region is a token, else the Region's account."""
    image = native.one(KINDS["DataQuality"])["DataQualityAppSpecification"]["ImageUri"]

    assert "AnalyzerAccounts" in json.dumps(image)
    assert native.template["Mappings"]["AnalyzerAccounts"]["us-east-2"] == {"account": "777275614652"}
    assert native.template["Mappings"]["ClarifyAccounts"]["us-east-1"] == {"account": "205585389593"}


def test_a_region_without_the_image_is_an_error() -> None:
    """The error lists the Regions that have it."""
    stack = cdk.Stack(cdk.App(), "S", env=cdk.Environment(region="us-gov-west-1", account="1" * 12))
    with pytest.raises(ValidationError, match=r"analyzer is available in af-south-1, .* got region 'us-gov-west-1'"):
        image_uri(stack, "analyzer")
    known = cdk.Stack(cdk.App(), "S", env=cdk.Environment(region="us-east-2", account="1" * 12))
    assert image_uri(known, "analyzer").startswith("777275614652.dkr.ecr.us-east-2.")
    assert image_uri(known, "clarify").endswith("/sagemaker-clarify-processing:1.0")


def test_roles_trust_sagemaker_for_this_account_alone(native: Native) -> None:
    """Prevents the confused-deputy problem."""
    role = native.one("AWS::IAM::Role", "NativeDataQualityRole")
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]

    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    assert json.dumps(statement["Condition"]["ArnLike"]["aws:SourceArn"]).endswith('":*"]]}')


def test_a_role_reads_what_its_monitor_needs_and_no_more(native: Native) -> None:
    """Labels for monitors that join them, shadow endpoints of the model for explainability."""
    texts = {
        name: json.dumps(native.statements(f"Native{name}Role"))
        for name in ("DataQuality", "ModelQuality", "ModelBias", "ModelExplainability")
    }

    assert {name for name, text in texts.items() if "/labels/demand-forecast/*" in text} == {
        "ModelQuality",
        "ModelBias",
    }
    assert {name for name, text in texts.items() if "CreateEndpoint" in text} == {"ModelExplainability"}
    assert {name for name, text in texts.items() if ":s3:::configs/flatten.py" in text} == {
        "DataQuality",
        "ModelQuality",
    }
    assert {name for name, text in texts.items() if ":s3:::baselines/analysis.json" in text} == {"ModelBias"}
    assert all('"/models/' not in text for text in texts.values())


def test_the_deciding_function_reads_executions_and_puts_baselines(native: Native) -> None:
    """Grants nothing else in the bucket."""
    statements = [native.stack.resolve(s.to_statement_json()) for s in native.monitors.statements]

    assert native.monitors.environment == {"MODEL_MONITORS": "data_quality,model_quality,bias,explainability"}
    put = next(s for s in statements if s["Action"] == "s3:PutObject")
    assert json.dumps(put["Resource"]).endswith('"/monitor/demand-forecast/model_monitor/baselines/*"]]}')
    described = next(s for s in statements if s["Action"] == "sagemaker:DescribeMonitoringSchedule")
    assert len(described["Resource"]) == 4


def test_the_closure_is_a_warning() -> None:
    """The warning has the closing date and its effect on new deployments."""
    Annotations.from_stack(_native(SageMakerModelMonitor()).stack).has_warning(
        "/Demand/Native", Match.string_like_regexp("since 2026-07-30: .* endpoint 'demand-forecast' does not exist")
    )


def test_fails_when_there_is_nothing_to_read() -> None:
    """Requires SageMaker's own data capture."""
    stack = cdk.Stack(cdk.App(), "Demand")

    class Foreign:
        endpoint_name, variant, capture_bucket = "other", "blue", None

        @staticmethod
        def metric_invocations() -> Any:
            return cdk.aws_cloudwatch.Metric(namespace="MLOps/demand", metric_name="Invocations")

    with pytest.raises(
        ValidationError, match=r"must have data capture; endpoint must be a SageMaker endpoint, 'other' is not"
    ):
        define_sagemaker_monitors(
            Construct(stack, "Native"),
            business_unit=BusinessUnit(stack, "Unit", name="demand"),
            endpoint=Foreign(),  # type: ignore[arg-type] # what matters of it
            settings=SageMakerModelMonitor(),
        )


def test_nothing_is_found_by_six_packs() -> None:
    """Has no finding with every monitor, unit and endpoint."""
    (stack,) = check(_native().stack.node.root).stacks  # type: ignore[arg-type] # the app

    assert stack.findings == ()
    assert stack.problems == []
