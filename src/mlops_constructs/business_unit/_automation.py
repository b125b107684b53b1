"""The unit's automation row: who reads whether work rests, who may pause it; and the parameters that the command reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_ssm as ssm

from constructs import Construct
from mlops_constructs._iam import key_statement
from mlops_constructs.business_unit._records import AuditRecords
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.unit_entries import Entry, entry_name


@dataclass(frozen=True, slots=True, kw_only=True)
class AutomationAccess:
    """What may be done to a unit's row, which is the only one of its table."""

    business_unit: IBusinessUnit
    table: dynamodb.ITable
    records: AuditRecords
    entry: ssm.IStringParameter

    def read(self) -> list[iam.PolicyStatement]:
        """Read the row."""
        return [
            iam.PolicyStatement(actions=["dynamodb:GetItem"], resources=[self.table.table_arn]),
            key_statement(self.business_unit.key, services=["dynamodb"], actions=["kms:Decrypt"]),
        ]

    def grant_pause(self, grantee: iam.IGrantable) -> iam.Grant:
        """Find and move the row's pause, and write, sign and publish the record that says so in the unit's own chain."""
        key, stack = self.business_unit.key, cdk.Stack.of(self.table)
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


def define_entry(scope: Construct, id: str, *, entry: Entry) -> ssm.StringParameter:
    """Define the parameter of an entry.

    Args:
        scope: Parent.
        id: Construct id.
        entry: What it holds.
    """
    name = entry_name(entry)
    return ssm.StringParameter(
        scope,
        id,
        parameter_name=name,
        simple_name=False,  # a unit's name may be known at deployment only
        string_value=cdk.Stack.of(scope).to_json_string(to_dict(entry)),
        description=f"What the command mlops knows of {name.rpartition('/')[2]}",
    )
