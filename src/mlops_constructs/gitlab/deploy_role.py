"""The role with which a GitLab pipeline plans or deploys: it may only assume CDK's bootstrap roles."""

import re
from collections.abc import Sequence
from typing import Literal

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._roles import allow
from mlops_constructs._stack_values import stack_values
from mlops_constructs._validation import check_duration, check_pattern, is_known, raise_if_any
from mlops_constructs._warnings import UNCLAIMED_ENVIRONMENT, UNCLAIMED_REF, warn
from mlops_constructs.gitlab.subject import GitLabSubject
from mlops_runtime.aws_api.public_host import is_public_host

# https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping-env.html#bootstrapping-env-roles
_BOOTSTRAP_ROLES = {
    "plan": ("lookup-role",),
    "deploy": ("deploy-role", "file-publishing-role", "image-publishing-role", "lookup-role"),
}
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html
_SHORTEST, _LONGEST = cdk.Duration.hours(1), cdk.Duration.hours(12)
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html: no query, port or trailing slash
_URL = r"https://[a-z0-9.-]+(?:/[A-Za-z0-9_.-]+)*"
_QUALIFIER = r"[A-Za-z0-9_-]{1,10}"
_REGION = r"[a-z]{2,3}(?:-[a-z]+)+-\d"


@checked("InvalidGitLabDeployRole")
class GitLabDeployRole(Construct):
    """The role with which one GitLab project plans or deploys from one protected ref, without a stored secret. Stateless.

    Defines the role, its policy, which is also its permissions boundary, and, unless one is passed, the account's OIDC identity
    provider for GitLab. A job exchanges its ID token for temporary credentials of the role, with which it can assume CDK's
    bootstrap roles of the given Regions; the account determines what those may do. The construct belongs in a stack of the
    platform team, as it must exist before a unit's first deployment.

    An account has two such roles: one plans with read-only access, for every job of the ref; the other deploys, only for jobs of a
    protected environment, so that AWS itself enforces the approval.

    Args:
        scope: Parent.
        id: Construct id.
        subject: Project and ref of the trusted jobs.
        access: ``plan``: may assume the bootstrap's ``lookup-role``, which is read-only. ``deploy``: may assume all four roles that
            a deployment needs. Default: ``deploy``.
        provider: The account's OIDC identity provider for this GitLab; there can be only one. Default: it is defined.
        url: Issuer of GitLab's ID tokens, which AWS must reach on the internet: the URL of GitLab, or the public URL that a private
            GitLab sets as ``ci_id_tokens_issuer_url``
            (https://docs.gitlab.com/ci/cloud_services/aws/#configure-a-non-public-gitlab-instance). Default:
            ``https://gitlab.com``.
        audience: ``aud`` of the job's ID token. Default: ``sts.amazonaws.com``.
        qualifier: Qualifier of the bootstrap stack. Default: ``hnb659fds``, CDK's default.
        regions: Regions to deploy to. Default: the stack's Region.
        operator_roles: Roles for other jobs, such as the on-call role for ``mlops rollback``. Default: none.
        max_session_duration: Longest session, one to twelve hours. Default: one hour.
        permissions_boundary: Permissions boundary of the role. Default: its own policy, so that nothing can be added to it.

    Raises:
        ValidationError: If an argument is not allowed.

    Example:
        >>> subject = GitLabSubject.branch("main", project="retail/demand", claims_environment=True)
        >>> deploys = GitLabDeployRole(self, "GitLab", subject=subject)
        >>> plans = GitLabDeployRole(self, "Plan", subject=subject.unapproved(), access="plan", provider=deploys.provider)
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        subject: GitLabSubject,
        access: Literal["plan", "deploy"] = "deploy",
        provider: iam.IOidcProvider | None = None,
        url: str = "https://gitlab.com",
        audience: str = "sts.amazonaws.com",
        qualifier: str = cdk.DefaultStackSynthesizer.DEFAULT_QUALIFIER,
        regions: Sequence[str] | None = None,
        operator_roles: Sequence[iam.IRole] = (),
        max_session_duration: cdk.Duration | None = None,
        permissions_boundary: iam.IManagedPolicy | None = None,
    ) -> None:
        super().__init__(scope, id)
        longest = _SHORTEST if max_session_duration is None else max_session_duration
        wanted = [stack_values(self).region] if regions is None else list(regions)
        self._validate(
            url=url,
            audience=audience,
            qualifier=qualifier,
            regions=wanted,
            longest=longest,
            access=access,
            operator_roles=operator_roles,
        )
        self._provider = provider if provider is not None else self._define_provider(url, audience)
        policy = iam.ManagedPolicy(
            self,
            "Policy",
            description=f"What jobs of GitLab project {subject.project} may become",
            statements=[
                allow(
                    "sts:AssumeRole",
                    *self._bootstrap_roles(access, qualifier, wanted),
                    *(role.role_arn for role in operator_roles),
                )
            ],
        )
        issuer = url.removeprefix("https://")
        self._role = iam.Role(
            self,
            "Role",
            assumed_by=iam.WebIdentityPrincipal(
                self._provider.oidc_provider_arn,
                {"StringEquals": {f"{issuer}:aud": audience, f"{issuer}:sub": subject.value}},
            ),
            description=f"{access.title()}s GitLab project {subject.project} from {subject.ref_type} {subject.ref}",
            managed_policies=[policy],
            permissions_boundary=policy if permissions_boundary is None else permissions_boundary,
            max_session_duration=longest,
        )
        self._subject = subject
        if not subject.claims_ref:
            warn(self, UNCLAIMED_REF, ref=subject.ref, project=subject.project)
        if access == "deploy" and not (subject.claims_environment and subject.is_environment_protected):
            warn(self, UNCLAIMED_ENVIRONMENT, ref=subject.ref, project=subject.project)

    @property
    def role(self) -> iam.IRole:
        """The role."""
        return self._role

    @property
    def provider(self) -> iam.IOidcProvider:
        """The account's OIDC identity provider for this GitLab, to pass to further roles."""
        return self._provider

    @property
    def subject(self) -> GitLabSubject:
        """Project and ref of the trusted jobs."""
        return self._subject

    def _define_provider(self, url: str, audience: str) -> iam.IOidcProvider:
        return iam.OidcProviderNative(self, "Provider", url=url, client_ids=[audience])

    def _bootstrap_roles(self, access: str, qualifier: str, regions: Sequence[str]) -> list[str]:
        stack = stack_values(self)
        return [
            f"arn:{stack.partition}:iam::{stack.account}:role/cdk-{qualifier}-{name}-{stack.account}-{region}"
            for region in regions
            for name in _BOOTSTRAP_ROLES[access]
        ]

    def _validate(
        self,
        *,
        url: str,
        audience: str,
        qualifier: str,
        regions: Sequence[str],
        longest: cdk.Duration,
        access: str,
        operator_roles: Sequence[iam.IRole],
    ) -> None:
        problems = [
            None
            if access in _BOOTSTRAP_ROLES
            else f"access must be one of {', '.join(_BOOTSTRAP_ROLES)}, got {access!r}",
            f"operator_roles must be empty with access='plan', got {len(operator_roles)}; pass them to the role that deploys"
            if access == "plan" and operator_roles
            else None,
            None if is_known(url) else "url must be known at synthesis: it is part of the condition's key",
            check_pattern(
                "url",
                url,
                pattern=_URL,
                allowed="https and a host, without a trailing slash, such as 'https://gitlab.com'",
            ),
            _unreachable(url),
            check_pattern("audience", audience, pattern=r"[^*?\s$]{1,255}", allowed="the job's exact `aud`"),
            check_pattern("qualifier", qualifier, pattern=_QUALIFIER, allowed="at most 10 letters, digits, _ or -"),
            None if regions else "regions must contain at least one Region, got none; omit it for the stack's Region",
            *(check_pattern("regions", r, pattern=_REGION, allowed="Regions such as 'eu-west-1'") for r in regions),
            check_duration("max_session_duration", longest, minimum=_SHORTEST, maximum=_LONGEST),
        ]
        raise_if_any(self, "InvalidGitLabDeployRole", problems)


def _unreachable(url: str) -> str | None:
    """Return the problem of a host that AWS cannot reach because its name is not in public DNS."""
    if not is_known(url) or not re.fullmatch(_URL, url) or is_public_host(url.split("/")[2]):
        return None
    return (
        f"url must be an issuer that AWS can reach on the internet, got {url!r}; for a private GitLab, publish its OpenID "
        "configuration and keys, set their URL as GitLab's ci_id_tokens_issuer_url (18.1 or later), and pass it here"
    )
