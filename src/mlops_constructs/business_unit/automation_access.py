"""A unit's freeze calendar and pause, and the permissions to read and change them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_ssm as ssm

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._roles import allow, key_statement
from mlops_constructs._stack_values import stack_of, stack_values
from mlops_constructs._validation import ValidationError
from mlops_constructs.business_unit._records import DefinedRecords
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.business_unit.freeze_calendar import Freeze, read_freezes
from mlops_runtime.contracts import canonical_json, to_dict
from mlops_runtime.contracts.unit_entries import Entry, FreezeSpec, entry_name

# half of Lambda's limit for the environment variables of a function:
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-limits
_MAXIMUM_CHARACTERS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class AutomationAccess:
    """Permissions for the unit's item, the only one of the automation table."""

    business_unit: IBusinessUnit
    table: dynamodb.ITable
    records: DefinedRecords
    entry: ssm.IStringParameter

    def grant_pause(self, grantee: iam.IGrantable) -> iam.Grant:
        """Grant reading and changing the pause, and writing, signing and publishing its record in the unit's own audit chain."""
        key, stack = self.business_unit.key, stack_values(self.table)
        hosts = [f"{service}.{stack.region}.{stack.url_suffix}" for service in ("dynamodb", "s3")]
        through_services: Mapping[str, Mapping[str, object]] = {"StringEquals": {"kms:ViaService": hosts}}
        grants = [
            iam.Grant.add_to_principal(
                grantee=grantee, actions=list(actions), resource_arns=[resource], conditions=conditions
            )
            for actions, resource, conditions in (
                (("ssm:GetParameter",), self.entry.parameter_arn, None),
                (("dynamodb:GetItem", "dynamodb:UpdateItem"), self.table.table_arn, None),
                (("kms:Decrypt", "kms:GenerateDataKey"), key.key_arn, through_services),
            )
        ]
        grants += [
            iam.Grant.add_to_principal(
                grantee=grantee,
                actions=statement.actions,
                resource_arns=statement.resources,
                conditions=statement.conditions or None,
            )
            for statement in self.records.pause_statements()
        ]
        return reduce(iam.Grant.combine, grants)


def automation_environment(unit: str, *, table: dynamodb.ITable, freeze: str) -> Mapping[str, str]:
    """Return the environment by which a function checks whether automation is paused or frozen.

    Args:
        table: Table with the unit's item.
        freeze: Freeze calendar as JSON.
    """
    return {"UNIT": unit, "AUTOMATION_TABLE": table.table_name, "FREEZE": freeze}


def automation_statements(table: dynamodb.ITable, *, key: kms.IKey) -> list[iam.PolicyStatement]:
    """Return the permissions to read the unit's item in the automation table."""
    return [
        allow("dynamodb:GetItem", table.table_arn),
        key_statement(key, services=["dynamodb"], actions=["kms:Decrypt"]),
    ]


def define_entry(scope: Construct, id: str, *, entry: Entry) -> ssm.StringParameter:
    """Define the SSM parameter with an entry for the CLI."""
    name = entry_name(entry)
    return ssm.StringParameter(
        scope,
        id,
        parameter_name=name,
        simple_name=False,  # a unit's name may be a token
        string_value=stack_of(scope).to_json_string(to_dict(entry)),
        description=f"Metadata of {name.rpartition('/')[2]} for the command mlops",
    )


@checked("InvalidFreezeCalendar")
@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeCalendar:
    """Times in which automation does not retrain, approve or promote, and no promotion starts. Rollbacks are always allowed.

    Args:
        freezes: The times, in any order.

    Raises:
        ValidationError: With every time that is invalid, has no time zone, ends before it starts or overlaps another.

    Example:
        >>> calendar = FreezeCalendar.of(
        ...     Freeze(name="stocktaking", start="2027-01-04", end="2027-01-06", time_zone="Europe/Berlin"),
        ...     *Freeze.yearly(name="peak season", years=[2026, 2027], start="11-15", end="12-27", time_zone="Europe/Berlin"),
        ... )
        >>> [window.name for window in calendar.spec.windows]
        ['peak season 2026', 'stocktaking', 'peak season 2027']
    """

    freezes: tuple[Freeze, ...]

    def __post_init__(self) -> None:
        spec, problems = read_freezes(self.freezes)
        if not self.freezes:
            problems.append("freezes must not be empty; omit `freeze` for a unit that is never frozen")
        size = size_problem(spec)
        if size is not None:
            problems.append(size)
        if problems:
            raise ValidationError("InvalidFreezeCalendar", problems)

    @classmethod
    def of(cls, *freezes: Freeze) -> "FreezeCalendar":
        """Create a calendar.

        Args:
            freezes: The times, in any order.
        """
        return cls(freezes=freezes)

    @property
    def spec(self) -> FreezeSpec:
        """The calendar with instants in UTC, in chronological order."""
        return read_freezes(self.freezes)[0]


def size_problem(calendar: FreezeSpec) -> str | None:
    """Return the problem of a calendar that is too large for the environment of functions."""
    size = len(canonical_json(calendar))
    if size <= _MAXIMUM_CHARACTERS:
        return None
    return (
        f"freezes must have at most {_MAXIMUM_CHARACTERS} characters as JSON, which is about 20 freezes, got {size} in "
        f"{len(calendar.windows)}; remove past ones"
    )
