"""The role in which another account reads the state of an account's models, for any number of units and models."""

from collections.abc import Sequence

from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._roles import allow, shared_policy
from mlops_constructs._stack_values import stack_values
from mlops_constructs._unit_resources import STATE, STATE_TAG
from mlops_constructs._validation import check_pattern, raise_if_any
from mlops_runtime.contracts.fleet import FLEET_READER
from mlops_runtime.contracts.unit_entries import ROOT

_ACCOUNT = r"[0-9]{12}"
_ORGANIZATION = r"o-[a-z0-9]{10,32}"
# a name with its path; roles of IAM Identity Center have a random suffix
_ROLE = r"(?:[A-Za-z0-9+=,.@_-]+/)*[A-Za-z0-9+=,.@_-]+\*?"
_NAME = r"[A-Za-z0-9+=,.@_-]{1,64}"
# folders of a unit's buckets: reports of monitors, releases, audit records
_FOLDERS = ("audit", "monitor", "releases")
_WILDCARDS = (
    "units and models are added and removed without this role: tables, machines and buckets are selected by tag, objects by "
    "folder, keys by the service that decrypts; endpoints and packages, which have no tags before they exist or at all, contain "
    "states and hashes. Rejected: a statement for each model, which would exceed the size of one role's policy"
)


@checked("InvalidFleetReader")
class FleetReader(Construct):
    """The role in which another account reads the state of this account's models. Stateless. One per account, for all Regions.

    It can read what ``mlops fleet`` and the console's first page show of every unit whose platform enables it
    (``PlatformDefaults(fleet=True)``): parameters of stacks (``/mlops/``), items of rollouts, pauses and retrainings, executions of
    the units' state machines, monitoring reports, audit records, releases, states of endpoints and packages. It has no write
    access, and cannot read features, requests, labels, training sets or models. Its policy is also its permissions boundary, so
    that nothing can be added to it, and has the same size for any number of models.

    Access is controlled by tags: tables and buckets by ``mlops:data`` = ``state``, which only constructs of such units set, and
    state machines by ``mlops:unit``, which constructs of all units set. Parameters, endpoints and packages of all units can be
    read. S3 evaluates tags in buckets with ABAC enabled, as the constructs do, and DynamoDB in accounts with it enabled:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/abac-enable-ddb.html

    The trust policy allows the other account's root, limited to roles by name. An external id is meant for third parties, and not
    needed between accounts of one owner:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_common-scenarios_third-party.html

    See: https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html

    Args:
        scope: Parent.
        id: Construct id.
        account: The reading account, 12 digits.
        trusted_roles: Names of its roles that may assume this one, with their path if they have one, such as ``"Operator"``. A
            ``*`` at the end matches the random suffix of IAM Identity Center, as in
            ``"aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Operator_*"``.
        organization_id: Organization to which the other account must belong. Default: any.
        role_name: Name of the role, the same in each account. Default: ``MlopsFleetReader``.
        costs: Whether it may read the account's costs (Cost Explorer), which cannot be limited by tag or resource. Default: no.

    Raises:
        ValidationError: If an argument is not allowed.

    Example:
        >>> reader = FleetReader(self, "FleetReader", account="999999999999", trusted_roles=["Operator"])
        >>> reader.role_name
        'MlopsFleetReader'
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        account: str,
        trusted_roles: Sequence[str],
        organization_id: str | None = None,
        role_name: str = FLEET_READER,
        costs: bool = False,
    ) -> None:
        super().__init__(scope, id)
        problems = [
            check_pattern("account", account, pattern=_ACCOUNT, allowed="12 digits"),
            None
            if trusted_roles
            else "trusted_roles must contain at least one role, otherwise every role of the account is trusted",
            *(
                check_pattern("trusted_roles", each, pattern=_ROLE, allowed="names of roles, with '*' only at the end")
                for each in trusted_roles
            ),
            check_pattern("organization_id", organization_id, pattern=_ORGANIZATION, allowed="such as 'o-a1b2c3d4e5'"),
            check_pattern("role_name", role_name, pattern=_NAME, allowed="1 to 64 letters, digits or any of +=,.@_-"),
        ]
        raise_if_any(self, "InvalidFleetReader", problems)
        self._name = role_name
        description = "Reads what the models of this account do, for mlops fleet"
        policy = shared_policy(
            self,
            "Policy",
            statements=self._statements(costs=costs),
            description=description,
            wildcard_reason=_WILDCARDS,
        )
        trusted = self._trust(account, trusted_roles, organization_id)
        self._role = iam.Role(
            self,
            "Role",
            role_name=role_name,
            assumed_by=trusted,
            description=description,
            managed_policies=[policy],
            permissions_boundary=policy,
        )
        document = self._role.assume_role_policy
        assert document is not None  # noqa: S101 - of roles that are defined
        # the hosted console sets a source identity, which CloudTrail records
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html
        document.add_statements(iam.PolicyStatement(actions=["sts:SetSourceIdentity"], principals=[trusted]))

    @property
    def role(self) -> iam.IRole:
        """The role."""
        return self._role

    @property
    def role_name(self) -> str:
        """Name of the role, as in the ARNs in ``fleet.json``."""
        return self._name

    def _trust(self, account: str, roles: Sequence[str], organization: str | None) -> iam.IPrincipal:
        partition = stack_values(self).partition
        conditions: dict[str, object] = {
            "ArnLike": {"aws:PrincipalArn": [f"arn:{partition}:iam::{account}:role/{name}" for name in roles]}
        }
        if organization is not None:
            conditions["StringEquals"] = {"aws:PrincipalOrgID": organization}
        return iam.PrincipalWithConditions(iam.AccountPrincipal(account), conditions)

    def _statements(self, *, costs: bool) -> list[iam.PolicyStatement]:
        stack = stack_values(self)
        own, unit = f"{stack.account}", {"StringLike": {"aws:ResourceTag/mlops:unit": "*"}}
        state = {f"aws:ResourceTag/{STATE_TAG}": STATE}

        def arns(service: str, *resources: str) -> list[str]:
            return [f"arn:{stack.partition}:{service}:*:{own}:{resource}" for resource in resources]

        root = ROOT.strip("/")
        found = [
            allow("ssm:GetParametersByPath", *arns("ssm", f"parameter/{root}", f"parameter/{root}/*")),
            allow("dynamodb:GetItem", *arns("dynamodb", "table/*"), conditions={"StringEquals": state}),
            # an execution has the tags of its machine
            # https://docs.aws.amazon.com/step-functions/latest/dg/tag-based-policies.html
            allow(
                ["states:GetExecutionHistory", "states:ListExecutions"],
                *arns("states", "execution:*", "stateMachine:*"),
                conditions=unit,
            ),
            allow(
                "s3:GetObject",
                *(f"arn:{stack.partition}:s3:::*/{folder}/*" for folder in _FOLDERS),
                conditions={"StringEquals": {**state, "aws:ResourceAccount": own}},
            ),
            allow(
                "s3:ListBucket",
                f"arn:{stack.partition}:s3:::*",
                conditions={
                    "StringEquals": {**state, "aws:ResourceAccount": own},
                    "StringLike": {"s3:prefix": [f"{folder}/*" for folder in _FOLDERS]},
                },
            ),
            allow(
                "kms:Decrypt",
                *arns("kms", "key/*"),
                conditions={
                    "StringLike": {"kms:ViaService": [f"{each}.*.{stack.url_suffix}" for each in ("dynamodb", "s3")]}
                },
            ),
            # an endpoint that does not exist has no tags, and reading it must return that it does not exist
            allow("sagemaker:DescribeEndpoint", *arns("sagemaker", "endpoint/*")),
            # versions of packages have no tags
            allow(
                ["sagemaker:DescribeModelPackage", "sagemaker:ListModelPackages"],
                *arns("sagemaker", "model-package/*", "model-package-group/*"),
            ),
        ]
        return [*found, allow("ce:GetCostAndUsage", "*")] if costs else found
