"""Type checks of arguments: a wrong type is reported in the ``ValidationError`` with other problems and never fails inside jsii.

``checked`` wraps a function, or the constructor, factories and public methods of a class, inherited ones included. When an argument
of a constructor or factory has a wrong type, the others are still validated: the call is repeated with them in a scratch stack, up
to the constructor's first ``raise_if_any``. A method is not called. typeguard is not used because the version that jsii pins
accepts a string for ``iam.IRole`` and rejects number tokens.
"""

import dataclasses
import functools
import inspect
import math
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar

import aws_cdk as cdk
import jsii

from constructs import Construct
from mlops_constructs._metric_options import metric_problems
from mlops_constructs._validation import ValidationError, is_known, tried

Checked = TypeVar("Checked", bound=Callable[..., Any])
_CONTRACTS = "mlops_runtime.contracts."
_LONGEST = 120
_LEFT_OUT = ", or left out"
_EXAMPLES = {
    "Duration": "a cdk.Duration such as Duration.days(90)",
    "Size": "a cdk.Size such as Size.gibibytes(30)",
    "Construct": "a construct, such as the stack",
    "str": "a string",
    "int": "a whole number",
    "float": "a finite number",
    "bool": "True or False",
    "Path": "a path such as 'features.lock.json'",
}


def checked(code: str) -> Callable[[Checked], Checked]:
    """Return a decorator that checks the types of arguments of a function, or of a class's constructor, factories and methods.

    Args:
        code: Code of the ``ValidationError`` that lists every argument of a wrong type.
    """

    def decorate(item: Checked) -> Checked:
        if not isinstance(item, type):
            return typing.cast(Checked, _wrapped(item, code, bound=0))
        original: Callable[..., Any] = vars(item)["__init__"]
        type.__setattr__(item, "__init__", _wrapped(original, code, bound=1))
        for name, member in list(vars(item).items()):
            if isinstance(member, classmethod) and not name.startswith("_"):
                type.__setattr__(item, name, classmethod(_wrapped(member.__func__, code, bound=1)))
        for kind in item.__mro__:
            if kind.__module__.startswith(f"{__package__}."):
                _wrap_methods(kind, code)
        return item

    return decorate


def _wrap_methods(kind: type, code: str) -> None:
    """Check the public methods of a class that have arguments; those of a common base are checked once."""
    for name, member in list(vars(kind).items()):
        if not inspect.isfunction(member) or name.startswith("_") or hasattr(member, "__wrapped__"):
            continue
        if member.__annotations__.keys() - {"return"}:
            type.__setattr__(kind, name, _wrapped(member, code, bound=1, is_method=True))


def _wrapped(function: Callable[..., Any], code: str, *, bound: int, is_method: bool = False) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        hints, parameters = _hints(function), _parameters(function)
        given = {**dict(zip(parameters, args, strict=False)), **kwargs}
        named = {name: value for name, value in given.items() if name in hints}
        problems = [
            problem
            for name, value in named.items()
            for problem in _problems_of(name, value, hints[name], is_required=parameters.get(name, False))
        ]
        scope = given.get("scope")
        if isinstance(scope, Construct) and isinstance(given.get("id"), str):
            problems += _id_problems(scope, given["id"])
        options = _options(function)
        if options:
            known = {name: value for name, value in kwargs.items() if name not in hints or is_of(value, hints[name])}
            problems += metric_problems(
                {name: value for name, value in known.items() if name not in parameters},
                allowed=options,
                variants=getattr(args[0], "_variants", None),
            )
        if problems and not is_method:
            right = {name: value for name, value in named.items() if not [*_problems_of(name, value, hints[name])]}
            problems += _value_problems(function, args[:bound], right)
        if problems:
            where = args[0] if is_method else scope
            raise ValidationError(code, problems, where if isinstance(where, Construct) else None)
        return function(*args, **kwargs)

    return call


def _value_problems(function: Callable[..., Any], bound: Sequence[Any], arguments: dict[str, Any]) -> list[str]:
    """Return the problems of the correctly typed arguments, with defaults for the others; nothing is added to the caller's app."""
    if "scope" in arguments:
        stack = _stack_of_trials()
        arguments |= {"scope": stack, "id": f"Trial{len(stack.node.children)}"}
    try:
        with tried():
            function(*bound, **arguments)
    except ValidationError as error:
        return list(error.problems)
    except (AttributeError, TypeError, jsii.errors.JSIIError):  # an argument of a wrong type is required
        pass
    return []


@functools.cache
def _stack_of_trials() -> cdk.Stack:
    return cdk.Stack(cdk.App(), "Trials")


def _id_problems(scope: Construct, id: str) -> list[str]:
    """Check the rules for ids that CDK enforces in JavaScript: https://docs.aws.amazon.com/cdk/v2/guide/identifiers.html."""
    if not id or not is_known(id):
        return [f"id must be a name that is known at synthesis, got {shown(id)}"]
    if scope.node.try_find_child(id) is not None:
        return [f"id must be unique in {scope.node.path or 'the app'!r}, got {id!r} a second time; use another id"]
    return []


@functools.cache
def _parameters(function: Callable[..., Any]) -> Mapping[str, bool]:
    """Return the names of a function's parameters, in order, and whether each is required."""
    parameters = inspect.signature(function).parameters
    return {name: each.default is each.empty for name, each in parameters.items()}


@functools.cache
def _hints(item: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the annotations of a function's arguments, with those of each of its ``**options``, or of a class's fields."""
    hints = typing.get_type_hints(item)
    hints.pop("return", None)
    unpacked = [name for name, each in hints.items() if typing.get_origin(each) is typing.Unpack]
    for name in unpacked:
        hints |= typing.get_type_hints(typing.get_args(hints.pop(name))[0])
    return hints


@functools.cache
def _options(function: Callable[..., Any]) -> Sequence[str]:
    """Return the names of a function's ``**options``, which are all of a metric."""
    return [name for name in _hints(function) if name not in _parameters(function)]


def _problems_of(name: str, value: object, annotation: Any, *, is_required: bool = False) -> Iterator[str]:
    """Yield the problems of a value, including the fields of a contract class, which is otherwise checked only when it is read."""
    problem = problem_of(name, value, annotation, is_required=is_required)
    if problem is not None:
        yield problem
    elif isinstance(value, tuple | list):
        for index, each in enumerate(value):
            yield from _problems_of(f"{name}[{index}]", each, object)
    elif dataclasses.is_dataclass(value) and type(value).__module__.startswith(_CONTRACTS):
        kind: type = type(value)
        hints = _hints(kind)
        for field in dataclasses.fields(value):
            yield from _problems_of(f"{name}.{field.name}", getattr(value, field.name), hints[field.name])


def problem_of(name: str, value: object, annotation: Any, *, is_required: bool = False) -> str | None:
    """Return the problem of a value that its annotation does not allow, with the value got, what is allowed and the fix.

    Example:
        >>> problem_of("name", 5, str)
        'name must be a string, got 5'
        >>> problem_of("zones", "ab", Sequence[str])
        "zones must be a list of strings, got 'ab'; write ['ab'] for a list of one"
    """
    if is_of(value, annotation):
        return None
    fix = ""
    alone = [each for each in _members(annotation) if typing.get_origin(each) in (Sequence, tuple, list)]
    if alone and is_of(value, _item(alone[0])):
        is_tuple = typing.get_origin(alone[0]) is tuple
        one = (f"({value!r},)" if is_tuple else f"[{value!r}]") if isinstance(value, str | int) else "it in brackets"
        fix = f"; write {one} for a {'tuple' if is_tuple else 'list'} of one"
    allowed = described(annotation)
    if is_required:
        allowed = allowed.removesuffix(_LEFT_OUT)
    return f"{name} must be {allowed}, got {shown(value)}{fix}"


def is_of(value: object, annotation: Any) -> bool:
    """Return whether a value matches an annotation; number tokens count as numbers."""
    if annotation is Any or annotation is object or isinstance(annotation, TypeVar):
        return True
    if annotation is None or annotation is type(None):
        return value is None
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(is_of(value, each) for each in arguments)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(is_of(each, arguments[0]) for each in value)
    if origin in (Sequence, list):
        return isinstance(value, list | tuple) and all(is_of(each, arguments[0]) for each in value)
    if origin is Mapping or origin is dict:
        key, item = arguments
        return isinstance(value, Mapping) and all(is_of(k, key) and is_of(v, item) for k, v in value.items())
    if origin is not None:
        return callable(value) if origin is Callable else isinstance(value, origin)
    if annotation in (int, float):
        return _is_number(value, annotation)
    if getattr(annotation, "_is_protocol", False):
        return _offers(value, annotation)
    if annotation in (cdk.Duration, cdk.Size):
        return isinstance(value, annotation) and not value.is_unresolved()
    return isinstance(value, annotation)


def _is_number(value: object, kind: type) -> bool:
    # jsii sends numbers to Node.js as JSON, which cannot represent infinity: the process would end
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return kind is float or isinstance(value, int) or cdk.Token.is_unresolved(value)


def _offers(value: object, interface: type) -> bool:
    """Return whether an object implements an interface: one of jsii by declaration, a protocol of this package by its members."""
    if not hasattr(interface, "__jsii_type__"):
        missing = object()
        return all(inspect.getattr_static(value, name, missing) is not missing for name in _interface(interface))
    # an object that jsii returns only as an interface has no Python base class; it stores proxies of its interfaces instead
    kinds = [type(each) for each in getattr(value, "_delegates", ())] or [type(value)]
    bases = [base for kind in kinds for base in kind.__mro__]
    declared = {wider for base in bases for each in getattr(base, "__jsii_ifaces__", ()) for wider in each.__mro__}
    types_of = {getattr(base, "__jsii_type__", None) for base in bases}
    return interface in bases or interface in declared or interface.__jsii_type__ in types_of


def _interface(interface: type) -> Iterator[str]:
    for base in interface.__mro__:
        if getattr(base, "_is_protocol", False):
            yield from (name for name in vars(base) if not name.startswith("_"))


def described(annotation: Any) -> str:
    """Describe an annotation in words, with an example for known types.

    Example:
        >>> described(Sequence[str] | None)
        'a list of strings, or left out'
    """
    members = _members(annotation)
    if {str, Path} <= set(members):
        # every string is also a path, and one example covers both
        members = tuple(each for each in members if each is not str)
    words = list(dict.fromkeys(_described(each) for each in members if each is not type(None)))
    return " or ".join(words) + (_LEFT_OUT if type(None) in members else "")


def _described(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return (
            "one of " + ", ".join(repr(each) for each in arguments)
            if len(arguments) > 2
            else " or ".join(map(repr, arguments))
        )
    if origin in (tuple, Sequence, list):
        return f"a {'tuple' if origin is tuple else 'list'} of {_plural(arguments[0])}"
    if origin is Mapping:
        return f"a mapping of {_plural(arguments[0])} to {_plural(arguments[1])}"
    if origin is Callable:
        return "a function"
    name = getattr(annotation, "__name__", str(annotation))
    if name in _EXAMPLES:
        return _EXAMPLES[name]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f"{name}.{each.name}" for each in annotation)
    if hasattr(annotation, "__jsii_type__"):
        return f"{_with_article(_short(annotation))}{_lookup(annotation, name)}"
    if getattr(annotation, "_is_protocol", False):
        return f"{_with_article(name)}{_defined(name)}"
    factories = [
        each for each, member in vars(annotation).items() if isinstance(member, classmethod) and each[0] != "_"
    ]
    return _with_article(f"{name} such as {name}.{factories[0]}(...)" if factories else f"{name}(...)")


def _lookup(interface: type, name: str) -> str:
    """Return the factory that imports a resource of another stack, such as ``Key.from_key_arn(...)``."""
    kind = getattr(sys.modules[interface.__module__], name[1:], None)
    found = [each for each in vars(kind) if each.startswith("from_")] if name[0] == "I" and kind is not None else []
    by = sorted(found, key=lambda each: (not each.endswith(("_arn", "_name", "_id")), each))
    return f" such as {name[1:]}.{by[0]}(...)" if by else ""


def _defined(name: str) -> str:
    """Return the class that implements an interface of this package, such as ``ModelRegistry(...)``."""
    kind = getattr(sys.modules[__package__], name[1:], None)
    return "" if kind is None else f" such as {name[1:]}(...)"


def _short(kind: type) -> str:
    """Return the module and name of a type, such as ``aws_kms.IKey``."""
    return f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"


def _with_article(text: str) -> str:
    return f"{'an' if text[0] in 'AEIOaeiou' else 'a'} {text}"


def _plural(annotation: Any) -> str:
    word = {str: "strings", int: "whole numbers", float: "finite numbers", bool: "True or False"}.get(annotation)
    if word is not None:
        return word
    if typing.get_origin(annotation) is Literal:
        *names, last = map(repr, typing.get_args(annotation))
        return f"{', '.join(names)} or {last}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return described(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return described(annotation)
    return str(getattr(annotation, "__name__", "values"))


def _members(annotation: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


def _item(annotation: Any) -> Any:
    return typing.get_args(annotation)[0]


def shown(value: object) -> str:
    """Return a value for a message: shortened, and as its type alone when it has no ``repr`` of its own.

    Example:
        >>> len(shown("x" * 500))
        123
    """
    if isinstance(value, cdk.Duration | cdk.Size) and value.is_unresolved():
        return f"a {type(value).__name__} that is only known at deployment"
    text = repr(value)
    if " object at 0x" in text and not isinstance(value, list | tuple | dict):
        return _with_article(_short(type(value)))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
