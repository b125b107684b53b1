"""Deployment from GitLab CI: a role for one project's protected ref, without a stored secret."""

from mlops_constructs.gitlab.deploy_role import GitLabDeployRole
from mlops_constructs.gitlab.subject import GitLabSubject

__all__ = ["GitLabDeployRole", "GitLabSubject"]
