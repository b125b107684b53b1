"""The unit's automation row, the command's parameters and the freeze calendar of a unit."""

import json
import re
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Match, Template

from mlops_constructs import BusinessUnit, Freeze, FreezeCalendar, Profile, ValidationError
from mlops_runtime.business_unit.automation import read_freeze
from mlops_runtime.contracts.unit_entries import UNIT_ROOT, EndpointEntry

ACTIONS = {
    "dynamodb:GetItem",
    "dynamodb:UpdateItem",
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "kms:Sign",
    "s3:GetObject",
    "s3:PutObject",
    "ssm:GetParameter",
}
CALENDAR = FreezeCalendar.of(Freeze(name="peak", start="2026-11-20", end="2026-12-01", time_zone="Europe/Berlin"))


def _unit(**options: Any) -> tuple[cdk.Stack, BusinessUnit]:
    stack = cdk.Stack(cdk.App(), "Demand")
    return stack, BusinessUnit(stack, "Unit", **{"name": "demand", **options})


def _values(template: Template) -> dict[str, Any]:
    """Return the values of all entries by name, with logical ids for references."""
    found = {}
    for resource in template.find_resources("AWS::SSM::Parameter").values():
        value, name = resource["Properties"]["Value"], resource["Properties"]["Name"]
        if str(name).startswith(UNIT_ROOT):
            continue
        parts = [value] if isinstance(value, str) else value["Fn::Join"][1]
        text = "".join(part if isinstance(part, str) else part.get("Ref") or part["Fn::GetAtt"][0] for part in parts)
        found[name] = json.loads(text)
    return found


def test_every_unit_has_an_encrypted_row_and_an_entry() -> None:
    """The command finds table and buckets by the unit's name."""
    stack, unit = _unit()
    template = Template.from_stack(stack)

    template.has_resource_properties(
        "AWS::DynamoDB::Table",
        {
            "KeySchema": [{"AttributeName": "endpoint", "KeyType": "HASH"}],
            "SSESpecification": {
                "KMSMasterKeyId": stack.resolve(unit.key.key_arn),
                "SSEEnabled": True,
                "SSEType": "KMS",
            },
        },
    )
    (entry,) = _values(template).values()
    assert entry["automation_table"] == stack.resolve(unit.automation_table.table_name)["Ref"]
    assert entry["audit_bucket"] == stack.resolve(unit.audit_bucket.bucket_name)["Ref"]
    records = {"audit_bucket", "heads_bucket", "pause_key", "signing_key"}
    reported = {"cost_center", "format", "owner", "unit"}
    assert entry.keys() == {"artifacts_bucket", "automation_table", "bus", *reported, *records}
    assert (entry["owner"], entry["cost_center"]) == (unit.owner, unit.cost_center)


def test_functions_and_the_command_read_one_calendar() -> None:
    """Environment and entry contain the same time ranges."""
    stack, unit = _unit(freeze=CALENDAR)

    environment = unit.automation_environment
    assert environment["UNIT"] == "demand"
    assert stack.resolve(environment["AUTOMATION_TABLE"]) == stack.resolve(unit.automation_table.table_name)
    assert read_freeze(environment["FREEZE"]) == CALENDAR.spec
    assert _values(Template.from_stack(stack))["/mlops/demand/unit"]["freeze"] == json.loads(environment["FREEZE"])


def test_a_unit_without_a_calendar_is_never_frozen() -> None:
    """Functions receive an empty calendar."""
    _, unit = _unit()

    assert read_freeze(unit.automation_environment["FREEZE"]).windows == ()


def test_a_function_may_read_the_row_and_no_more() -> None:
    """Grants one action on one table, and the key through DynamoDB only."""
    stack, unit = _unit()

    read, decrypt = [stack.resolve(statement.to_statement_json()) for statement in unit.automation_statements()]
    assert read == {
        "Action": "dynamodb:GetItem", "Effect": "Allow", "Resource": stack.resolve(unit.automation_table.table_arn)
    }  # fmt: skip
    assert decrypt["Action"] == "kms:Decrypt"
    assert "dynamodb" in json.dumps(decrypt["Condition"])


@pytest.mark.parametrize("kind", ["role", "imported", "user"])
def test_pausing_can_be_granted_to_people(kind: str) -> None:
    """Grants the row, the unit's own audit chain, the entry and the key through two services, but nothing of an endpoint."""
    stack, unit = _unit()
    grantees: dict[str, iam.IGrantable] = {
        "role": iam.Role(stack, "Role", assumed_by=iam.AccountRootPrincipal()),
        "imported": iam.Role.from_role_arn(stack, "Imported", "arn:aws:iam::111111111111:role/x"),
        "user": iam.User(stack, "User"),
    }

    assert unit.grant_pause(grantees[kind]).success

    (policy,) = Template.from_stack(stack).find_resources("AWS::IAM::Policy").values()
    statements = policy["Properties"]["PolicyDocument"]["Statement"]
    granted = {a for s in statements for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])}
    assert granted == ACTIONS
    assert "/audit/demand/*" in json.dumps(statements)
    assert "/heads/demand/*" in json.dumps(statements)
    (sign,) = [s for s in statements if s["Action"] == "kms:Sign"]
    assert "PauseKey" in json.dumps(sign["Resource"])
    keys = next(s for s in statements if "kms:Decrypt" in s["Action"])
    assert len(keys["Condition"]["StringEquals"]["kms:ViaService"]) == 2


def test_a_construct_publishes_what_it_defined() -> None:
    """Publishes below the names of unit and construct, with references in the value."""
    stack, unit = _unit(profile=Profile.DEVELOPMENT)
    entry = EndpointEntry(
        endpoint="demand-forecast",
        unit="demand",
        group="demand-forecast",
        rollout_table=unit.automation_table.table_name,
        deploy_machine="arn",
        target="SageMaker",
        is_monitored=True,
    )

    parameter = unit.publish_entry(stack, "Entry", entry)

    template = Template.from_stack(stack)
    assert stack.resolve(parameter.parameter_name)
    values = _values(template)["/mlops/demand/endpoint/demand-forecast"]
    assert values["rollout_table"] == stack.resolve(unit.automation_table.table_name)["Ref"]
    template.has_resource_properties(
        "AWS::SSM::Parameter",
        {"Name": "/mlops/demand/endpoint/demand-forecast", "Type": "String", "Tier": Match.absent()},
    )


def test_a_name_known_at_deployment_only_is_published() -> None:
    """CloudFormation resolves the parameter's name."""
    stack = cdk.Stack(cdk.App(), "Demand")

    BusinessUnit(stack, "Unit", name=cdk.CfnParameter(stack, "Name").value_as_string)

    Template.from_stack(stack).has_resource_properties(
        "AWS::SSM::Parameter", {"Name": {"Fn::Join": ["", ["/mlops/", {"Ref": "Name"}, "/unit"]]}}
    )


def test_a_calendar_is_instants_in_order() -> None:
    """Functions read sorted UTC times."""
    calendar = FreezeCalendar.of(
        *Freeze.yearly(name="peak", years=[2027, 2026], start="11-15", end="12-27", time_zone="Europe/Berlin")
    )

    assert [window.name for window in calendar.spec.windows] == ["peak 2026", "peak 2027"]
    assert calendar.spec.windows[0].start.isoformat() == "2026-11-14T23:00:00+00:00"


def test_fails_with_every_problem() -> None:
    """Rejects invalid calendars before synthesis, with every problem."""
    with pytest.raises(ValidationError) as caught:
        FreezeCalendar.of(
            Freeze(name="naive", start="2026-11-20", end="2026-11-21T00:00Z"),
            Freeze(name="backwards", start="2026-11-20T00:00Z", end="2026-11-19T00:00Z"),
        )

    assert caught.value.code == "InvalidFreezeCalendar"
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["'naive'", "'backwards'"]


def test_fails_when_it_freezes_nothing() -> None:
    """Rejects an empty calendar, which would look like protection."""
    with pytest.raises(ValidationError, match="freezes must not be empty; omit `freeze`"):
        FreezeCalendar.of()


def test_fails_when_no_function_could_carry_it() -> None:
    """Rejects a calendar larger than Lambda's environment."""
    freezes = Freeze.yearly(
        name="a season of many years", years=range(2000, 2030), start="01-01", end="01-02", time_zone="UTC"
    )

    with pytest.raises(ValidationError, match="at most 2048 characters as JSON, which is about 20 freezes, got 3"):
        FreezeCalendar.of(*freezes)


def test_the_page_declares_a_calendar_that_works() -> None:
    """`docs/operations.md` contains the calendar verbatim."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "operations.md").read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "FreezeCalendar" in block]
    stack = cdk.Stack(cdk.App(), "S")

    names = {"stack": stack, "BusinessUnit": BusinessUnit, "Freeze": Freeze, "FreezeCalendar": FreezeCalendar}
    exec(code.replace("self", "stack"), names)  # noqa: S102 - the page's own code

    Template.from_stack(stack).has_resource_properties("AWS::SSM::Parameter", {"Name": "/mlops/demand/unit"})
