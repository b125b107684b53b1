"""Subjects of GitLab's ID tokens that a role trusts: one project, one ref, and its protection as GitLab reports it."""

from dataclasses import dataclass, replace
from typing import Literal

from mlops_constructs._arguments import checked
from mlops_constructs._validation import ValidationError, check_pattern, is_known, raise_problems

# https://docs.gitlab.com/user/reserved_names/: letters, digits, underscores, dots, dashes; groups may be nested
_PROJECT = r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)+"
# git check-ref-format, without characters that are a pattern or a variable in a policy
_REF = r"[A-Za-z0-9_][A-Za-z0-9_./+=@-]*"
_WILDCARDS = "*?${"
# https://docs.gitlab.com/ci/environments/#deployment-tier-of-environments; planning jobs use the fifth tier, `other`
Tier = Literal["production", "staging", "testing", "development"]
_UNAPPROVED_TIER = "other"


@checked("InvalidGitLabSubject")
@dataclass(frozen=True, slots=True, kw_only=True)
class GitLabSubject:
    """The exact ``sub`` of GitLab's ID tokens that a role trusts. Use a factory.

    GitLab composes it from the project's setting ``ci_id_token_sub_claim_components``, in that order: set it to ``components``.
    AWS evaluates no other claim of GitLab's, so only what the subject contains is checked.

    See: https://docs.gitlab.com/ci/secrets/id_token_authentication/

    Example:
        >>> GitLabSubject.branch("main", project="retail/demand").value
        'project_path:retail/demand:ref_type:branch:ref:main:ref_protected:true'
    """

    project: str
    ref_type: str
    ref: str
    claims_ref: bool
    claims_environment: bool
    is_environment_protected: bool = True
    project_id: int | None = None
    tier: str | None = None

    @classmethod
    def branch(
        cls,
        name: str,
        *,
        project: str,
        project_id: int | None = None,
        claims_ref: bool = True,
        claims_environment: bool = False,
        tier: Tier | None = None,
    ) -> "GitLabSubject":
        """Trust jobs of a protected branch.

        Args:
            name: Exact name of the branch.
            project: Exact path of the project with its groups.
            project_id: Project ID, which GitLab never reuses: another project that takes over an abandoned path is not trusted.
                Default: only the path is checked.
            claims_ref: Whether the token must state that the ref is protected, which GitLab supports since 18.7. Default: it must.
            claims_environment: Whether the token must state that the job's environment is protected. Default: it need not.
            tier: Deployment tier of the job's environment, for a project with several environments: jobs with another tier are
                denied, even for a protected environment. The job's own file sets the tier, so it only selects the environment that
                a job is meant for; the environment's protection determines who may run the job. Requires ``claims_environment``.
                Default: any.

        Raises:
            ValidationError: If a name is not allowed; patterns are not.
        """
        return cls._made(
            "branch",
            name,
            project,
            project_id=project_id,
            claims_ref=claims_ref,
            claims_environment=claims_environment,
            tier=tier,
        )

    @classmethod
    def tag(
        cls,
        name: str,
        *,
        project: str,
        project_id: int | None = None,
        claims_ref: bool = True,
        claims_environment: bool = False,
        tier: Tier | None = None,
    ) -> "GitLabSubject":
        """Trust jobs of one protected tag.

        Args:
            name: Exact name of the tag.
            project: As for ``branch``.
            project_id: As for ``branch``. Default: only the path is checked.
            claims_ref: As for ``branch``. Default: it must.
            claims_environment: As for ``branch``. Default: it need not.
            tier: As for ``branch``. Default: any.

        Raises:
            ValidationError: As for ``branch``.
        """
        return cls._made(
            "tag",
            name,
            project,
            project_id=project_id,
            claims_ref=claims_ref,
            claims_environment=claims_environment,
            tier=tier,
        )

    @classmethod
    def _made(
        cls,
        ref_type: str,
        ref: str,
        project: str,
        *,
        project_id: int | None,
        claims_ref: bool,
        claims_environment: bool,
        tier: str | None,
    ) -> "GitLabSubject":
        problems = [
            _problem("project", project, _PROJECT, "a path such as 'retail/demand'"),
            None
            if project_id is None or project_id > 0
            else f"project_id must be the Project ID on the project's page, such as 4711, got {project_id}",
            _problem(
                ref_type,
                ref,
                _REF,
                f"one {ref_type}'s name, such as {'main' if ref_type == 'branch' else 'v1.4.0'!r}",
            ),
            "tier needs claims_environment=True: any job of the ref may set a tier"
            if tier is not None and not claims_environment
            else None,
        ]
        raise_problems("InvalidGitLabSubject", problems)
        return cls(
            project=project,
            project_id=project_id,
            ref_type=ref_type,
            ref=ref,
            claims_ref=claims_ref,
            claims_environment=claims_environment,
            tier=tier,
        )

    def unapproved(self) -> "GitLabSubject":
        """Return the subject of the same ref's jobs whose environment is not protected: they run before an approval.

        Raises:
            ValidationError: If the subject does not claim an environment, so that both subjects would be equal.

        Example:
            >>> GitLabSubject.branch("main", project="retail/demand", claims_environment=True).unapproved().value
            'project_path:retail/demand:ref_type:branch:ref:main:ref_protected:true:environment_protected:false'
        """
        if not self.claims_environment:
            raise ValidationError(
                "InvalidGitLabSubject",
                [
                    "a subject without claims_environment=True matches every job, approved or not; claim the environment first"
                ],
            )
        return replace(self, is_environment_protected=False, tier=None if self.tier is None else _UNAPPROVED_TIER)

    @property
    def components(self) -> list[str]:
        """Required value of the project's setting ``ci_id_token_sub_claim_components``."""
        return [
            "project_path",
            *([] if self.project_id is None else ["project_id"]),
            "ref_type",
            "ref",
            *(["ref_protected"] if self.claims_ref else []),
            *(["environment_protected"] if self.claims_environment else []),
            *([] if self.tier is None else ["deployment_tier"]),
        ]

    @property
    def value(self) -> str:
        """The subject."""
        values = {
            "project_path": self.project,
            "project_id": str(self.project_id),
            "ref_type": self.ref_type,
            "ref": self.ref,
            "ref_protected": "true",
            "environment_protected": str(self.is_environment_protected).lower(),
            "deployment_tier": str(self.tier),
        }
        return ":".join(f"{name}:{values[name]}" for name in self.components)


def _problem(name: str, value: str, pattern: str, allowed: str) -> str | None:
    if is_known(value) and any(character in value for character in _WILDCARDS):
        return f"{name} must be {allowed}, without wildcards, got {value!r}: they would trust refs that any developer may push"
    return check_pattern(name, value, pattern=pattern, allowed=allowed)
