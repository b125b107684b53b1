"""Warnings and notices of the constructs. Their ids are public, may be acknowledged by callers, and are never renamed."""

from dataclasses import dataclass

import aws_cdk as cdk

from constructs import IConstruct


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstructWarning:
    """A warning with its public id; ``text`` may contain placeholders in braces."""

    id: str
    text: str


DEVELOPMENT_DESTROYS_DATA = ConstructWarning(
    id="mlops-constructs:BusinessUnit.developmentDestroysData",
    text="profile DEVELOPMENT deletes the data of unit '{unit}' with its stack; use Profile.PRODUCTION for data that must stay",
)
SHARED_KEY = ConstructWarning(
    id="mlops-constructs:BusinessUnit.keyNotOwned",
    text="unit '{unit}' uses a key that it does not own. Add these statements to the key's policy, or reports, alarms and logs are "
    "lost without an error; `mlops plan` reads the policy and names those that are missing: {statements}",
)
KEY_OF_OTHERS = ConstructWarning(
    id="mlops-constructs:ModelRegistry.keyNotOwned",
    text="unit '{unit}' uses a key that it does not own, so no target of deploy_to can decrypt what is released. Add these "
    "statements to the key's policy, and acknowledge this warning: {statements}",
)
IMPORTED_UNIT = ConstructWarning(
    id="mlops-constructs:BusinessUnit.ownerMustAllow",
    text="unit '{unit}' is imported, and this addition needs unit.{call} in the stack that defines it; acknowledge this "
    "warning once that is deployed",
)
PLACEHOLDER_IMAGE = ConstructWarning(
    id="mlops-constructs:ModelImage.placeholderDigest",
    text="image '{repository}' has {digest}, which no registry has: only the embedded cloud runs it. For an account: "
    "mlops image build{which} --repository {repository}{runtime}; mlops image push{which} --repository {repository}; "
    "mlops image digest{which} --repository {repository} --write",
)
UNKNOWN_VALUE = ConstructWarning(
    id="mlops-constructs:StateMachine.unknownValue",
    text="{finding}; if it is newer than the installed botocore, acknowledge this warning",
)
NO_HEARTBEAT_ALARM = ConstructWarning(
    id="mlops-constructs:DriftAlarms.noHeartbeat",
    text="a monitor run every {schedule} gets no heartbeat alarm: CloudWatch evaluates at most 7 days; run it at least every 84 "
    "hours",
)
NO_TRAFFIC_ALARM = ConstructWarning(
    id="mlops-constructs:DriftAlarms.noTraffic",
    text="missing traffic is not reported: the monitor runs every {schedule}, too often to report each window without requests; "
    "set "
    "expected_traffic to the hours with requests, or acknowledge this warning",
)
UNCLAIMED_REF = ConstructWarning(
    id="mlops-constructs:GitLabDeployRole.protectionNotClaimed",
    text="the role trusts {project}'s {ref} whether or not GitLab protects it: protect it, or require the claim in its tokens "
    "(18.7)",
)
UNCLAIMED_ENVIRONMENT = ConstructWarning(
    id="mlops-constructs:GitLabDeployRole.approvalNotClaimed",
    text="every job of {project}'s {ref} can deploy, approved or not: trust only jobs of a protected environment "
    "(claims_environment)",
)
PLAIN_HTTP = ConstructWarning(
    id="mlops-constructs:EksInferenceService.plainHttp",
    text="requests to '{service}' cross the network unencrypted, as it has no certificate; PRODUCTION rejects that",
)
SHARED_SUBNETS = ConstructWarning(
    id="mlops-constructs:EksCluster.sharedSubnets",
    text="services on '{cluster}' also accept requests from pods and nodes in their load balancers' subnets, which are the unit's: "
    "set load_balancer_subnets to subnets in which nothing else runs",
)
SNAPSHOT_RETENTION = ConstructWarning(
    id="mlops-constructs:FeatureStore.snapshotRetention",
    text="snapshots older than {days} days expire, and it was never verified on AWS that Glue's optimizer keeps the snapshots that "
    "training sets have tagged: until then a rebuild may miss rows",
)
CLOSED_MODEL_MONITOR = ConstructWarning(
    id="mlops-constructs:ModelMonitor.closedToNewCustomers",
    text="SageMaker Model Monitor is closed to new customers since 2026-07-30: the deployment fails in an account that did not use "
    "it before, and as long as endpoint '{endpoint}' does not exist; the other engines have neither limit",
)
NO_API_THROTTLE = ConstructWarning(
    id="mlops-constructs:InferenceApi.noThrottle",
    text="model '{model}' has no max_rate: one caller may use the capacity that all others need, up to the account's limit; "
    "measure "
    "the endpoint's capacity (mlops traffic), set add_model(max_rate=), or acknowledge this warning",
)
UNCHECKED_PROMISE = ConstructWarning(
    id="mlops-constructs:InferenceApi.uncheckedPromise",
    text="no rollout of '{endpoint}' checks its models against {file}, which model '{model}' promises: call "
    "ModelEndpoint.keep_promise in the app that defines it, or compare each model with mlops api schema, and acknowledge this "
    "warning",
)
CONSOLE_ROLE_TRUST = ConstructWarning(
    id="mlops-constructs:Console.roleTrust",
    text="role '{role}' ({kind}) is defined elsewhere, and its trust policy cannot be checked here: it must allow "
    "sts:AssumeRole and "
    "sts:SetSourceIdentity to Console.function_role_arn, or the console is denied; have its owner add that, and acknowledge "
    "this warning",
)
ALL_WARNINGS = (
    DEVELOPMENT_DESTROYS_DATA,
    SHARED_KEY,
    KEY_OF_OTHERS,
    IMPORTED_UNIT,
    PLACEHOLDER_IMAGE,
    UNKNOWN_VALUE,
    NO_HEARTBEAT_ALARM,
    NO_TRAFFIC_ALARM,
    UNCLAIMED_REF,
    UNCLAIMED_ENVIRONMENT,
    PLAIN_HTTP,
    SHARED_SUBNETS,
    SNAPSHOT_RETENTION,
    CLOSED_MODEL_MONITOR,
    NO_API_THROTTLE,
    UNCHECKED_PROMISE,
    CONSOLE_ROLE_TRUST,
)


def counted(number: int, name: str) -> str:
    """Return a number with its noun, in the plural if needed.

    Args:
        name: The noun in the singular.

    Example:
        >>> counted(1, "dashboard"), counted(3, "dashboard")
        ('1 dashboard', '3 dashboards')
    """
    return f"{number} {name}{'' if number == 1 else 's'}"


def warn(scope: IConstruct, warning: ConstructWarning, **values: str) -> None:
    """Add a warning to a construct; callers acknowledge it by its id."""
    cdk.Annotations.of(scope).add_warning_v2(warning.id, warning.text.format(**values))
