"""What GitLab CI deploys with: a role for one project's protected ref, and nothing to keep secret."""

from mlops_constructs.gitlab.deploy_role import GitLabDeployRole
from mlops_constructs.gitlab.subject import GitLabSubject

__all__ = ["GitLabDeployRole", "GitLabSubject"]
