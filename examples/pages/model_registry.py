"""Approvers of a registry, their role and deadline, and the images that serve."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs import Approval, BusinessUnit, ModelImage, ModelRegistry, Network


class Registries(cdk.Stack):
    """A registry with manual approval."""

    def __init__(self, scope: Construct, id: str, *, network: Network) -> None:
        super().__init__(scope, id)
        unit = BusinessUnit(self, "Unit", name="customer", network=network)
        # [start:registry]
        approval = Approval.manual(timeout=cdk.Duration.days(3))
        registry = ModelRegistry(self, "Registry", business_unit=unit, name="propensity", approval=approval)
        team = iam.Role.from_role_arn(self, "Team", f"arn:aws:iam::{self.account}:role/crm-team")
        registry.grant_approve(team)
        # [end:registry]


# [start:images]
SERVED = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)
TRAINED = ModelImage.prebuilt("xgboost", "1.7-1")
# [end:images]
