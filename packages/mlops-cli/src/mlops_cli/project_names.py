"""Which names a generated project's package must not have: those of what it imports."""

import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

# what pyproject.toml of the template asks for; their requirements follow from their metadata
_OURS = ("mlops-cli", "mlops-constructs", "mlops-local", "mlops-runtime")
_ROOTS = (*_OURS, "lightgbm", "onnxmltools", "pytest", "ruff")


def owner(package: str) -> str | None:
    """Return what has a package's name already, as a distribution or a module, or None.

    Args:
        package: Name of the package, which is that of its distribution too.

    Example:
        >>> owner("aws_cdk")
        'aws-cdk-lib'
    """
    return _owners().get(_same(package))


@cache  # reads the metadata of all that is installed, which a process does not change
def _owners() -> dict[str, str]:
    needed = {_same(name): name for name in _needed()}
    found = {name: f"Python's own {name}" for name in sys.stdlib_module_names}
    found |= needed
    for module, distributions in packages_distributions().items():
        owned = sorted(
            {needed[_same(name)] for name in distributions if _same(name) in needed}, key=lambda name: (len(name), name)
        )
        if owned:  # of several that share a folder the one with the shortest name is best known
            found[_same(module)] = owned[0]
    return found | {_same(name): name for name in _OURS}  # of an editable installation no list speaks


def _needed() -> Iterator[str]:
    """Yield the distributions that a project gets, with every extra; one that is not installed here is a name still."""
    seen: set[str] = set()
    left = list(_ROOTS)
    while left:
        name = left.pop()
        if _same(name) in seen:
            continue
        seen.add(_same(name))
        yield name
        try:
            left += [match[0] for line in requires(name) or [] if (match := re.match(r"[A-Za-z0-9._-]+", line))]
        except PackageNotFoundError:
            continue


def _same(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()
