"""The console's template: findings, reproducibility, validation."""

from collections.abc import Callable
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Annotations, Match

from mlops_constructs import Profile, ValidationError
from mlops_constructs._warnings import CONSOLE_ROLE_TRUST
from mlops_constructs.compliance.harness import check

CERTIFICATE = "arn:aws:acm:{}:123456789012:certificate/00000000-0000-0000-0000-000000000000"
ELSEWHERE = "arn:aws:iam::123456789012:role/on-call"
ShownOf = Callable[..., Any]


def certificate(shown: Any, region: str = "us-east-1") -> acm.ICertificate:
    """A certificate of another stack."""
    return acm.Certificate.from_certificate_arn(shown.stack, "Certificate", CERTIFICATE.format(region))


@pytest.mark.parametrize("profile", list(Profile))
def test_checkers_find_nothing(make_shown: ShownOf, profile: Profile) -> None:
    """Has no findings in either profile and no stale acknowledgement."""
    made = make_shown(profile=profile)
    made.console()

    assert [each for each in check(made.app).problems if "CDK_VALIDATION" not in each] == []


def test_two_syntheses_are_the_same(make_shown: ShownOf) -> None:
    """Templates are byte-identical."""
    first, second = make_shown("first"), make_shown("second")
    first.console()
    second.console()

    assert first.template == second.template


def test_a_domain_of_ones_own(make_shown: ShownOf) -> None:
    """With a domain browsers need TLS 1.2 and return to that name after sign-in."""
    made = make_shown()
    console = made.console(domain="console.example.com", certificate=certificate(made))

    assert console.url == "https://console.example.com"
    config = made.resource("AWS::CloudFront::Distribution")["DistributionConfig"]
    assert config["Aliases"] == ["console.example.com"]
    assert config["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    client = made.resource("AWS::Cognito::UserPoolClient")
    assert client["CallbackURLs"] == client["LogoutURLs"] == ["https://console.example.com/"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"domain": "Console", "certificate": "us-east-1"}, "domain must be a DNS name in lower case"),
        ({"domain": "console.example.com"}, "must be set together: .* got only domain"),
        ({"certificate": "us-east-1"}, "must be set together: .* got only certificate"),
        (
            {"domain": "console.example.com", "certificate": "eu-west-1"},
            "certificate must be in us-east-1, as CloudFront requires, got one in eu-west-1",
        ),
        ({"sign_in_prefix": "Demand-"}, "sign_in_prefix must be 1 to 63 lower-case letters"),
        ({"sign_in_prefix": "laws"}, "sign_in_prefix must not contain 'aws', which Cognito reserves"),
        ({"reader": "reader"}, "reader must be"),
    ],
)
def test_what_cannot_be_is_refused(make_shown: ShownOf, changes: dict[str, Any], problem: str) -> None:
    """Rejects invalid arguments at synthesis, with the fix."""
    made = make_shown()
    if "certificate" in changes:
        changes = {**changes, "certificate": certificate(made, changes["certificate"])}

    with pytest.raises(ValidationError, match=problem):
        made.console(**changes)


def test_the_trust_of_a_role_from_elsewhere_is_its_owners(make_shown: ShownOf) -> None:
    """A warning names the trust statement that the owner of an imported role must add."""
    made = make_shown()
    made.console(on_call=iam.Role.from_role_arn(made.stack, "Theirs", ELSEWHERE))

    found = Annotations.from_stack(made.stack).find_warning("*", Match.string_like_regexp("on-call"))
    assert [CONSOLE_ROLE_TRUST.id in str(each.entry.data) for each in found] == [True]


def test_roles_may_stand_in_another_stack(make_shown: ShownOf) -> None:
    """Trust policies name the function's role without a reference, which would make the stacks depend on each other."""
    made = make_shown()
    people = cdk.Stack(made.app, "People")
    reader = iam.Role(people, "Reader", assumed_by=iam.AccountRootPrincipal())
    made.console(reader=reader)

    assembly = made.app.synth()
    (trust,) = (
        each["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        for each in assembly.get_stack_by_name("People").template["Resources"].values()
    )
    assert [each.get("Sid") for each in trust] == [None, "Console"]
