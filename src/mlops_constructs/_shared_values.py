"""Values of a unit that its owner's stack publishes in Parameter Store, and their use in the unit's other stacks."""

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
    """Define one SSM parameter per value.

    Args:
        scope: Parent.
        id: Construct id.
        profile: Value of its profile, a part of the parameters' names.
        parameters: Parameters to define.
        values: Value of each, by field.
    """
    home = Construct(scope, id)
    for parameter in parameters:
        value = values[parameter.field]
        construct_id = "".join(part.capitalize() for part in parameter.field.rpartition("/")[2].split("_"))
        name = unit_parameter(unit, profile, parameter.field)
        description = f"{parameter.description}, for other stacks of the unit"
        # simple_name: a unit's name may be a token
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
    """Return a published value, resolved when the stack is deployed.

    Args:
        scope: Any construct of the stack.
        profile: Value of its profile.
        field: Field of the parameter.
    """
    return ssm.StringParameter.value_for_string_parameter(scope, unit_parameter(unit, profile, field))


def read_list(scope: Construct, *, unit: str, profile: str, field: str, count: int) -> list[str]:
    """Return the first ``count`` values of a published list, resolved when the stack is deployed.

    Args:
        scope: Any construct of the stack.
        profile: Value of its profile.
        field: Field of the parameter.
        count: Number of values; the length of the list is only known at deployment.
    """
    name = unit_parameter(unit, profile, field)
    values = ssm.StringListParameter.value_for_typed_list_parameter(scope, name, ssm.ParameterValueType.STRING)
    return [cdk.Fn.select(index, values) for index in range(count)]


def export_part(scope: Construct, *, unit: str, part: str) -> str:
    """Export a part of a unit, so that this stack cannot be deleted while others import the part; return the export's name.

    Args:
        scope: The construct that defines the part.
        part: Name of the part, such as ``features``.
    """
    name = unit_export(unit, part=part)
    description = "A part of the unit; this stack cannot be deleted while another stack imports it"
    cdk.CfnOutput(scope, "Part", value=part, export_name=name, description=description)
    return name


def import_part(scope: Construct, *, unit: str, entry: str) -> None:
    """Import the export of a unit's part: the export named in the part's entry, or else the unit's.

    CloudFormation extracts the name from the entry at deployment, with functions that ``Fn::ImportValue`` supports:
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-importvalue.html

    Args:
        scope: The construct that imports the part.
        entry: Name of the SSM parameter with the part's entry, which is JSON.
    """
    value, field = ssm.StringParameter.value_for_string_parameter(scope, entry), '"export":"'
    named = cdk.Fn.select(1, cdk.Fn.split(field, f'{value}{field}{unit_export(unit)}"'))
    imported = cdk.Fn.import_value(cdk.Fn.select(0, cdk.Fn.split('"', named)))
    cdk.CfnOutput(scope, "Part", value=imported, description="A part of the unit, which another stack owns")
