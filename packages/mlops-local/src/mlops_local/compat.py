"""Every private name of MiniStack that we use, asserted before the embedded cloud starts.

MiniStack has no interface for plug-ins. Its version is pinned, and each of our modules says here which names it patches or calls:

    compat.expect("ministack.services.sqs", _ensure_msg_fields="(m)", _queues=object)

A string is a function's exact signature, a type what the value must be an instance of.
"""

import importlib
import importlib.metadata
import inspect

VERSION = "1.5.33"

_SEAMS: dict[tuple[str, str], str | type] = {}


class CompatError(RuntimeError):
    """MiniStack is not the one that this package was written for."""


def expect(module: str, **names: str | type) -> None:
    """Say which names of a module of MiniStack the caller uses.

    Raises:
        CompatError: When another module expects something else of the same name.
    """
    for name, kind in names.items():
        if _SEAMS.setdefault((module, name), kind) != kind:
            raise CompatError(f"{module}.{name} is expected as {_SEAMS[module, name]} and as {kind}")


def check() -> None:
    """Assert the version and every expected name.

    Raises:
        CompatError: With all that is missing or different.
    """
    problems = []
    found = importlib.metadata.version("ministack")
    if found != VERSION:
        problems.append(f"version must be {VERSION}, got {found}")
    problems += [problem for (module, name), kind in _SEAMS.items() if (problem := _problem(module, name, kind))]
    if problems:
        raise CompatError(f"ministack {found} does not fit: {'; '.join(problems)}; install mlops-local again")


def _problem(module: str, name: str, kind: str | type) -> str | None:
    try:
        value = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return f"{module}.{name} is missing"
    if isinstance(kind, type):
        return (
            None
            if isinstance(value, kind)
            else f"{module}.{name} must be a {kind.__name__}, got {type(value).__name__}"
        )
    if not callable(value):
        return f"{module}.{name} must be a function {kind}, got {type(value).__name__}"
    signature = _signature(value)
    return None if signature == kind else f"{module}.{name} must be a function {kind}, got {signature}"


def _signature(function: object) -> str:
    """Return names, kinds and defaults of the parameters; annotations may change without harm."""
    signature = inspect.signature(function)  # type: ignore[arg-type]  # the caller saw that it is callable
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
