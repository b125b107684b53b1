"""Subjects of trusted GitLab ID tokens."""

import aws_cdk as cdk
import pytest

from mlops_constructs import GitLabSubject, ValidationError


def test_the_subject_is_what_gitlab_writes() -> None:
    """The subject has the claims of the project's setting, in its order."""
    subject = GitLabSubject.branch("main", project="retail/demand", claims_environment=True)

    assert subject.components == ["project_path", "ref_type", "ref", "ref_protected", "environment_protected"]
    assert subject.value == (
        "project_path:retail/demand:ref_type:branch:ref:main:ref_protected:true:environment_protected:true"
    )


def test_a_project_can_be_named_by_its_number_too() -> None:
    """The id protects against a different project at the path of a renamed group."""
    subject = GitLabSubject.branch("main", project="retail/demand", project_id=4711, claims_environment=True)

    assert subject.components[:3] == ["project_path", "project_id", "ref_type"]
    assert subject.value.startswith("project_path:retail/demand:project_id:4711:ref_type:branch:ref:main:")
    assert subject.unapproved().value.startswith("project_path:retail/demand:project_id:4711:ref_type:")
    assert GitLabSubject.tag("v1", project="a/b", project_id=7).value.startswith(
        "project_path:a/b:project_id:7:ref_type:tag"
    )


@pytest.mark.parametrize("number", [0, -1])
def test_fails_for_a_number_that_is_none(number: int) -> None:
    """GitLab's ids start at 1."""
    with pytest.raises(
        ValidationError, match=f"project_id must be the Project ID on the project's page.* got {number}"
    ):
        GitLabSubject.branch("main", project="retail/demand", project_id=number)


def test_jobs_that_nobody_approved_have_another_subject() -> None:
    """All tokens of a project share one setting of its subject."""
    approved = GitLabSubject.branch("main", project="retail/demand", claims_environment=True)

    assert approved.unapproved().components == approved.components
    assert approved.unapproved().value == approved.value.removesuffix(":true") + ":false"


def test_each_environment_has_a_subject_of_its_own_by_its_tier() -> None:
    """Plan jobs use a tier that no deploy role trusts; all tokens of the project share one setting."""
    staging, production = (
        GitLabSubject.branch("main", project="retail/demand", claims_environment=True, tier=tier)
        for tier in ("staging", "production")
    )

    assert staging.components == production.components
    assert staging.value.endswith(":environment_protected:true:deployment_tier:staging")
    assert production.value == staging.value.replace("deployment_tier:staging", "deployment_tier:production")
    assert production.unapproved().value == staging.unapproved().value
    assert staging.unapproved().value.endswith(":environment_protected:false:deployment_tier:other")


def test_fails_for_a_tier_that_says_nothing() -> None:
    """GitLab has five tiers, one of them for plans; any job may name an unprotected environment and set its tier."""
    with pytest.raises(ValidationError, match=r"tier must be one of 'production', .* or left out, got 'other'"):
        GitLabSubject.branch("main", project="a/b", claims_environment=True, tier="other")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="tier needs claims_environment=True: any job of the ref may set a tier"):
        GitLabSubject.tag("v1", project="a/b", tier="production")


def test_fails_for_an_approval_that_no_token_speaks_of() -> None:
    """Both subjects would be equal."""
    with pytest.raises(ValidationError, match="matches every job, approved or not; claim the environment first"):
        GitLabSubject.branch("main", project="retail/demand").unapproved()


def test_gitlabs_own_default_is_possible() -> None:
    """For versions whose tokens have no claim for protected refs."""
    subject = GitLabSubject.tag("v1", project="a/b", claims_ref=False)

    assert subject.components == ["project_path", "ref_type", "ref"]
    assert subject.value == "project_path:a/b:ref_type:tag:ref:v1"


@pytest.mark.parametrize("name", ["*", "feature/*", "main?", "${aws:username}", "v*"])
def test_fails_for_a_pattern(name: str) -> None:
    """A pattern would trust unprotected refs."""
    with pytest.raises(ValidationError, match="they would trust refs that any developer may push"):
        GitLabSubject.branch(name, project="retail/demand")


@pytest.mark.parametrize(
    "project", ["retail", "retail/*", "/demand", "retail/", "retail//demand", "retail:x/demand", ""]
)
def test_fails_for_a_project_that_is_no_path(project: str) -> None:
    """The error suggests the path."""
    with pytest.raises(ValidationError, match=r"project must be a path such as 'retail/demand'"):
        GitLabSubject.branch("main", project=project)


@pytest.mark.parametrize("name", ["", "a b", "-x", "ref:main", "a\nb"])
def test_fails_for_a_ref_that_is_none(name: str) -> None:
    """A colon would start another claim."""
    with pytest.raises(ValidationError, match=r"tag must be one tag's name, such as 'v1\.4\.0'"):
        GitLabSubject.tag(name, project="retail/demand")


def test_both_problems_are_said_at_once() -> None:
    """Reports both in one message."""
    with pytest.raises(ValidationError) as error:
        GitLabSubject.branch("*", project="*")

    assert len(error.value.problems) == 2


def test_a_token_is_not_judged() -> None:
    """Accepts a project known at deployment only."""
    project = cdk.Fn.import_value("project")

    assert GitLabSubject.branch("main", project=project).value.startswith(f"project_path:{project}:")
