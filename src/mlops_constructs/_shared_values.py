"""Values that the owner of a unit publishes for the unit's other stacks, and how these read them."""

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_ssm as ssm

from constructs import Construct
from mlops_runtime.contracts.unit_entries import UnitParameter, unit_export, unit_parameter


def publish_values(
    scope: Construct,
    id: str,
    *,
    unit: str,
    profile: str,
    parameters: Sequence[UnitParameter],
    values: Mapping[str, str | list[str]],
) -> None:
    """Define one parameter a value.

    Args:
        scope: Parent.
        id: Construct id.
        unit: Name of the unit.
        profile: Value of its profile, which is part of the names.
        parameters: What is published.
        values: The value of each, by field.
    """
    home = Construct(scope, id)
    for parameter in parameters:
        value = values[parameter.field]
        construct_id = "".join(part.capitalize() for part in parameter.field.rpartition("/")[2].split("_"))
        name = unit_parameter(unit, profile, parameter.field)
        description = f"{parameter.description}, for other stacks of the unit"
        # simple_name: a unit's name may be known at deployment only
        if isinstance(value, str):
            ssm.StringParameter(
                home, construct_id, parameter_name=name, string_value=value, description=description, simple_name=False
            )
        else:
            ssm.StringListParameter(
                home,
                construct_id,
                parameter_name=name,
                string_list_value=value,
                description=description,
                simple_name=False,
            )


def read_value(scope: Construct, *, unit: str, profile: str, field: str) -> str:
    """Return a value that is read when the stack is deployed.

    Args:
        scope: Any construct of the stack.
        unit: Name of the unit.
        profile: Value of its profile.
        field: Which value.
    """
    return ssm.StringParameter.value_for_string_parameter(scope, unit_parameter(unit, profile, field))


def read_list(scope: Construct, *, unit: str, profile: str, field: str, count: int) -> list[str]:
    """Return the first values of a list that is read when the stack is deployed.

    Args:
        scope: Any construct of the stack.
        unit: Name of the unit.
        profile: Value of its profile.
        field: Which list.
        count: How many: a list's length is only known when the stack is deployed.
    """
    name = unit_parameter(unit, profile, field)
    values = ssm.StringListParameter.value_for_typed_list_parameter(scope, name, ssm.ParameterValueType.STRING)
    return [cdk.Fn.select(index, values) for index in range(count)]


def export_part(scope: Construct, *, unit: str, part: str) -> str:
    """Export a part of a unit of another stack, so that CloudFormation keeps this stack while others import it; return the name.

    Args:
        scope: The construct that defines the part.
        unit: Name of the unit.
        part: What it is, such as ``features``.
    """
    name = unit_export(unit, part=part)
    description = "A part of the unit; while another stack imports it this one cannot be deleted"
    cdk.CfnOutput(scope, "Part", value=part, export_name=name, description=description)
    return name


def import_part(scope: Construct, *, unit: str, entry: str) -> None:
    """Refer to the export of what defines a part of a unit: the part's own, where its entry names one, else the unit's.

    The name is cut out of the entry when the stack is deployed, by functions that an import takes:
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-importvalue.html

    Args:
        scope: The construct that imports the part.
        unit: Name of the unit.
        entry: Name of the part's parameter, JSON.
    """
    value, field = ssm.StringParameter.value_for_string_parameter(scope, entry), '"export":"'
    named = cdk.Fn.select(1, cdk.Fn.split(field, f'{value}{field}{unit_export(unit)}"'))
    imported = cdk.Fn.import_value(cdk.Fn.select(0, cdk.Fn.split('"', named)))
    cdk.CfnOutput(scope, "Part", value=imported, description="A part of the unit, which another stack owns")
