"""The stores of the embedded cloud that are saved, and those that are not, with the reason: declared where they live.

    _SET: dict[str, float] = kept_stores.keep(__name__, "_SET", {})
    _PORTS: dict[str, int] = kept_stores.leave(__name__, "_PORTS", {}, why="ports of this run's processes")

`tests/local/saved_state/test_kept_stores.py` holds that every store of a module is in one of the two.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
C = TypeVar("C", bound=type)


class StoreError(RuntimeError):
    """Two stores have one name, or what was saved of one does not fit it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A store that is saved.

    Args:
        save: Returns its content.
        restore: Puts back what ``save`` returned.
        restart: Starts again what runs behind it, once the cloud answers; returns what cannot. Default: nothing runs.
    """

    save: Callable[[], Any]
    restore: Callable[[Any], None]
    restart: Callable[[], list[str]] | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """A store that is not saved.

    Args:
        store: The store.
        why: What it holds, and why that ends with the cloud.
        is_named: Whether `mlops local down` names it before it asks, as something that a user would look for.
    """

    store: Any
    why: str
    is_named: bool = False


_KEPT: dict[str, Kept] = {}
_LEFT: dict[str, Left] = {}
_RECORDS: dict[str, type] = {}
_RECORD_NAMES: dict[type, str] = {}


def kept() -> dict[str, Kept]:
    """Return the stores of this package that are saved."""
    return dict(_KEPT)


def left() -> dict[str, Left]:
    """Return the stores of this package that are not saved."""
    return dict(_LEFT)


def keep(module: str, name: str, store: T) -> T:
    """Save a container with its content, and return it.

    Args:
        module: ``__name__`` of its module.
        name: Its name there.
        store: A dict, list, set or deque, empty.
    """
    keep_by(module, name, save=lambda: store, restore=lambda content: refill(store, content))
    return store


def keep_by(
    module: str,
    name: str,
    *,
    save: Callable[[], Any],
    restore: Callable[[Any], None],
    restart: Callable[[], list[str]] | None = None,
) -> None:
    """Save a store in a form of its own: see ``Kept``.

    Raises:
        StoreError: When another one has the name.
    """
    _add(_KEPT, module, name, Kept(save, restore, restart))


def leave(module: str, name: str, store: T, *, why: str, is_named: bool = False) -> T:
    """Say that a store is not saved, and return it: see ``Left``.

    Raises:
        StoreError: When another one has the name.
    """
    _add(_LEFT, module, name, Left(store, why, is_named))
    return store


def record(cls: C) -> C:
    """Let instances of a dataclass or named tuple be part of what is saved, by the names of their fields: a decorator.

    Raises:
        StoreError: When another class has the name.
    """
    name = f"{cls.__module__.removeprefix('mlops_local.')}.{cls.__qualname__}"
    if name in _RECORDS:
        raise StoreError(f"two classes are named {name}")
    _RECORDS[name], _RECORD_NAMES[cls] = cls, name
    return cls


def record_name(cls: type) -> str | None:
    """Return the name of a class whose instances are saved."""
    return _RECORD_NAMES.get(cls)


def record_class(name: str) -> type | None:
    """Return the class of a name."""
    return _RECORDS.get(name)


def refill(store: Any, content: Any) -> None:
    """Give a container the content of another one; who holds it sees the new content.

    Raises:
        StoreError: When it is another kind of container.
    """
    if type(store) is not type(content):
        raise StoreError(f"a {type(store).__name__} cannot take a {type(content).__name__}")
    if hasattr(store, "_data"):  # MiniStack's dicts by account
        store, content = store._data, content._data
    store.clear()
    if isinstance(store, list | deque):
        store.extend(content)
    else:
        store.update(content)


def _add(table: dict[str, Any], module: str, name: str, entry: object) -> None:
    full = f"{module.removeprefix('mlops_local.')}.{name}"
    if full in _KEPT or full in _LEFT:
        raise StoreError(f"two stores are named {full}")
    table[full] = entry
