"""Comparison of two templates by resource, including the effects of replacements on referring resources."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlops_runtime.changes.plan import Action, Effect, PropertyChange, ResourceChange, StackChanges, holds_data, is_kept
from mlops_runtime.changes.template import Template, dead_letter_queues, references, unknown

FORMAT = "mlops.replacement/1"

# type that each sweep empties, and the property with its name in both; the tag of resources that may be emptied
_SWEPT = {
    "Custom::BucketSweep": ("AWS::S3::Bucket", "BucketName"),
    "Custom::ModelPackageSweep": ("AWS::SageMaker::ModelPackageGroup", "ModelPackageGroupName"),
}
_MARK = "mlops:swept"

_ATTRIBUTES = ("DeletionPolicy", "UpdateReplacePolicy", "UpdatePolicy", "CreationPolicy")
_CUSTOM = ("Custom::", "AWS::CloudFormation::CustomResource")
# properties that form the physical id of the platform's custom resources: on a change, CloudFormation deletes the old resource
_NAMES = {"Custom::MLOpsManifests": ("ClusterName", "Name")}
_SPEC = "Custom::MLOpsServingSpec"
_ENDPOINT = re.compile(r'"endpoint":\s*"([^"]*)"')
_REPLACING = (Action.REPLACED, Action.MAY_BE_REPLACED)
_MISSING: Any = object()


class SchemaError(ValueError):
    """An invalid table of schemas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSchema:
    """Properties of one type whose change replaces the resource."""

    # pointers of properties whose change replaces the resource, such as `KeySchema` or `Policies/*/PolicyArn`
    create_only: tuple[str, ...] = ()
    conditional: tuple[str, ...] = ()  # pointers of properties whose change may replace the resource


def read_schemas(table: Mapping[str, object]) -> dict[str, ResourceSchema]:
    """Return the schema of each type of a table, whose ``types`` are ``{TYPE: {"create_only": [...], "conditional": [...]}}``.

    Raises:
        SchemaError: If the table has another format.
    """
    types = table.get("types")
    if table.get("format") != FORMAT or not isinstance(types, Mapping):
        raise SchemaError(f"a table of schemas has the format {FORMAT!r} and `types`, got {table.get('format')!r}")
    return {
        name: ResourceSchema(
            create_only=tuple(pointers.get("create_only", ())), conditional=tuple(pointers.get("conditional", ()))
        )
        for name, pointers in types.items()
    }


def empties_nothing(body: Mapping[str, Any], deployed: Template, new: Template, replaced: Collection[str]) -> bool:
    """Return whether a sweep may be deleted without a loss: its resource stays, has the tag now, and loses it in the new template.

    A resource without the tag now may have been deployed by a version whose sweeper ignored tags.

    Args:
        body: The deployed sweep.
        deployed: The deployed template.
        new: The new template.
        replaced: Logical ids of resources that are, or may be, replaced: the old ones keep their tag.
    """
    if body["Type"] not in _SWEPT:
        return False
    kind, key = _SWEPT[body["Type"]]
    named = deployed.properties(body).get(key)
    then = new.resources()
    swept = [
        (name, old)
        for name, old in deployed.resources().items()
        if old["Type"] == kind
        and (name in {other for other, _ in references(named)} or deployed.properties(old).get(key, "") == named)
    ]
    return bool(swept) and all(
        name in then
        and then[name]["Type"] == kind
        and name not in replaced
        and _marked(deployed, old) is True
        and _marked(new, then[name]) is False
        for name, old in swept
    )


def _marked(template: Template, body: Mapping[str, Any]) -> bool | None:
    """Return whether a resource has the tag; None if that is only known at deployment."""
    tags = template.properties(body).get("Tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, dict) and isinstance(tag.get("Key"), str) for tag in tags):
        return None
    return any(tag["Key"] == _MARK for tag in tags)


def compare(
    stack: str, deployed: Template | None, new: Template, schemas: Mapping[str, ResourceSchema]
) -> StackChanges:
    """Return the changes that a deployment of the new template would make to a stack.

    Args:
        deployed: The deployed template; None for a new stack.
        new: The new template.
        schemas: Properties whose change replaces their resource, by type.
    """
    old = {} if deployed is None else deployed.resources()
    now = new.resources()
    pairs = {
        name: _Pair.of(name, deployed, old[name], new, now[name])
        for name in now
        if name in old and deployed is not None
    }
    changed = _changed(pairs, schemas)
    found = [
        changed[name] if name in changed else _whole(name, body, Action.CREATED)
        for name, body in now.items()
        if name in changed or name not in old
    ]
    created = {name: now[name] for name in now if name not in old}
    replaced = {name for name, change in changed.items() if change.action in _REPLACING}
    found += [
        _deleted(name, body, deployed, created, new=new, replaced=replaced)
        for name, body in old.items()
        if name not in now
    ]
    kept = frozenset() if deployed is None else dead_letter_queues(deployed)
    return StackChanges(
        stack=stack,
        is_new=deployed is None,
        changes=tuple(replace(change, holds_data=True) if change.logical_id in kept else change for change in found),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """A resource in both templates."""

    name: str
    old: Mapping[str, Any]
    new: Mapping[str, Any]
    old_properties: dict[str, object]
    new_properties: dict[str, object]

    @classmethod
    def of(
        cls, name: str, old: Template, old_body: Mapping[str, Any], new: Template, body: Mapping[str, Any]
    ) -> "_Pair":
        return cls(
            name=name,
            old=old_body,
            new=body,
            old_properties=old.properties(old_body),
            new_properties=new.properties(body),
        )

    @property
    def type(self) -> str:
        return str(self.new["Type"])

    @property
    def is_custom(self) -> bool:
        return self.type.startswith(_CUSTOM)


def _changed(pairs: Mapping[str, _Pair], schemas: Mapping[str, ResourceSchema]) -> dict[str, ResourceChange]:
    """Return the change of each resource in both templates, following references until a fixed point."""
    changes: dict[str, ResourceChange] = {}
    while True:
        before = dict(changes)
        for name, pair in pairs.items():
            change = _change(pair, schemas.get(pair.type), before)
            if change is not None:
                changes[name] = change
        if changes == before:
            return changes


def _change(pair: _Pair, schema: ResourceSchema | None, others: Mapping[str, ResourceChange]) -> ResourceChange | None:
    if pair.old["Type"] != pair.new["Type"]:
        return replace(_whole(pair.name, pair.new, Action.IMPOSSIBLE), was=str(pair.old["Type"]))
    properties = [
        *_own(pair, schema),
        *(
            PropertyChange(path=f"({a})", effect=Effect.UPDATE)
            for a in _ATTRIBUTES
            if pair.old.get(a) != pair.new.get(a)
        ),
    ]
    own = [change.path for change in properties]
    properties += [change for change in _caused(pair, schema, others) if not _lies_in(change.path, own)]
    if not properties:
        return None
    effects = {change.effect for change in properties}
    action = Action.CHANGED
    if Effect.REPLACE in effects:
        action = Action.REPLACED
    elif Effect.MAY_REPLACE in effects:
        action = Action.MAY_BE_REPLACED
    # the policy of either template counts: it may be removed in the same deployment that loses the data
    held = holds_data(pair.old) or holds_data(pair.new)
    return replace(_whole(pair.name, pair.new, action), properties=tuple(properties), holds_data=held)


def _own(pair: _Pair, schema: ResourceSchema | None) -> Iterator[PropertyChange]:
    """Yield the changes of the template itself."""
    for path in _differences(pair.old_properties, pair.new_properties, ()):
        yield PropertyChange(path=_shown(path), effect=_effect(pair, schema, path))


def _effect(pair: _Pair, schema: ResourceSchema | None, path: tuple[str | int, ...]) -> Effect:
    if pair.is_custom:
        return Effect.REPLACE if _is_renamed(pair, path) else Effect.FUNCTION_DECIDES
    if schema is None:
        return Effect.MAY_REPLACE
    for pointer in schema.create_only:
        sides = _touched(pair, pointer, path)
        if sides is not None:
            return Effect.REPLACE if _is_certain(*sides) else Effect.MAY_REPLACE
    if any(_touched(pair, pointer, path) is not None for pointer in schema.conditional):
        return Effect.MAY_REPLACE
    return Effect.UPDATE


def _is_renamed(pair: _Pair, path: tuple[str | int, ...]) -> bool:
    """Return whether a change at a path changes the physical id of one of the platform's custom resources."""
    if pair.type == _SPEC:
        old, new = (_ENDPOINT.search(str(side.get("Spec"))) for side in (pair.old_properties, pair.new_properties))
        return path[0] == "Spec" and old is not None and new is not None and old[1] != new[1]
    return path[0] in _NAMES.get(pair.type, ())


def _touched(pair: _Pair, pointer: str, path: tuple[str | int, ...]) -> tuple[Any, Any] | None:
    """Return a pointer's values on both sides if they differ and the changed path is within or around the pointer; else None."""
    keys = pointer.split("/")
    if any(key not in ("*", part) for key, part in zip(keys, path, strict=False)):
        return None
    old, new = (_found(side, keys) for side in (pair.old_properties, pair.new_properties))
    return (old, new) if old != new else None


def _found(value: Any, keys: list[str]) -> Any:
    if not keys:
        return value
    first, rest = keys[0], keys[1:]
    if first == "*":
        items = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
        return [_found(item, rest) for item in items]
    if isinstance(value, list):
        return [_found(item, keys) for item in value]
    if not isinstance(value, dict):
        return None
    return _found(value[first], rest) if first in value else None


def _is_certain(old: Any, new: Any) -> bool:
    """Return whether two values that differ in the templates certainly differ at deployment."""
    if old is None or new is None or not (unknown(old) or unknown(new)):
        return True
    sides = [references(side) for side in (old, new)]
    alone = all(isinstance(side, dict) and set(side) <= {"Ref", "Fn::GetAtt"} for side in (old, new))
    return alone and not {name for name, _ in sides[0]} & {name for name, _ in sides[1]}


def _caused(
    pair: _Pair, schema: ResourceSchema | None, others: Mapping[str, ResourceChange]
) -> Iterator[PropertyChange]:
    """Yield the properties whose value changes because a resource that they refer to is replaced."""
    for path, value in _leaves(pair.new_properties, ()):
        for name, is_attribute in sorted(references(value)):
            other = others.get(name)
            if other is None or name == pair.name:
                continue
            decided = is_attribute and any(change.effect is Effect.FUNCTION_DECIDES for change in other.properties)
            if other.action not in _REPLACING and not decided:
                continue
            effect = _effect_of_value(pair, schema, path)
            if effect is Effect.REPLACE and other.action is not Action.REPLACED:
                effect = Effect.MAY_REPLACE
            yield PropertyChange(path=_shown(path), effect=effect, cause=name)
            break


def _lies_in(path: str, others: list[str]) -> bool:
    return any(path == other or path.startswith((f"{other}.", f"{other}[")) for other in others)


def _effect_of_value(pair: _Pair, schema: ResourceSchema | None, path: tuple[str | int, ...]) -> Effect:
    if pair.is_custom:
        return Effect.FUNCTION_DECIDES
    if schema is None:
        return Effect.MAY_REPLACE
    for pointers, effect in ((schema.create_only, Effect.REPLACE), (schema.conditional, Effect.MAY_REPLACE)):
        if any(_is_within(pointer.split("/"), path) for pointer in pointers):
            return effect
    return Effect.UPDATE


def _is_within(keys: list[str], path: tuple[str | int, ...]) -> bool:
    return len(path) >= len(keys) and all(k in ("*", p) for k, p in zip(keys, path, strict=False))


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield the paths and values of leaves: scalars, and intrinsic functions as a whole."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    elif isinstance(value, dict) and not any(key == "Ref" or key.startswith("Fn::") for key in value):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    else:
        yield path, value


def _differences(old: Any, new: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict) and not _is_function(old) and not _is_function(new):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key, _MISSING), new.get(key, _MISSING), (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            yield from _differences(left, right, (*path, index))
    else:
        yield path


def _is_function(value: dict[str, object]) -> bool:
    return len(value) == 1 and all(key == "Ref" or key.startswith("Fn::") for key in value)


def _shown(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _whole(name: str, body: Mapping[str, Any], action: Action) -> ResourceChange:
    metadata = body.get("Metadata")
    path = metadata.get("aws:cdk:path") if isinstance(metadata, Mapping) else None
    return ResourceChange(
        logical_id=name,
        type=str(body["Type"]),
        action=action,
        construct_path=None if path is None else str(path),
        holds_data=holds_data(body),
        is_kept=is_kept(body, action),
    )


def _deleted(
    name: str,
    body: Mapping[str, Any],
    deployed: Template | None,
    created: Mapping[str, Mapping[str, Any]],
    *,
    new: Template,
    replaced: Collection[str],
) -> ResourceChange:
    change = _whole(name, body, Action.DELETED)
    if deployed is None or not change.holds_data:
        return change
    if empties_nothing(body, deployed, new, replaced):
        return replace(change, holds_data=False)
    properties = deployed.properties(body)
    equal = [
        other for other, made in created.items() if made["Type"] == body["Type"] and new.properties(made) == properties
    ]
    return replace(change, moved_to=equal[0] if len(equal) == 1 else None)
