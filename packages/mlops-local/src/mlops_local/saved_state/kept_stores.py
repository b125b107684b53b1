"""Declarations of the embedded cloud's stores, made in their modules: stores to save, and stores not to save, with a reason.

    _SET: dict[str, float] = kept_stores.keep(__name__, "_SET", {})
    _PORTS: dict[str, int] = kept_stores.leave(__name__, "_PORTS", {}, why="ports of this run's processes")

`tests/local/saved_state/test_kept_stores.py` checks that every store of a module is declared.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
C = TypeVar("C", bound=type)


class StoreError(RuntimeError):
    """Two stores have the same name, or the saved content does not fit its store."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A saved store."""

    save: Callable[[], Any]  # returns its content
    restore: Callable[[Any], None]  # restores the content that `save` returned
    # restarts what depends on it, once the cloud responds; returns failures. Default: nothing to restart
    restart: Callable[[], list[str]] | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """A store that is not saved."""

    store: Any
    why: str  # its content, and why that ends with the cloud
    is_named: bool = False  # whether `mlops local down` mentions it before it asks, because users would miss it


_KEPT: dict[str, Kept] = {}
_LEFT: dict[str, Left] = {}
_RECORDS: dict[str, type] = {}
_RECORD_NAMES: dict[type, str] = {}


def kept() -> dict[str, Kept]:
    """Return this package's saved stores."""
    return dict(_KEPT)


def left() -> dict[str, Left]:
    """Return this package's stores that are not saved."""
    return dict(_LEFT)


def keep(module: str, name: str, store: T) -> T:
    """Declare that an empty dict, list, set or deque of a module is saved with its content, and return it."""
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
    """Declare that a store is saved by functions; see ``Kept``.

    Raises:
        StoreError: If the name is already declared.
    """
    _add(_KEPT, module, name, Kept(save, restore, restart))


def leave(module: str, name: str, store: T, *, why: str, is_named: bool = False) -> T:
    """Declare that a store is not saved, and return it; see ``Left``.

    Raises:
        StoreError: If the name is already declared.
    """
    _add(_LEFT, module, name, Left(store, why, is_named))
    return store


def record(cls: C) -> C:
    """Allow instances of a dataclass or named tuple in saved stores, stored by field names; a class decorator.

    Raises:
        StoreError: If another class has the name.
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
    """Return the class with a name."""
    return _RECORDS.get(name)


def refill(store: Any, content: Any) -> None:
    """Replace the content of a container in place, so that all references see it.

    Raises:
        StoreError: If the content is another kind of container.
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
