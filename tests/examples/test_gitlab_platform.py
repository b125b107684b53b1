"""The platform team's stack; `tests/cli/test_pipeline.py` deploys it and takes the role by a job's token."""

import aws_cdk as cdk
from aws_cdk.assertions import Template
from examples.gitlab_platform import Platform

from mlops_constructs.compliance.harness import check


def test_it_holds_the_roles_and_says_what_gitlab_must_write() -> None:
    """Two roles, their policies, the provider; the setting of the project stands in the outputs, ready to be copied."""
    app = cdk.App()
    stack = Platform(app, "Platform", project="retail/demand")

    (evidence,) = check(app).stacks

    assert (evidence.resources, evidence.findings, evidence.acknowledgements) == (5, (), ())
    outputs = Template.from_stack(stack).find_outputs("SubjectComponents")
    assert outputs["SubjectComponents"]["Value"] == "project_path,ref_type,ref,ref_protected,environment_protected"
