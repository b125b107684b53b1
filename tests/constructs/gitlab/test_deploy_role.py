"""The role of a GitLab pipeline: its trust policy and permissions."""

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Annotations, Match, Template
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

from mlops_constructs import GitLabDeployRole, GitLabSubject, ValidationError
from mlops_constructs.compliance.harness import check

PROJECT = "retail/pricing/demand"
SUBJECT = GitLabSubject.branch("main", project=PROJECT)
ENVIRONMENT = cdk.Environment(account="111111111111", region="eu-west-1")
ROLES = [
    f"arn:aws:iam::111111111111:role/cdk-hnb659fds-{name}-role-111111111111-eu-west-1"
    for name in ("deploy", "file-publishing", "image-publishing", "lookup")
]


def _stack() -> cdk.Stack:
    return cdk.Stack(cdk.App(), "Platform", env=ENVIRONMENT)


def _resolved(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"Fn::Join"}:
        return "".join(part if isinstance(part, str) else "aws" for part in value["Fn::Join"][1])
    if isinstance(value, dict):
        return {key: _resolved(item) for key, item in value.items()}
    return [_resolved(item) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def template() -> Template:
    """A role with the defaults."""
    stack = _stack()
    GitLabDeployRole(stack, "GitLab", subject=SUBJECT)
    return Template.from_stack(stack)


def _one(template: Template, kind: str) -> dict[str, Any]:
    (resource,) = template.find_resources(kind).values()
    properties = _resolved(resource["Properties"])
    assert isinstance(properties, dict)
    return properties


def _may(document: dict[str, Any], action: str, resource: str = "*", **claims: str) -> bool:
    """Evaluate IAM's rules; a trust policy has no resource, so any matches."""
    statements = [{"Resource": "*", **statement} for statement in document["Statement"]]
    context = EvalContext(
        principal_arn="arn:aws:sts::111111111111:federated-user/gitlab",
        principal_type="FederatedUser",
        principal_account="111111111111",
        action=action,
        resource_arn=resource,
        region="eu-west-1",
        service_context={f"gitlab.com:{name}": value for name, value in claims.items()},
    )
    return evaluate(context, [parse_policy_document({"Statement": statements})]).decision == "Allow"


def test_its_tokens_come_from_an_identity_provider_of_the_account(template: Template) -> None:
    """CloudFormation creates the provider without a custom resource of CDK."""
    template.has_resource_properties(
        "AWS::IAM::OIDCProvider", {"Url": "https://gitlab.com", "ClientIdList": ["sts.amazonaws.com"]}
    )
    template.resource_count_is("AWS::Lambda::Function", 0)
    template.has_resource_properties("AWS::IAM::Role", {"MaxSessionDuration": 3600, "Policies": Match.absent()})


GOOD = f"project_path:{PROJECT}:ref_type:branch:ref:main:ref_protected:true"


@pytest.mark.parametrize(
    ("subject", "audience", "may"),
    [
        (GOOD, "sts.amazonaws.com", True),
        (GOOD.replace(":true", ":false"), "sts.amazonaws.com", False),
        (GOOD.replace("ref:main", "ref:feature"), "sts.amazonaws.com", False),
        (GOOD.replace("ref:main", "ref:main2"), "sts.amazonaws.com", False),
        (GOOD.replace("ref:main", "ref:Main"), "sts.amazonaws.com", False),
        (GOOD.replace("branch", "tag"), "sts.amazonaws.com", False),
        (GOOD.removesuffix(":ref_protected:true"), "sts.amazonaws.com", False),
        (f"{GOOD}:environment_protected:true", "sts.amazonaws.com", False),
        (GOOD.replace(PROJECT, "retail/pricing/other"), "sts.amazonaws.com", False),
        (GOOD.replace(PROJECT, f"evil/{PROJECT}"), "sts.amazonaws.com", False),
        (GOOD, "https://gitlab.com", False),
        ("", "sts.amazonaws.com", False),
    ],
)
def test_only_the_protected_ref_of_the_project_gets_it(
    template: Template, subject: str, audience: str, may: bool
) -> None:
    """Denies every other ref, type, project or audience, and an unprotected ref of that name."""
    trust = _one(template, "AWS::IAM::Role")["AssumeRolePolicyDocument"]

    assert _may(trust, "sts:AssumeRoleWithWebIdentity", sub=subject, aud=audience) is may
    assert not _may(trust, "sts:AssumeRole", sub=subject, aud=audience)


def test_a_token_without_claims_gets_nothing(template: Template) -> None:
    """StringEquals never matches a missing key."""
    trust = _one(template, "AWS::IAM::Role")["AssumeRolePolicyDocument"]

    assert not _may(trust, "sts:AssumeRoleWithWebIdentity")
    assert not _may(trust, "sts:AssumeRoleWithWebIdentity", sub=GOOD)


@pytest.mark.parametrize("role", ROLES)
def test_it_may_become_each_bootstrap_role(template: Template, role: str) -> None:
    """`cdk deploy` works entirely through these roles."""
    assert _may(_one(template, "AWS::IAM::ManagedPolicy")["PolicyDocument"], "sts:AssumeRole", role)


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("sts:AssumeRole", ROLES[0].replace("hnb659fds", "other")),
        ("sts:AssumeRole", ROLES[0].replace("eu-west-1", "us-east-1")),
        ("sts:AssumeRole", "arn:aws:iam::111111111111:role/cdk-hnb659fds-cfn-exec-role-111111111111-eu-west-1"),
        ("sts:AssumeRole", "arn:aws:iam::222222222222:role/admin"),
        ("iam:PassRole", ROLES[0]),
        ("cloudformation:CreateStack", "*"),
        ("s3:GetObject", "*"),
    ],
)
def test_it_may_do_nothing_else(template: Template, action: str, resource: str) -> None:
    """Its policy is its boundary too, so an added policy has no effect."""
    properties = _one(template, "AWS::IAM::ManagedPolicy")

    assert not _may(properties["PolicyDocument"], action, resource)
    (policy,) = template.find_resources("AWS::IAM::ManagedPolicy")
    template.has_resource_properties(
        "AWS::IAM::Role", {"PermissionsBoundary": {"Ref": policy}, "ManagedPolicyArns": [{"Ref": policy}]}
    )


@pytest.mark.parametrize("role", ROLES)
def test_one_that_plans_becomes_the_role_that_reads_alone(role: str) -> None:
    """Uses the provider of the deploy role, and accepts jobs without approval."""
    stack = _stack()
    subject = GitLabSubject.branch("main", project=PROJECT, claims_environment=True)
    deploys = GitLabDeployRole(stack, "GitLab", subject=subject)
    GitLabDeployRole(stack, "Plan", subject=subject.unapproved(), access="plan", provider=deploys.provider)
    made = Template.from_stack(stack)
    made.resource_count_is("AWS::IAM::OIDCProvider", 1)
    policy = next(
        _resolved(found["Properties"]["PolicyDocument"])
        for name, found in made.find_resources("AWS::IAM::ManagedPolicy").items()
        if name.startswith("Plan")
    )
    trust = next(
        _resolved(found["Properties"]["AssumeRolePolicyDocument"])
        for name, found in made.find_resources("AWS::IAM::Role").items()
        if name.startswith("Plan")
    )

    assert _may(policy, "sts:AssumeRole", role) is ("lookup-role" in role)
    claims = {"aud": "sts.amazonaws.com"}
    assert _may(trust, "sts:AssumeRoleWithWebIdentity", sub=f"{GOOD}:environment_protected:false", **claims)
    assert not _may(trust, "sts:AssumeRoleWithWebIdentity", sub=f"{GOOD}:environment_protected:true", **claims)


def test_an_approval_that_aws_does_not_hold_is_a_warning() -> None:
    """Warns for a deploy role; a plan role needs no approval."""
    stack = _stack()
    GitLabDeployRole(stack, "Deploy", subject=SUBJECT)
    GitLabDeployRole(stack, "Plan", subject=SUBJECT, access="plan")

    found = Annotations.from_stack(stack).find_warning("*", Match.string_like_regexp("can deploy, approved or not"))
    assert [warning.id for warning in found] == ["/Platform/Deploy"]


def test_everything_can_be_chosen() -> None:
    """Accepts an existing provider, a GitLab below a path, Regions, a qualifier and an on-call role."""
    stack = _stack()
    arn = "arn:aws:iam::111111111111:oidc-provider/git.example.com/gitlab"
    GitLabDeployRole(
        stack,
        "GitLab",
        subject=GitLabSubject.tag("v1.4.0", project="a/b", claims_environment=True),
        provider=iam.OidcProviderNative.from_oidc_provider_arn(stack, "Given", arn),
        url="https://git.example.com/gitlab",
        audience="deploy",
        qualifier="retail",
        regions=["eu-west-1", "us-east-1"],
        operator_roles=[iam.Role.from_role_arn(stack, "OnCall", "arn:aws:iam::111111111111:role/on-call")],
        max_session_duration=cdk.Duration.hours(2),
        permissions_boundary=iam.ManagedPolicy.from_managed_policy_name(stack, "Boundary", "house"),
    )
    made = Template.from_stack(stack)

    made.resource_count_is("AWS::IAM::OIDCProvider", 0)
    role, policy = _one(made, "AWS::IAM::Role"), _one(made, "AWS::IAM::ManagedPolicy")
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Federated": arn}
    assert statement["Condition"]["StringEquals"] == {
        "git.example.com/gitlab:aud": "deploy",
        "git.example.com/gitlab:sub": "project_path:a/b:ref_type:tag:ref:v1.4.0:ref_protected:true:environment_protected:true",
    }
    resources = policy["PolicyDocument"]["Statement"][0]["Resource"]
    assert len(resources) == 9
    assert resources[-1] == "arn:aws:iam::111111111111:role/on-call"
    assert {r.rpartition("-role-111111111111-")[2] for r in resources[:-1]} == {"eu-west-1", "us-east-1"}
    assert role["MaxSessionDuration"] == 7200
    assert role["PermissionsBoundary"].endswith(":policy/house")


def test_a_private_gitlab_is_trusted_by_its_public_issuer() -> None:
    """Configuration and keys are objects in a bucket with the issuer's address, as GitLab documents."""
    stack = _stack()
    issuer = "keys-of-retail.s3.eu-north-1.amazonaws.com"
    GitLabDeployRole(stack, "GitLab", subject=SUBJECT, url=f"https://{issuer}")
    made = Template.from_stack(stack)

    made.has_resource_properties("AWS::IAM::OIDCProvider", {"Url": f"https://{issuer}"})
    (statement,) = _one(made, "AWS::IAM::Role")["AssumeRolePolicyDocument"]["Statement"]
    assert set(statement["Condition"]["StringEquals"]) == {f"{issuer}:aud", f"{issuer}:sub"}


def test_a_ref_that_gitlab_says_nothing_of_is_a_warning() -> None:
    """Tokens of GitLab before 18.7 have no claim for protected refs."""
    stack = _stack()
    subject = GitLabSubject.branch("main", project="a/b", claims_ref=False, claims_environment=True)
    GitLabDeployRole(stack, "GitLab", subject=subject)

    found = Annotations.from_stack(stack).find_warning("*", Match.any_value())
    assert [warning.id for warning in found] == ["/Platform/GitLab"]
    assert "the role trusts a/b's main whether or not GitLab protects it" in str(found[0].entry.data)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"access": "destroy"}, "access must be 'plan' or 'deploy', got 'destroy'"),
        ({"url": "http://gitlab.com"}, "url must be https and a host, without a trailing slash"),
        ({"url": "https://gitlab.com/"}, "got 'https://gitlab.com/'"),
        ({"url": "gitlab.com"}, "got 'gitlab.com'"),
        ({"url": "https://gitlab.corp"}, "url must be an issuer that AWS can reach on the internet, got 'https://gitlab.corp'"),
        ({"url": "https://10.0.0.7"}, "set their URL as GitLab's ci_id_tokens_issuer_url (18.1 or later)"),
        ({"audience": "*"}, "audience must be the job's exact `aud`, got '*'"),
        ({"qualifier": "much-too-long-a-one"}, "qualifier must be at most 10 letters"),
        ({"regions": []}, "regions must contain at least one Region, got none"),
        ({"regions": ["eu-west-*"]}, "regions must be Regions such as 'eu-west-1', got 'eu-west-*'"),
        ({"max_session_duration": cdk.Duration.minutes(30)}, "max_session_duration must be from 1 hour to 12 hours, got 30 m"),
    ],
)  # fmt: skip
def test_fails_when_an_argument_is_not_possible(arguments: dict[str, Any], problem: str) -> None:
    """The error names the allowed values."""
    with pytest.raises(ValidationError) as error:
        GitLabDeployRole(_stack(), "GitLab", subject=SUBJECT, **arguments)

    assert problem in str(error.value)
    assert error.value.code == "InvalidGitLabDeployRole"


def test_fails_for_people_on_call_who_only_plan() -> None:
    """A plan role cannot assume a role that rolls back."""
    stack = _stack()
    on_call = iam.Role.from_role_arn(stack, "OnCall", "arn:aws:iam::111111111111:role/on-call")

    with pytest.raises(ValidationError, match="operator_roles must be empty with access='plan', got 1"):
        GitLabDeployRole(stack, "GitLab", subject=SUBJECT, access="plan", operator_roles=[on_call])


def test_all_problems_are_said_at_once() -> None:
    """A URL that is a token cannot be part of a condition key."""
    with pytest.raises(ValidationError) as error:
        GitLabDeployRole(_stack(), "GitLab", subject=SUBJECT, url=cdk.Fn.import_value("url"), regions=[], audience="*")

    assert len(error.value.problems) == 3
    assert "url must be known at synthesis" in error.value.problems[0]


def test_nothing_is_left_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six packs report no finding, without acknowledgements."""
    app = cdk.App()
    GitLabDeployRole(cdk.Stack(app, "Platform"), "GitLab", subject=SUBJECT)

    (evidence,) = check(app).stacks

    assert evidence.findings == ()
    assert evidence.acknowledgements == ()
