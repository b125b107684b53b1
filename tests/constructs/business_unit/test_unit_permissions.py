"""The permissions boundary of a unit's roles allows all they need and denies the rest."""

from typing import Any

LINKED = "sagemaker.application-autoscaling.amazonaws.com"


def _boundary(demand: Any) -> dict[str, Any]:
    statements = demand.one("AWS::IAM::ManagedPolicy", "UnitBoundary")["PolicyDocument"]["Statement"]
    return {statement["Sid"]: statement for statement in statements}


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def test_every_action_that_a_role_has_is_within_the_boundary(demand: Any) -> None:
    """A statement outside the boundary would only fail in a real account."""
    boundary = _boundary(demand)
    services = {action.partition(":")[0] for action in boundary["Services"]["Action"]}
    named = {a for sid in ("PassRoles", "ServiceLinkedRoles") for a in _list(boundary[sid]["Action"])}
    policies = demand.resources("AWS::IAM::ManagedPolicy").items()
    actions = {
        action
        for name, policy in policies
        if not name.startswith("UnitBoundary")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
        for action in _list(statement["Action"])
    }

    assert len(actions) > 40
    assert {a for a in actions if a.partition(":")[0] not in services and a not in named} == set()
    assert actions & set(_list(boundary["Never"]["Action"])) == set()


def test_every_role_carries_it(demand: Any) -> None:
    """The approvers' role has the boundary too."""
    roles = demand.resources("AWS::IAM::Role")

    assert [name for name, role in roles.items() if "UnitBoundary" not in str(role.get("PermissionsBoundary"))] == []


def test_fleets_may_be_scaled(demand: Any) -> None:
    """Allows only the service-linked role of Application Auto Scaling."""
    assert "application-autoscaling:*" in _boundary(demand)["Services"]["Action"]
    statement = _boundary(demand)["ServiceLinkedRoles"]

    assert statement["Condition"] == {"StringEquals": {"iam:AWSServiceName": LINKED}}
    assert f":role/aws-service-role/{LINKED}/*" in str(statement["Resource"])


def test_nobody_is_read_from_until_a_store_is_imported(demand: Any) -> None:
    """Denies resources with another unit's tag, except network interfaces, logs and traces, which do not support tag conditions."""
    boundary = _boundary(demand)

    assert "OtherUnitsReads" not in boundary
    assert set(boundary["OtherUnits"]["NotAction"]) == {"ec2:*", "logs:*", "xray:*"}


def test_lake_formation_gives_credentials_and_no_permissions(demand: Any) -> None:
    """A data-lake administrator grants permissions."""
    allowed = {a for a in _boundary(demand)["Services"]["Action"] if a.startswith("lakeformation:")}

    assert allowed == {"lakeformation:GetDataAccess"}


def test_approvals_are_denied_without_the_tag(demand: Any) -> None:
    """Roles that register, train or deploy cannot approve."""
    statement = _boundary(demand)["Approvals"]

    assert (statement["Effect"], statement["Resource"]) == ("Deny", "*")
    assert statement["Condition"]["StringNotEquals"] == {"aws:PrincipalTag/mlops:approves": "true"}
