"""Package of a platform team with the defaults of every unit in the organization."""

import aws_cdk as cdk

from mlops_constructs import (
    Approval,
    Freeze,
    FreezeCalendar,
    Network,
    PlatformDefaults,
    Profile,
    RolloutChecks,
    RolloutPolicy,
)

DAYS, MINUTES = cdk.Duration.days, cdk.Duration.minutes

# [start:defaults]
RETAIL = PlatformDefaults(
    name="retail",
    fleet=True,
    organization_id="o-a1b2c3d4e5",
    network=Network.from_shared_vpc(
        vpc_id="vpc-0123456789abcdef0",
        availability_zones=["eu-west-1a", "eu-west-1b"],
        subnet_ids=["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
    ),
    encryption_key_arn="arn:aws:kms:eu-west-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef",
    images=("111122223333.dkr.ecr.*/mlops-runtime@sha256:*",),
    instance_types=("ml.m5.*", "ml.c7g.*"),
    regions=("eu-west-1",),
    profiles=(Profile.PRODUCTION,),
    tags={"platform": "retail"},
    required_tags=("mlops:owner", "mlops:cost-center", "data-class"),
    log_retention=DAYS(400),
    audit_retention=DAYS(7 * 365),
    weakest_approval=Approval.manual(timeout=DAYS(3)),
    weakest_rollout=RolloutPolicy.canary(
        percent=50, bake=MINUTES(10), checks=RolloutChecks(probation=cdk.Duration.hours(24))
    ),
    freeze=FreezeCalendar.of(
        *Freeze.yearly(name="peak season", years=[2026, 2027], start="11-15", end="12-27", time_zone="Europe/Berlin")
    ),
)
# [end:defaults]
