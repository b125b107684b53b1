"""Templates as data: evaluated conditions, values normalized to compare equal, and the dead-letter queues in them.

``Fn::Sub``, ``Fn::Join`` and a plain string may be equal, and so may 1, "1" and a parameter whose value is 1. Values that are only
known at deployment are left unchanged.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_ABSENT = {"Ref": "AWS::NoValue"}
_PART = re.compile(r"\$\{(!?)([^{}]*)\}")
_QUEUE = "AWS::SQS::Queue"
# properties of queues, subscriptions, rules, schedules, functions and their invocations
_NAMES = ("deadLetterTargetArn", "DeadLetterConfig", "OnFailure")
_ALLOWS = "RedriveAllowPolicy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template and the known values of its parameters."""

    document: Mapping[str, Any]  # the parsed template
    values: Mapping[str, str] = field(default_factory=dict)  # known values of parameters and pseudo parameters

    def resources(self) -> dict[str, Mapping[str, Any]]:
        """Return the resources whose condition is not known to be false."""
        found: Mapping[str, Mapping[str, Any]] = self.document.get("Resources", {})
        return {
            name: body for name, body in found.items() if self.condition(str(body.get("Condition", ""))) is not False
        }

    def properties(self, body: Mapping[str, Any]) -> dict[str, object]:
        """Return the properties of a resource with normalized values."""
        value = self.plain(body.get("Properties", {}))
        return value if isinstance(value, dict) else {}

    def condition(self, name: str) -> bool | None:
        """Return whether a condition holds; None if that is only known at deployment. An empty name means no condition: True."""
        if not name:
            return True
        conditions: Mapping[str, Any] = self.document.get("Conditions", {})
        return self._holds(conditions[name]) if name in conditions else None

    def _holds(self, expression: Any) -> bool | None:
        if not isinstance(expression, Mapping) or len(expression) != 1:
            return None
        function, argument = next(iter(expression.items()))
        if function == "Condition":
            return self.condition(argument)
        if function == "Fn::Equals":
            left, right = (self.plain(side) for side in argument)
            return left == right if not (unknown(left) or unknown(right)) else None
        held = [self._holds(item) for item in argument]
        if function == "Fn::Not":
            return None if held[0] is None else not held[0]
        if function == "Fn::And":
            return False if False in held else None if None in held else True
        if function == "Fn::Or":
            return True if True in held else None if None in held else False
        return None

    def plain(self, value: Any) -> Any:
        """Return a value in its normalized form."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return str(value)
        if isinstance(value, list):
            return [self.plain(item) for item in value if item != _ABSENT]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            function, argument = next(iter(value.items()))
            if function == "Ref" or function.startswith("Fn::"):
                return self._function(function, argument)
        made = {key: self.plain(item) for key, item in value.items() if item != _ABSENT}
        return {key: item for key, item in made.items() if item != _ABSENT}

    def _function(self, function: str, argument: Any) -> Any:
        if function == "Ref":
            return self.values.get(argument, {"Ref": argument})
        if function == "Fn::GetAtt":
            return {"Fn::GetAtt": argument.split(".", 1) if isinstance(argument, str) else list(argument)}
        if function == "Fn::Sub":
            return joined(self._substituted(argument))
        if function == "Fn::If" and (held := self.condition(argument[0])) is not None:
            return self.plain(argument[1] if held else argument[2])
        if function == "Fn::FindInMap" and (found := self._found_in_map(argument)) is not None:
            return found
        plain = self.plain(argument)
        if function == "Fn::Join" and isinstance(plain[1], list):
            separated = [part for item in plain[1] for part in (plain[0], item)][1:]
            return joined(separated)
        return {function: plain}

    def _substituted(self, argument: Any) -> list[Any]:
        text, variables = (argument, {}) if isinstance(argument, str) else argument
        parts: list[Any] = []
        end = 0
        for match in _PART.finditer(text):
            parts.append(text[end : match.start()])
            end = match.end()
            name = match[2].strip()
            if match[1]:
                parts.append(f"${{{name}}}")
            elif name in variables:
                parts.append(self.plain(variables[name]))
            else:
                parts.append(self._function(*(("Fn::GetAtt", name) if "." in name else ("Ref", name))))
        return [*parts, text[end:]]

    def _found_in_map(self, argument: Any) -> Any:
        keys = [self.plain(key) for key in argument[:3]]
        found: Any = self.document.get("Mappings", {})
        for key in keys:
            if not isinstance(key, str) or not isinstance(found, Mapping) or key not in found:
                return None
            found = found[key]
        return self.plain(found)


def joined(parts: list[Any]) -> Any:
    """Return the parts of a string as one string, or as the shortest ``Fn::Join`` of strings and unknown parts."""
    made: list[Any] = []
    for part in parts:
        for item in part["Fn::Join"][1] if isinstance(part, Mapping) and "Fn::Join" in part else [part]:
            if isinstance(item, str) and made and isinstance(made[-1], str):
                made[-1] += item
            elif item != "":
                made.append(item)
    if not made:
        return ""
    return made[0] if len(made) == 1 else {"Fn::Join": ["", made]}


def unknown(value: Any) -> bool:
    """Return whether a normalized value is only known at deployment."""
    return (isinstance(value, str) and "{{resolve:" in value) or any(True for _ in _functions(value))


def references(value: Any) -> set[tuple[str, bool]]:
    """Return the logical ids that a normalized value refers to, each with whether it refers to an attribute."""
    found: set[tuple[str, bool]] = set()
    for function, argument in _functions(value):
        if function == "Ref":
            found.add((argument, False))
        elif function == "Fn::GetAtt":
            found.add((str(argument[0]), True))
    return found


def _functions(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from _functions(item)
    elif isinstance(value, Mapping):
        if len(value) == 1:
            function, argument = next(iter(value.items()))
            if function == "Ref" or function.startswith("Fn::"):
                yield function, argument
        for item in value.values():
            yield from _functions(item)


def dead_letter_queues(template: Template) -> frozenset[str]:
    """Return the logical ids of a template's dead-letter queues.

    A work queue contains messages in flight, which their sender repeats. Messages in a dead-letter queue are not sent again
    automatically: they are the only evidence of a failure, and are redriven after the fix.

    See: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html

    Example:
        >>> queue, dead = {"Type": "AWS::SQS::Queue"}, {"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}}
        >>> work = queue | {"Properties": {"RedrivePolicy": dead}}
        >>> sorted(dead_letter_queues(Template(document={"Resources": {"Work": work, "Dead": queue}})))
        ['Dead']
    """
    resources = template.resources()
    queues = {name for name, body in resources.items() if body.get("Type") == _QUEUE}
    named = {name for body in resources.values() for name in _named(template.properties(body))}
    allowing = {name for name in queues if _ALLOWS in template.properties(resources[name])}
    return frozenset(queues & (named | allowing))


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _NAMES:
                yield from (name for name, _ in references(item))
            yield from _named(item)
    elif isinstance(value, list):
        for item in value:
            yield from _named(item)
