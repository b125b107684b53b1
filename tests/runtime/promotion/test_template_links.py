"""Policy statements of both sides found in templates; ``tests/cli/test_accounts.py`` reads a real app's."""

import json
from typing import Any

import pytest

from mlops_runtime.promotion.environment_link import LinkedEnvironment, inbox_arn, link_role_arn, link_role_name
from mlops_runtime.promotion.template_links import PlacedTemplate, TemplateLink, repository_statements, template_links

BUILD = LinkedEnvironment(account="111111111111", region="eu-west-1")
STAGING = LinkedEnvironment(account="222222222222", region="eu-west-1")
# the same account, like a second Region of production
RECOVERY = LinkedEnvironment(account="111111111111", region="eu-central-1")
Resources = dict[str, dict[str, Any]]


def parameter(source: LinkedEnvironment | None = None) -> dict[str, Any]:
    """Return a registry's published entry: its table is known at deployment."""
    entry: dict[str, Any] = {"group": "demand-forecast", "unit": "demand", "table": "TABLE"}
    if source is not None:
        entry["inbox"] = {"source": {"account": source.account, "region": source.region}}
    start, end = json.dumps(entry).split("TABLE")
    value = {"Fn::Join": ["", [start, {"Ref": "Table"}, end]]}
    return {
        "Type": "AWS::SSM::Parameter",
        "Properties": {"Name": "/mlops/demand/registry/demand-forecast", "Value": value},
    }


def rule(target: LinkedEnvironment, subject: str = "demand-forecast") -> dict[str, Any]:
    """Return the rule that announces releases to a target."""
    pattern = {"detail-type": ["MLOps Model Released"], "detail": {"subject": [subject]}}
    targets = [{"Arn": inbox_arn(unit="demand", model="forecast", environment=target)}, {"Arn": {"Ref": "Queue"}}]
    return {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": pattern, "Targets": targets}}


def lets_in(target: LinkedEnvironment) -> dict[str, Any]:
    """Return a bucket policy with one statement for the target and one deny."""
    role = link_role_arn("promote", unit="demand", model="forecast", environment=target)
    allowed = {
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Principal": {"AWS": f"arn:aws:iam::{target.account}:root"},
        "Resource": {"Fn::Join": ["", [{"Fn::GetAtt": ["Bucket", "Arn"]}, "/models/*"]]},
        "Condition": {"ArnEquals": {"aws:PrincipalArn": role}},
    }
    denied = {"Effect": "Deny", "Action": "s3:*", "Principal": "*", "Resource": "*"}
    return {"Type": "AWS::S3::BucketPolicy", "Properties": {"PolicyDocument": {"Statement": [denied, allowed]}}}


def role_with_policy(source: LinkedEnvironment, target: LinkedEnvironment) -> Resources:
    """Return the target's role with a permission in the source and one at home."""
    name = link_role_name("promote", unit="demand", model="forecast", environment=target)
    there: dict[str, Any] = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::*/models/*"}
    there["Condition"] = {"StringEquals": {"aws:ResourceAccount": source.account}}
    home = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": {"Fn::GetAtt": ["Bucket", "Arn"]}}
    policy = {"Roles": [{"Ref": "Role"}, "another"], "PolicyDocument": {"Statement": [there, home]}}
    return {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"RoleName": name}},
        "Policy": {"Type": "AWS::IAM::ManagedPolicy", "Properties": policy},
    }


def links(source: Resources, target: Resources, place: LinkedEnvironment = STAGING) -> tuple[TemplateLink, ...]:
    """Return the links of two stacks."""
    return template_links(
        [
            PlacedTemplate(stack="Build", place=BUILD, resources=source),
            PlacedTemplate(stack="Serving", place=place, resources=target),
        ]
    )


@pytest.mark.parametrize("target", [STAGING, RECOVERY], ids=["another account", "the same account"])
def test_a_link_has_the_statements_of_both_sides(target: LinkedEnvironment) -> None:
    """Only those for the other side, of these resources and roles."""
    source = {"Entry": parameter(), "Rule": rule(target), "BucketPolicy": lets_in(target)}
    (link,) = links(source, {"Entry": parameter(BUILD), **role_with_policy(BUILD, target)}, target)

    assert (link.unit, link.group, link.source, link.target) == ("demand", "demand-forecast", BUILD, target)
    assert (link.source_stack, link.target_stack, link.problems, link.repositories) == ("Build", "Serving", (), ())
    assert [(each.stack, each.kind, each.resource, each.actions) for each in link.statements] == [
        ("Build", "resource", "BucketPolicy", ("s3:GetObject",)),
        ("Serving", "identity", "Policy", ("s3:GetObject",)),
    ]


def test_what_one_side_alone_allows_is_named() -> None:
    """All are named together with role, action and side."""
    role = link_role_arn("promote", unit="demand", model="forecast", environment=STAGING)
    source = {"Entry": parameter(), "Rule": rule(STAGING), "BucketPolicy": lets_in(STAGING)}
    target = {"Entry": parameter(BUILD), **role_with_policy(BUILD, STAGING)}
    target["Policy"]["Properties"]["PolicyDocument"]["Statement"][0]["Action"] = ["kms:Decrypt"]

    (link,) = links(source, target)

    assert link.problems == (
        f"{role} of stack Serving may call kms:Decrypt, and no policy of the other side's resources lets it",
        f"BucketPolicy of stack Build lets {role} call s3:GetObject, and no policy of that role allows it",
    )


@pytest.mark.parametrize(
    ("source", "target", "problem"),
    [
        (
            {"Entry": parameter(), "Rule": rule(STAGING)},
            {"Entry": parameter()},
            "stack Build (111111111111 eu-west-1) releases demand-forecast to stack Serving (222222222222 eu-west-1), which takes "
            "none from there; define its registry with ModelRegistry.from_environment(source=...)",
        ),
        (
            {"Entry": parameter()},
            {"Entry": parameter(BUILD)},
            "stack Serving (222222222222 eu-west-1) takes demand-forecast from stack Build (111111111111 eu-west-1), which does "
            "not release it there; name that environment in deploy_to",
        ),
    ],
)
def test_a_side_that_does_not_know_of_the_other_is_named(source: Resources, target: Resources, problem: str) -> None:
    """If both stacks are present."""
    (link,) = links(source, target)

    assert link.problems == (problem,)


@pytest.mark.parametrize(("pulled", "name"), [("mlops-runtime", "mlops-runtime"), (None, "*")])
def test_a_repository_that_images_are_pulled_from_is_told_to_its_owner(pulled: str | None, name: str) -> None:
    """It is in no template, so nothing is missing there; the endpoint's role names it."""
    target = {"Entry": parameter(BUILD), **role_with_policy(BUILD, STAGING)}
    finds = {"Effect": "Allow", "Action": ["ecr:DescribeImages"], "Resource": BUILD.arn("ecr", "repository/*")}
    target["Policy"]["Properties"]["PolicyDocument"]["Statement"].append(finds)
    if pulled is not None:
        arn = {
            "Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, f":ecr:eu-west-1:{BUILD.account}:repository/{pulled}"]]
        }
        pulls = {"Effect": "Allow", "Action": ["ecr:GetDownloadUrlForLayer"], "Resource": arn}
        target["Endpoint"] = {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"PolicyDocument": {"Statement": [pulls]}},
        }

    (link,) = links({"Entry": parameter(), "Rule": rule(STAGING), "BucketPolicy": lets_in(STAGING)}, target)

    assert link.problems == ()
    (found,) = link.repositories
    assert found.repository == f"arn:aws:ecr:eu-west-1:{BUILD.account}:repository/{name}"
    assert found.statements == repository_statements(unit="demand", model="forecast", target=STAGING)


def test_the_owner_of_a_repository_asks_for_the_organization_that_the_others_ask_for() -> None:
    """In both of its statements."""
    target = {"Entry": parameter(BUILD), **role_with_policy(BUILD, STAGING)}
    finds = {"Effect": "Allow", "Action": ["ecr:DescribeImages"], "Resource": BUILD.arn("ecr", "repository/*")}
    target["Policy"]["Properties"]["PolicyDocument"]["Statement"].append(finds)
    policy = lets_in(STAGING)
    member = {"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}
    policy["Properties"]["PolicyDocument"]["Statement"][1]["Condition"] |= member

    (link,) = links({"Entry": parameter(), "Rule": rule(STAGING), "BucketPolicy": policy}, target)

    (found,) = link.repositories
    assert [each["Condition"]["StringEquals"] for each in found.statements] == [member["StringEquals"]] * 2


def test_a_side_that_is_not_there_is_no_problem() -> None:
    """It may be in another repository."""
    (link,) = template_links(
        [
            PlacedTemplate(
                stack="Serving",
                place=STAGING,
                resources={"Entry": parameter(BUILD), **role_with_policy(BUILD, STAGING)},
            )
        ]
    )

    assert (link.source_stack, link.target_stack, link.problems) == (None, "Serving", ())
    assert len(link.statements) == 1


def test_rules_of_other_groups_and_templates_without_registries_are_no_links() -> None:
    """A rule may send other events to the same bus."""
    assert (
        links({"Entry": parameter(), "Rule": rule(STAGING, "demand-returns")}, {"Bucket": {"Type": "AWS::S3::Bucket"}})
        == ()
    )
