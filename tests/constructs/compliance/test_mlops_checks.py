"""The rule pack as a CDK plugin, on a naive stack of stock constructs."""

import json
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks

import mlops_constructs.compliance
from constructs import RootConstruct
from mlops_constructs.compliance import MlopsChecks
from mlops_constructs.compliance.rules import RULES

REASON = "the test wants to see that an acknowledged finding is reported with its reason"


class Naive(cdk.Stack):
    """A first draft with CDK's own constructs."""

    def __init__(self, scope: cdk.App, id: str) -> None:
        super().__init__(scope, id)
        self.models = s3.Bucket(self, "Models")
        train = tasks.SageMakerCreateTrainingJob(
            self,
            "Train",
            training_job_name=sfn.JsonPath.string_at("$.name"),
            integration_pattern=sfn.IntegrationPattern.RUN_JOB,
            algorithm_specification=tasks.AlgorithmSpecification(
                training_image=tasks.DockerImage.from_registry("1.dkr.ecr.us-east-1.amazonaws.com/model:latest")
            ),
            input_data_config=[
                tasks.Channel(
                    channel_name="train",
                    data_source=tasks.DataSource(
                        s3_data_source=tasks.S3DataSource(s3_location=tasks.S3Location.from_bucket(self.models, "in"))
                    ),
                )
            ],
            output_data_config=tasks.OutputDataConfig(
                s3_output_location=tasks.S3Location.from_bucket(self.models, "out")
            ),
        )
        update = tasks.SageMakerUpdateEndpoint(
            self, "Update", endpoint_name="forecast", endpoint_config_name=sfn.JsonPath.string_at("$.config")
        )
        self.machine = sfn.StateMachine(
            self, "Machine", definition_body=sfn.DefinitionBody.from_chainable(train.next(update))
        )
        iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("sagemaker.amazonaws.com"))
        eks.Cluster(self, "Cluster", version=eks.KubernetesVersion.V1_33, kubectl_provider_options=None)


@pytest.fixture(scope="module")
def naive(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the findings of the naive stack with their constructs."""
    app = cdk.App(outdir=str(tmp_path_factory.mktemp("naive")))
    Naive(app, "Naive")
    return {
        f"{violation.rule_name} at {resource.construct_path}"
        for violation in MlopsChecks(app).validate_scope(app).violations
        for resource in violation.violating_resources
    }


@pytest.mark.parametrize(
    "finding",
    [
        "ClusterEndpoint at Naive/Cluster/Resource",
        "ClusterLogs at Naive/Cluster/Resource",
        "EndpointRollback[Update] at Naive/Machine/Resource",
        "ImageDigest[Train] at Naive/Machine/Resource",
        "JobIsolation[Train] at Naive/Machine/Resource",
        "JobNetwork[Train] at Naive/Machine/Resource",
        "JobOutput[Train] at Naive/Machine/Resource",
        "JobVolume[Train] at Naive/Machine/Resource",
        "ModelBucket at Naive/Models/Resource",
        "PromotionApproval[Update] at Naive/Machine/Resource",
        "TaskCatch[Train] at Naive/Machine/Resource",
        "TaskRetry[Update] at Naive/Machine/Resource",
        "TaskTags[Train] at Naive/Machine/Resource",
        "TaskTimeout[Update] at Naive/Machine/Resource",
        "TrustSource[sagemaker.amazonaws.com] at Naive/Role/Resource",
    ],
)
def test_a_naive_stack_is_found_out(finding: str, naive: set[str]) -> None:
    """Reports jobs that its machine creates at run time, and a cluster that cdk-nag's packs miss."""
    assert f"Mlops-{finding}" in naive


def test_one_line_makes_synthesis_fail_until_it_is_acknowledged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Works like cdk-nag's packs; the report names the fix and keeps the reason."""
    for is_acknowledged in (False, True):
        app = cdk.App(outdir=str(tmp_path / str(is_acknowledged)))
        role = iam.Role(cdk.Stack(app, "S"), "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        cdk.Validations.of(app).add_plugins(MlopsChecks(app))
        rule = "Mlops::Mlops-TrustSource[states.amazonaws.com]"
        if is_acknowledged:
            cdk.Validations.of(role).acknowledge(cdk.Acknowledgment(id=rule, reason=REASON))
            app.synth()
        else:
            with pytest.raises(RuntimeError, match="ValidationFailed"):
                app.synth()
        report = json.loads((tmp_path / str(is_acknowledged) / "validation-report.json").read_text())
        (plugin,) = (found for found in report["pluginReports"] if found["pluginName"] == "Mlops")
        if is_acknowledged:
            assert plugin["violations"] == []
            assert [found["reason"] for found in plugin["suppressedViolations"]] == [REASON]
        else:
            (violation,) = plugin["violations"]
            assert violation["violatingConstructs"][0]["constructPath"] == "S/Role/Resource"
            assert "aws:SourceAccount" in violation["suggestedFix"]
    capfd.readouterr()


def test_a_scope_is_checked_with_the_whole_app_as_context(tmp_path: Path) -> None:
    """Reports findings below the scope; the pack lists its rules."""
    app = cdk.App(outdir=str(tmp_path))
    for name in ("One", "Other"):
        iam.Role(cdk.Stack(app, name), "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
    pack = MlopsChecks(app)

    (violation,) = pack.validate_scope(app.node.find_child("One")).violations

    assert [found.construct_path for found in violation.violating_resources] == ["One/Role/Resource"]
    assert pack.rule_ids == [f"Mlops-{rule.id}" for rule in RULES]


def test_a_construct_outside_of_any_app_is_refused() -> None:
    """Rejects a construct without an app, which has no template."""
    with pytest.raises(ValueError, match="scope must be in an app or stage, got 'Alone'"):
        MlopsChecks().validate_scope(RootConstruct("Alone"))


def test_the_package_has_nothing_else_by_name() -> None:
    """Misspelled names raise AttributeError."""
    with pytest.raises(AttributeError, match="MlopsCheck"):
        mlops_constructs.compliance.MlopsCheck  # noqa: B018
