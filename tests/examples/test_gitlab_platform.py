"""The platform team's stack for GitLab; `tests/cli/test_pipeline.py` deploys it and assumes the role with a job's token."""

import json

import aws_cdk as cdk
from aws_cdk.assertions import Template
from examples.gitlab_platform import Platform, platforms

from mlops_constructs.compliance.harness import check


def test_it_holds_the_roles_and_says_what_gitlab_must_write() -> None:
    """Has two roles, their policies and the provider; an output contains the project's setting."""
    app = cdk.App()
    stack = Platform(app, "Platform", project="retail/demand")

    (evidence,) = check(app).stacks

    assert (evidence.resources, evidence.findings, evidence.acknowledgements) == (5, (), ())
    outputs = Template.from_stack(stack).find_outputs("SubjectComponents")
    assert outputs["SubjectComponents"]["Value"] == "project_path,ref_type,ref,ref_protected,environment_protected"


def test_each_account_has_its_roles_and_trusts_no_other() -> None:
    """Principals are the account's own identity provider; roles that a job may assume are in the same account."""
    app = cdk.App()
    stacks = platforms(app, project="retail/demand")

    found = check(app)

    assert [problem for stack in found.stacks for problem in stack.problems] == []
    subjects = []
    for stack in stacks:
        template = Template.from_stack(stack)
        (provider,) = template.find_resources("AWS::IAM::OIDCProvider")
        for role in template.find_resources("AWS::IAM::Role").values():
            (statement,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
            assert statement["Principal"] == {"Federated": {"Ref": provider}}
            subjects.append(statement["Condition"]["StringEquals"]["gitlab.com:sub"])
        for policy in template.find_resources("AWS::IAM::ManagedPolicy").values():
            (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
            assert json.dumps(statement["Resource"]).count(f":iam::{stack.account}:role/") == len(
                [statement["Resource"]] if isinstance(statement["Resource"], dict) else statement["Resource"]
            )
    assert [each.rpartition(":")[2] for each in subjects] == [
        *("development", "other", "staging", "other", "production", "other"),
    ]
