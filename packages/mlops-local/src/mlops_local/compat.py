"""Private names of MiniStack that the embedded cloud uses, checked before it starts.

MiniStack has no plug-in interface. Its version is pinned, and each module declares the names that it patches or calls:

    compat.expect("ministack.services.sqs", _ensure_msg_fields="(m)", _queues=object)

A string is the exact signature of a function; a type is the required type of a value.
"""

import importlib
import importlib.metadata
import inspect

VERSION = "1.5.33"

_SEAMS: dict[tuple[str, str], str | type] = {}


class CompatError(RuntimeError):
    """The installed MiniStack is not the supported one."""


def expect(module: str, **names: str | type) -> None:
    """Declare the names of a MiniStack module that the caller uses.

    Raises:
        CompatError: If another module declared the same name differently.
    """
    for name, kind in names.items():
        if _SEAMS.setdefault((module, name), kind) != kind:
            raise CompatError(f"{module}.{name} is expected as {_SEAMS[module, name]} and as {kind}")


def check() -> None:
    """Check the version and all declared names.

    Raises:
        CompatError: Listing everything that is missing or different.
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
    """Return names, kinds and defaults of the parameters, without annotations."""
    signature = inspect.signature(function)  # type: ignore[arg-type]  # the caller checked that it is callable
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
