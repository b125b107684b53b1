"""Writes the app that an author of plain L1s would write for the resources of a template: `CfnBucket(...)`, typed properties."""

import importlib
import inspect
import re
import typing
from typing import Any

import aws_cdk as cdk

_LISTS, _MAPS = "Sequence", "Mapping"  # of the annotations


def app_source(template: dict[str, Any]) -> str:
    """Return a program whose stack ``Plain`` has the resources of ``template`` with the same ids and properties.

    Each distinct reference is one variable; documents, such as policies, are dictionaries. Custom resources have no class and
    stay `CfnResource`. Raises ``KeyError`` for a property that its class does not have.
    """
    app = _App()
    for name, resource in template["Resources"].items():
        app.add(name, resource["Type"], resource.get("Properties", {}))
    return app.source()


class _App:
    def __init__(self) -> None:
        self._modules: set[str] = set()
        self._references: dict[str, str] = {}
        self._resources: list[str] = []

    def source(self) -> str:
        modules = ", ".join(sorted(self._modules))
        references = [f"{name} = cdk.Token.as_string({value})" for value, name in self._references.items()]
        return "\n".join(
            [
                "import aws_cdk as cdk",
                f"from aws_cdk import {modules}",
                "app = cdk.App()",
                'stack = cdk.Stack(app, "Plain")',
                *references,
                *self._resources,
                "app.synth()",
                "",
            ]
        )

    def add(self, name: str, kind: str, properties: dict[str, Any]) -> None:
        vendor, service, *rest = kind.split("::")
        if vendor != "AWS" or service == "CloudFormation":
            self._resources.append(f"cdk.CfnResource(stack, {name!r}, type={kind!r}, properties={properties!r})")
            return
        defined = getattr(importlib.import_module(f"aws_cdk.aws_{service.lower()}"), f"Cfn{rest[0]}")
        self._resources.append(self._call(defined, properties, f"stack, {name!r}"))

    def _call(self, defined: type, properties: dict[str, Any], first: str = "") -> str:
        hints = _hints(defined)
        names = {_letters(name): name for name in hints if not (first and name in ("scope", "id"))}
        arguments = [
            f"{names[_letters(key)]}={self._value(value, hints[names[_letters(key)]])}"
            for key, value in properties.items()
        ]
        return f"{self._name(defined)}({', '.join(filter(None, [first, *arguments]))})"

    def _name(self, defined: type) -> str:
        if defined is cdk.CfnTag:
            return "cdk.CfnTag"
        module = defined.__module__.rpartition(".")[2]
        self._modules.add(module)
        return f"{module}.{defined.__qualname__}"

    def _value(self, value: Any, hint: Any) -> str:
        if _is_reference(value):
            return self._reference(value) if _takes_text(hint) else repr(value)
        if isinstance(value, dict):
            if structs := _structs(hint):
                return self._call(structs[0], value)
            if of := _items(hint, _MAPS):
                return "{" + ", ".join(f"{key!r}: {self._value(item, of[1])}" for key, item in value.items()) + "}"
        if isinstance(value, list) and (of := _items(hint, _LISTS)):
            return "[" + ", ".join(self._value(item, of[0]) for item in value) + "]"
        return repr(value)

    def _reference(self, value: dict[str, Any]) -> str:
        return self._references.setdefault(repr(value), f"reference_{len(self._references)}")


def _letters(name: str) -> str:
    return name.replace("_", "").lower()


def _is_reference(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) == 1
        and (next(iter(value)) == "Ref" or next(iter(value)).startswith("Fn::"))
    )


def _hints(defined: type) -> dict[str, Any]:
    """Return the types of a constructor's arguments; the generated classes keep them at the function that checks them."""
    constructor: Any = defined.__init__  # type: ignore[misc] # of this very class
    stub = re.search(r"_typecheckingstub__\w+", inspect.getsource(constructor))
    found = typing.get_type_hints(constructor.__globals__[stub.group()] if stub else constructor)
    return {name: hint for name, hint in found.items() if name != "return"}


def _takes_text(hint: Any) -> bool:
    inner = [each for each in typing.get_args(hint) if _origin(each) not in (_LISTS, _MAPS)]
    return hint is str or (hint is not Any and any(map(_takes_text, inner)))


def _structs(hint: Any) -> list[type]:
    if inspect.isclass(hint) and (hint.__name__.endswith("Property") or hint is cdk.CfnTag):
        return [hint]
    return [struct for each in typing.get_args(hint) for struct in _structs(each)]


def _items(hint: Any, kind: str) -> tuple[Any, ...]:
    if _origin(hint) == kind:
        return typing.get_args(hint)
    return next((found for each in typing.get_args(hint) if (found := _items(each, kind))), ())


def _origin(hint: Any) -> str:
    return getattr(typing.get_origin(hint), "__name__", "")
