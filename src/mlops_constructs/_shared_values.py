"""Values that the owner of a unit publishes for the unit's other stacks, and how these read them."""

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_ssm as ssm

from constructs import Construct
from mlops_runtime.contracts.unit_entries import UnitParameter, unit_parameter


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
