"""CloudWatch's cross-account observability: sink and links, in templates and on the embedded cloud."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template
from examples.pages.fleet import Operations, PlatformAccount

from mlops_constructs import Environment, ObservabilityLink, ObservabilitySink, ValidationError
from mlops_constructs.compliance.harness import check
from mlops_local.stacks import deployer

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud

OPERATIONS = Environment("operations", account="000000000000", region="eu-west-1")
BUILD = Environment("build", account="111111111111", region="eu-west-1")
SINK = "arn:aws:oam:eu-west-1:000000000000:sink/1a2b"


def stack() -> cdk.Stack:
    """A platform's stack."""
    return cdk.Stack(cdk.App(), "Platform", env=BUILD.cdk)


def properties(made: cdk.Stack) -> dict[str, Any]:
    """Return the properties of its only resource."""
    (found,) = Template.from_stack(made).to_json()["Resources"].values()
    return dict(found["Properties"])


def test_a_sink_takes_what_it_says_of_whom_it_says() -> None:
    """Admits named accounts or a whole organization; logs and traces are optional."""
    named, whole = stack(), stack()
    ObservabilitySink(named, "Sink", accounts=["111111111111"], organization_id="o-a1b2c3d4e5")
    ObservabilitySink(whole, "Sink", organization_id="o-a1b2c3d4e5", logs=True, traces=True)
    (first,), (second,) = (properties(each)["Policy"]["Statement"] for each in (named, whole))

    assert (first["Principal"], second["Principal"]) == ({"AWS": ["111111111111"]}, "*")
    assert [each["Condition"]["StringEquals"] for each in (first, second)] == [
        {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}
    ] * 2
    assert [each["Condition"]["ForAllValues:StringEquals"]["oam:ResourceTypes"] for each in (first, second)] == [
        ["AWS::CloudWatch::Metric"],
        ["AWS::CloudWatch::Metric", "AWS::Logs::LogGroup", "AWS::XRay::Trace"],
    ]


@pytest.mark.parametrize(
    ("kind", "arguments", "problem"),
    [
        (ObservabilitySink, {}, "accounts or organization_id must be set, otherwise every AWS account may link"),
        (ObservabilitySink, {"accounts": ["1"]}, "accounts must be 12 digits each, got '1'"),
        (ObservabilitySink, {"accounts": ["111111111111"], "name": "a b"}, "name must be 1 to 255 letters"),
        (ObservabilityLink, {"sink_arn": "mlops"}, "sink_arn must be arn:aws:oam:REGION:ACCOUNT:sink/ID, got 'mlops'"),
        (ObservabilityLink, {"sink_arn": SINK.replace("eu", "us")}, "must be in eu-west-1, .* got one in us-west-1"),
    ],
)
def test_what_is_not_possible_is_named(kind: Any, arguments: dict[str, Any], problem: str) -> None:
    """Rejects invalid arguments at synthesis."""
    with pytest.raises(ValidationError, match=problem):
        kind(stack(), "It", **arguments)


def test_both_sides_have_no_finding(tmp_path: Path) -> None:
    """Both sides of the page's example have no finding in any pack."""
    app = cdk.App(outdir=str(tmp_path), context={"@aws-cdk/core:validateAgainstDefaultRules": True})
    Operations(app, OPERATIONS, accounts=[BUILD.account])
    PlatformAccount(app, BUILD, operations=OPERATIONS.account, sink_arn=SINK)

    assert [problem for each in check(app).stacks for problem in each.problems] == []


@pytest.mark.cloud
def test_an_account_is_linked_to_the_sink_that_permits_it(cloud: "Cloud", tmp_path: Path) -> None:
    """Deploys the sink first, whose ARN AWS assigns, then the links; an account outside the sink's policy is rejected."""
    first = cdk.App(outdir=str(tmp_path / "first"))
    Operations(first, OPERATIONS, accounts=[BUILD.account])
    first.synth()
    made = []
    try:
        made.append(tmp_path / "first")
        sink = deployer.deploy(cloud, tmp_path / "first")["PlatformOperations"]["Sink"]
        for number, here in enumerate((BUILD, Environment("other", account="222222222222", region="eu-west-1"))):
            folder = tmp_path / f"account{number}"
            app = cdk.App(outdir=str(folder))
            PlatformAccount(app, here, operations=OPERATIONS.account, sink_arn=sink)
            app.synth()
            made.append(folder)
            if here is BUILD:
                deployer.deploy(cloud, folder)
            else:
                with pytest.raises(deployer.DeployError, match="does not allow account 222222222222"):
                    deployer.deploy(cloud, folder)
    finally:
        for folder in reversed(made):
            deployer.destroy(cloud, folder)
