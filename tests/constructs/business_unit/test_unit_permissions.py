"""The boundary of a unit's roles admits what they need, and what it denies they cannot do."""

from typing import Any

LINKED = "sagemaker.application-autoscaling.amazonaws.com"


def _boundary(demand: Any) -> dict[str, Any]:
    statements = demand.one("AWS::IAM::ManagedPolicy", "UnitBoundary")["PolicyDocument"]["Statement"]
    return {statement["Sid"]: statement for statement in statements}


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def test_every_action_that_a_role_has_is_within_the_boundary(demand: Any) -> None:
    """Otherwise its policy would allow what IAM denies, and only an account would show it."""
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
    """Also the one in which people approve."""
    roles = demand.resources("AWS::IAM::Role")

    assert [name for name, role in roles.items() if "UnitBoundary" not in str(role.get("PermissionsBoundary"))] == []


def test_fleets_may_be_scaled(demand: Any) -> None:
    """The one service-linked role that this takes is of Application Auto Scaling."""
    assert "application-autoscaling:*" in _boundary(demand)["Services"]["Action"]
    statement = _boundary(demand)["ServiceLinkedRoles"]

    assert statement["Condition"] == {"StringEquals": {"iam:AWSServiceName": LINKED}}
    assert f":role/aws-service-role/{LINKED}/*" in str(statement["Resource"])


def test_nobody_is_read_from_until_a_store_is_imported(demand: Any) -> None:
    """What has another unit's tag is denied whole, network interfaces, logs and traces apart, which have no such check."""
    boundary = _boundary(demand)

    assert "OtherUnitsReads" not in boundary
    assert set(boundary["OtherUnits"]["NotAction"]) == {"ec2:*", "logs:*", "xray:*"}


def test_lake_formation_gives_credentials_and_no_permissions(demand: Any) -> None:
    """Who may do what is granted by a data-lake administrator."""
    allowed = {a for a in _boundary(demand)["Services"]["Action"] if a.startswith("lakeformation:")}

    assert allowed == {"lakeformation:GetDataAccess"}


def test_approvals_are_denied_without_the_tag(demand: Any) -> None:
    """Whoever registers, trains or deploys does not approve."""
    statement = _boundary(demand)["Approvals"]

    assert (statement["Effect"], statement["Resource"]) == ("Deny", "*")
    assert statement["Condition"]["StringNotEquals"] == {"aws:PrincipalTag/mlops:approves": "true"}
