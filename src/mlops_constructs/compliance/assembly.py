"""The synthesized templates of an app as data: resources, references between them, and values as strings.

Rules read templates instead of constructs, so that they also cover escape hatches and raw overrides, resource types without a CDK
class, and the other stacks of the same app.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

Properties = Mapping[str, Any]

# property with the physical name of a resource, if the template sets one
_NAMES = {
    "AWS::SageMaker::Endpoint": "EndpointName",
    "AWS::SageMaker::EndpointConfig": "EndpointConfigName",
    "AWS::SageMaker::Model": "ModelName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::IAM::Role": "RoleName",
    "AWS::Lambda::Function": "FunctionName",
}
_NESTED = ".NestedStack/"  # in CDK's path of a nested stack's resource, after the path of the stack itself
_REFERENCE = re.compile(r"\$\{([^${}!]+)\}")
_EXPRESSION = re.compile(r"\{%.*%\}", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resource:
    """One resource of a template, or one that a state machine creates at run time.

    ``state`` is the name of the state that creates it; its properties are then the arguments of an API call. ``path`` is the
    construct's path, empty if the template has no such metadata.
    """

    template: "Template"
    logical_id: str
    type: str
    properties: Properties
    path: str
    state: str = ""

    @property
    def name(self) -> str:
        """The physical name, or a placeholder for one that CloudFormation generates."""
        named = self.properties.get(_NAMES.get(self.type, ""))
        return self.template.placeholder(self.logical_id) if named is None else self.text(named)

    @property
    def tags(self) -> dict[str, str]:
        """Tags as strings, from a list of keys and values or from a map."""
        tags = self.properties.get("Tags") or {}
        if isinstance(tags, Mapping):
            return {str(key): self.text(value) for key, value in tags.items()}
        return {self.text(tag.get("Key")): self.text(tag.get("Value")) for tag in tags if isinstance(tag, Mapping)}

    def get(self, path: str) -> Any:
        """Return the property at a dotted path, or None."""
        value: Any = self.properties
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def text(self, value: object) -> str:
        """Return a value of this resource as a string; parts that are only known at deployment are ``${...}``."""
        return self.template.text(value)

    def target(self, value: object) -> "Resource | None":
        """Return the resource that a value refers to, in any template of the app; None unless there is exactly one."""
        found = list(self.template.mentioned(value))
        return found[0] if len(found) == 1 else None


@dataclass(slots=True, kw_only=True, eq=False)
class Template:
    """One template; ``values`` contains the parameters that a parent stack passes, ``paths`` construct paths by logical id."""

    name: str
    body: Mapping[str, Any]
    assembly: "Assembly"
    parent: "Template | None" = None
    values: Mapping[str, Any] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)

    def resources(self) -> Iterator[Resource]:
        """Yield the resources in the template's order."""
        for logical_id, resource in self.body.get("Resources", {}).items():
            yield Resource(
                template=self,
                logical_id=logical_id,
                type=str(resource.get("Type", "")),
                properties=resource.get("Properties") or {},
                path=self.paths.get(logical_id) or str((resource.get("Metadata") or {}).get("aws:cdk:path", "")),
            )

    def placeholder(self, logical_id: str, attribute: str = "") -> str:
        """Return the placeholder of a resource's physical id or attribute in a string."""
        return f"${{{self.name}.{logical_id}{'.' if attribute else ''}{attribute}}}"

    def text(self, value: object) -> str:
        """Return a value as a string; parts that are only known at deployment are ``${...}``."""
        if isinstance(value, bool):
            return str(value).lower()
        if value is None or isinstance(value, str | int | float):
            return "" if value is None else str(value)
        if not isinstance(value, Mapping) or len(value) != 1:
            return json.dumps(value, sort_keys=True) if isinstance(value, Mapping | list) else str(value)
        (function, given), *_ = value.items()
        match function, given:
            case "Ref", str(name):
                return self._reference(name)
            case "Fn::GetAtt", [name, attribute]:
                return self._attribute(str(name), str(attribute))
            case "Fn::GetAtt", str(dotted):
                name, _, attribute = dotted.partition(".")
                return self._attribute(name, attribute)
            case "Fn::Join", [separator, list(parts)]:
                return str(separator).join(map(self.text, parts))
            case "Fn::Sub", str(pattern):
                return self._substituted(pattern, {})
            case "Fn::Sub", [str(pattern), dict(names)]:
                return self._substituted(pattern, names)
            case "Fn::ImportValue", exported:
                known = self.assembly.exports.get(self.text(exported))
                return f"${{import {self.text(exported)}}}" if known is None else known[0].text(known[1])
        return "${" + re.sub(r"[^A-Za-z0-9:_.-]+", " ", json.dumps(value, sort_keys=True)).strip() + "}"

    def mentioned(self, value: object) -> Iterator[Resource]:
        """Yield each resource of the app that a value refers to, once."""
        seen = set()
        for template, logical_id in self._mentions(value):
            found = self.assembly.by_id.get((template.name, logical_id))
            if found is not None and found not in seen:
                seen.add(found)
                yield found

    def _reference(self, name: str) -> str:
        if name in self.values and self.parent is not None:
            return self.parent.text(self.values[name])
        parameter = self.body.get("Parameters", {}).get(name)
        if parameter is not None:
            return self.text(parameter["Default"]) if "Default" in parameter else f"${{parameter {name}}}"
        known = self.assembly.by_id.get((self.name, name))
        if known is not None and _NAMES.get(known.type, "") in known.properties:
            return known.name
        return f"${{{name}}}" if name.startswith("AWS::") else self.placeholder(name)

    def _attribute(self, name: str, attribute: str) -> str:
        known = self.assembly.by_id.get((self.name, name))
        if known is not None and attribute == _NAMES.get(known.type):
            return known.name
        return self.placeholder(name, attribute)

    def _substituted(self, pattern: str, names: Mapping[str, Any]) -> str:
        def replace(match: re.Match[str]) -> str:
            name = match[1].strip()
            if name in names:
                return self.text(names[name])
            return self.text({"Fn::GetAtt": name} if "." in name else {"Ref": name})

        return _REFERENCE.sub(replace, pattern)

    def _mentions(self, value: object) -> Iterator[tuple["Template", str]]:
        if isinstance(value, list):
            for item in value:
                yield from self._mentions(item)
        elif isinstance(value, Mapping):
            for function, given in value.items():
                yield from self._mentions_of(function, given)

    def _mentions_of(self, function: str, given: Any) -> Iterator[tuple["Template", str]]:
        match function, given:
            case "Ref", str(name) if name in self.values and self.parent is not None:
                yield from self.parent._mentions(self.values[name])
            case "Ref", str(name):
                yield self, name
            case "Fn::GetAtt", [name, *_]:
                yield self, str(name)
            case "Fn::GetAtt", str(dotted):
                yield self, dotted.partition(".")[0]
            case "Fn::ImportValue", exported:
                known = self.assembly.exports.get(self.text(exported))
                if known is not None:
                    yield from known[0]._mentions(known[1])
            case "Fn::Sub", _:
                pattern, names = (given[0], given[1]) if isinstance(given, list) else (given, {})
                yield from self._mentions(list(names.values()))
                for name in _REFERENCE.findall(str(pattern)):
                    yield self, name.strip().partition(".")[0]
            case _:
                yield from self._mentions(given)


class Assembly:
    """All templates of an app, with nested stacks; resources refer to each other across them.

    Args:
        templates: Names and parsed bodies of the templates.

    Example:
        >>> assembly = Assembly({"Unit": {"Resources": {"Models": {"Type": "AWS::S3::Bucket"}}}})
        >>> [bucket.logical_id for bucket in assembly.of("AWS::S3::Bucket")]
        ['Models']
    """

    def __init__(self, templates: Mapping[str, Mapping[str, Any]]) -> None:
        self.templates = [Template(name=name, body=body, assembly=self) for name, body in templates.items()]

    @classmethod
    def load(cls, paths: Iterable[Path]) -> "Assembly":
        """Read templates and their nested ones, with the paths of their constructs.

        Args:
            paths: Template files in ``cdk.out``.
        """
        read = list(paths)
        assembly = cls({path.name.removesuffix(".template.json"): json.loads(path.read_text()) for path in read})
        for path, template in zip(read, list(assembly.templates), strict=True):
            stated = _stated_paths(path)
            template.paths = {logical_id: own for logical_id, own in stated if not _is_nested(own, stated)}
            assembly._load_nested(template, path.parent, stated)
        return assembly

    @cached_property
    def by_id(self) -> dict[tuple[str, str], Resource]:
        """Resources of the templates by template and logical id."""
        return {(r.template.name, r.logical_id): r for template in self.templates for r in template.resources()}

    @cached_property
    def exports(self) -> dict[str, tuple[Template, Any]]:
        """Template and value of each export, by export name."""
        found: dict[str, tuple[Template, Any]] = {}
        for template in self.templates:
            for output in template.body.get("Outputs", {}).values():
                name = (output.get("Export") or {}).get("Name")
                if isinstance(name, str):
                    found[name] = (template, output.get("Value"))
        return found

    def of(self, *types: str) -> Iterator[Resource]:
        """Yield the resources of these types that the templates declare."""
        return (resource for resource in self.by_id.values() if resource.type in types)

    def _load_nested(self, template: Template, folder: Path, stated: Sequence[tuple[str, str]]) -> None:
        for logical_id, resource in template.body.get("Resources", {}).items():
            asset = (resource.get("Metadata") or {}).get("aws:asset:path")
            if resource.get("Type") != "AWS::CloudFormation::Stack" or not asset or not (folder / asset).is_file():
                continue
            root = template.paths.get(logical_id, "").partition(_NESTED)[0]
            nested = Template(
                name=f"{template.name}.{logical_id}",
                body=json.loads((folder / asset).read_text()),
                assembly=self,
                parent=template,
                values=(resource.get("Properties") or {}).get("Parameters") or {},
                paths={name: path for name, path in stated if root and path.startswith(f"{root}/")},
            )
            self.templates.append(nested)
            self._load_nested(nested, folder, stated)


def _stated_paths(template: Path) -> list[tuple[str, str]]:
    """Return logical ids and paths of constructs from the assembly's manifest, for a stack and its nested stacks."""
    manifest = template.with_name("manifest.json")
    artifacts = json.loads(manifest.read_text())["artifacts"] if manifest.is_file() else {}
    found: dict[str, Any] = {}
    for artifact in artifacts.values():
        if artifact.get("properties", {}).get("templateFile") == template.name:
            apart = artifact.get("additionalMetadataFile")
            found = {
                **artifact.get("metadata", {}),
                **(json.loads(template.with_name(apart).read_text()) if apart else {}),
            }
    return [
        (str(entry["data"]), path.removeprefix("/"))
        for path, entries in found.items()
        for entry in entries
        if entry["type"] == "aws:cdk:logicalId"
    ]


def _is_nested(path: str, stated: Sequence[tuple[str, str]]) -> bool:
    """Return whether a construct is in a nested stack, which has its own logical ids."""
    roots = {own.partition(_NESTED)[0] for _, own in stated if _NESTED in own}
    return any(path.startswith(f"{root}/") for root in roots)


def is_expression(value: object) -> bool:
    """Return whether a value is a JSONata expression, which is only known in an execution of a state machine."""
    return isinstance(value, str) and _EXPRESSION.fullmatch(value.strip()) is not None


def is_true(value: object) -> bool:
    """Return whether a property is certainly true, as a boolean or as CloudFormation's string."""
    return value is True or value == "true"
