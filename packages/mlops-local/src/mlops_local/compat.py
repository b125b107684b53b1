"""Check of MiniStack's private names that the embedded cloud uses, before it starts.

MiniStack has no plug-in interface. Its version is pinned, and ``ministack_names.toml`` lists the names that our modules patch or
call: the exact parameters of a function, or the type of a value.
"""

import importlib
import importlib.metadata
import inspect
import tomllib
from pathlib import Path

VERSION = "1.5.33"
NAMES = Path(__file__).with_name("ministack_names.toml").read_text("utf-8")


class CompatError(RuntimeError):
    """The installed MiniStack is not the supported one."""


def check(names: str = NAMES) -> None:
    """Check the version and all names of a TOML document.

    Raises:
        CompatError: Listing everything that is missing or different.
    """
    problems = []
    found = importlib.metadata.version("ministack")
    if found != VERSION:
        problems.append(f"version must be {VERSION}, got {found}")
    for module, kinds in tomllib.loads(names).items():
        problems += [problem for name, kind in kinds.items() if (problem := _problem(module, name, kind))]
    if problems:
        raise CompatError(f"ministack {found} does not fit: {'; '.join(problems)}; install mlops-local again")


def _problem(module: str, name: str, kind: str) -> str | None:
    try:
        value = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return f"{module}.{name} is missing"
    if not kind.startswith("("):
        types = [each.__name__ for each in type(value).__mro__]
        return None if kind in types else f"{module}.{name} must be a {kind}, got {types[0]}"
    if not callable(value):
        return f"{module}.{name} must be a function {kind}, got {type(value).__name__}"
    signature = _signature(value)
    return None if signature == kind else f"{module}.{name} must be a function {kind}, got {signature}"


def _signature(function: object) -> str:
    """Return names, kinds and defaults of the parameters, without annotations."""
    signature = inspect.signature(function)  # type: ignore[arg-type]  # the caller checked that it is callable
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
