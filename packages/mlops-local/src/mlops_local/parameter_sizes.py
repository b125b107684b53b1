"""Size limit of parameter values in Parameter Store's standard tier, also for parameters of templates."""

from typing import Any

from ministack.services import ssm

from mlops_local import compat

compat.expect(
    "ministack.services.ssm", _default_tier="(data, value, existing)", _parameters=object, _put_parameter="(data)"
)

_STANDARD = 4096


def install() -> None:
    """Check the size of each value before it is stored."""
    putting = ssm._put_parameter

    # claim: parameters-have-4096-characters
    def put(data: dict[str, Any]) -> Any:
        value = str(data.get("Value", ""))
        tier = data.get("Tier") or ssm._default_tier(data, value, ssm._parameters.get(data.get("Name")))
        if tier == "Standard" and len(value) > _STANDARD:
            return ssm.error_response_json(
                "ValidationException",
                f"Standard tier parameters support a maximum parameter value of {_STANDARD} characters. To create a larger "
                "parameter value, upgrade the parameter to use the advanced-parameter tier.",
                400,
            )
        return putting(data)

    ssm._put_parameter = put
