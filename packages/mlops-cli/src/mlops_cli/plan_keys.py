"""Whether the keys that units do not own let services in: what `mlops plan` reads of a key's policy before a deployment."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_cli.account import Account
    from mlops_runtime.business_unit.key_policy import Place

_PSEUDO = "AWS::"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFindings:
    """What was found of the keys.

    Args:
        problems: Keys whose policies lack statements, each with the statements as JSON.
        notes: Keys that could not be read or judged, each with why, and problems that the user allows.
        allowed: Logical ids by which the user allows a problem.
    """

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    allowed: frozenset[str] = frozenset()


def read_keys(
    aws: "Account", templates: Mapping[str, Mapping[str, Any]], *, allow: Collection[str] = ()
) -> KeyFindings:
    """Read the policy of each key that a unit uses and does not own.

    Args:
        aws: The account that the stacks are for.
        templates: The new template of each stack by the stack's name.
        allow: Logical ids of buses of units that may use their key as it is, known to the user. Default: none.
    """
    keys = [(stack, template, *used) for stack, template in templates.items() for used in _used(template)]
    if not keys:
        return KeyFindings()
    from botocore.exceptions import ClientError

    from mlops_runtime.business_unit import key_policy

    place = place_of(aws)
    problems, notes, allowed = [], [], set()
    for stack, template, bus, unit, value in keys:
        whose = f"key of unit {unit!r} in stack {stack}"
        try:
            key = resolved(aws, value, template, place)
            policy = aws.client("kms").get_key_policy(KeyId=key, PolicyName="default")["Policy"]
            found = key_policy.read_policy(policy, place)
        except (ClientError, LookupError, ValueError) as error:
            notes.append(f"{whose}: its policy cannot be read, so whether services may use it is not known: {error}")
            continue
        if found.unjudged:
            notes.append(
                f"{whose}: whether the policy of {key} gives {_names(found.unjudged)} cannot be judged before it is used, by its "
                "conditions; see that reports, alarms and logs arrive"
            )
        if not found.missing:
            continue
        lack = f"{whose}: the policy of {key} lacks {_names(found.missing)}, so reports, alarms or logs are lost without an error"
        if bus in allow:
            notes.append(f"{lack}; allowed by --allow {bus}")
            allowed.add(bus)
        else:
            problems.append(f"{lack}; add to it, or go on without by --allow {bus}: {json.dumps(found.missing)}")
    return KeyFindings(problems=tuple(problems), notes=tuple(notes), allowed=frozenset(allowed))


def _names(statements: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(statement["Sid"] for statement in statements)


def _used(template: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield the bus, the name and the key of each unit of a template that does not define the key: the bus has the unit's tag."""
    for name, resource in template.get("Resources", {}).items():
        properties = resource.get("Properties", {})
        key = properties.get("KmsKeyIdentifier")
        tags = {t["Key"]: t["Value"] for t in properties.get("Tags", ()) if isinstance(t, Mapping)}
        if resource["Type"] != "AWS::Events::EventBus" or key is None or "mlops:unit" not in tags:
            continue
        is_own = isinstance(key, Mapping) and "Fn::GetAtt" in key
        if not is_own:
            yield name, str(tags["mlops:unit"]), key


def place_of(aws: "Account") -> "Place":
    """Return where an account's stacks are deployed.

    Args:
        aws: The account.
    """
    from mlops_runtime.business_unit.key_policy import Place

    arn, _ = aws.caller()
    return Place(partition=arn.split(":")[1], region=aws.client("kms").meta.region_name, account=arn.split(":")[4])


def resolved(aws: "Account", value: Any, template: Mapping[str, Any], place: "Place") -> str:
    """Return a value of a template as far as it is known before the deployment: literals, exports, parameters.

    Args:
        aws: The account that the stack is for.
        value: The value, as the template has it.
        template: The template.
        place: Where the stack is deployed.

    Raises:
        LookupError: If it is known at deployment alone.
    """
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    if function == "Fn::Join":
        return str(argument[0]).join(resolved(aws, part, template, place) for part in argument[1])
    if function == "Fn::ImportValue" and isinstance(argument, str):
        pages = aws.client("cloudformation").get_paginator("list_exports").paginate()
        found = {export["Name"]: export["Value"] for page in pages for export in page["Exports"]}
        if argument not in found:
            raise LookupError(f"the export {argument!r} is not deployed yet; deploy its stack and plan again")
        return str(found[argument])
    if function == "Ref" and str(argument).startswith(_PSEUDO):
        pseudo = {"AWS::Partition": place.partition, "AWS::Region": place.region, "AWS::AccountId": place.account}
        return pseudo[argument]
    declared = template.get("Parameters", {}).get(argument, {}) if function == "Ref" else {}
    if "Default" not in declared:
        raise LookupError(f"{json.dumps(value)} is known when the stack is deployed")
    if str(declared["Type"]).startswith("AWS::SSM::Parameter::Value"):
        return str(aws.client("ssm").get_parameter(Name=declared["Default"])["Parameter"]["Value"])
    return str(declared["Default"])
