"""Every store is saved, or declares why it is not."""

import importlib
import pkgutil
from collections import deque
from typing import Any

import pytest

import mlops_local
from mlops_local import launcher
from mlops_local.saved_state import kept_stores
from mlops_local.saved_state.kept_stores import StoreError

# filled when modules are imported and installed, and equal in every run
TABLES = {
    "clock._GUARDS", "clock._SETTLERS", "clock._SOURCES", "routes.ROUTES", "sagemaker.endpoint_configs._LOOKS",
    "saved_state.kept_stores._KEPT", "saved_state.kept_stores._LEFT", "saved_state.kept_stores._RECORDS",
    "saved_state.kept_stores._RECORD_NAMES", "stacks.resource_types._on_worker",
}  # fmt: skip
# saved in a format of their own, under the name of the store; that of endpoints is declared at the installation
FORMS = {"clock._SEGMENTS", "load_balancer.target_health._ALL", "sagemaker.endpoints._LIVE"}
# instances that are empty once their items are delivered or written
PASSING = {
    "sagemaker.batch_delivery.Batches",
    "functions.function_processes.ForkServer",
    "iam.authorization.Journal",
    "saved_state.saver._Saver",
}


def stores() -> dict[str, Any]:
    """Return the stores that modules of the embedded cloud fill at run time: containers that are empty at import."""
    found = {}
    for module in pkgutil.walk_packages(mlops_local.__path__, "mlops_local."):
        loaded = importlib.import_module(module.name)
        for name, value in vars(loaded).items():
            is_store = isinstance(value, dict | list | set | deque) or type(value).__name__.startswith("Account")
            if is_store and not name.startswith("__"):
                found[f"{module.name.removeprefix('mlops_local.')}.{name}"] = value
    return {name: value for name, value in found.items() if not len(getattr(value, "_data", value))}


def test_every_store_is_saved_or_says_why_not() -> None:
    """A module declares its new store with `kept_stores.keep` or `kept_stores.leave`."""
    assert launcher
    found, declared = stores(), {**kept_stores.kept(), **kept_stores.left()}
    owners = {id(value): name for name, value in found.items() if name in declared or name in TABLES | FORMS}
    missing = sorted(name for name, value in found.items() if name not in declared and id(value) not in owners)
    assert missing == []


def test_objects_with_content_are_known() -> None:
    """A module-level instance of our classes is saved in a format of its own, or is only briefly filled."""
    unknown = set()
    for module in pkgutil.walk_packages(mlops_local.__path__, "mlops_local."):
        for name, value in vars(importlib.import_module(module.name)).items():
            cls = type(value)
            parameters = getattr(cls, "__dataclass_params__", None)
            if not cls.__module__.startswith("mlops_local.") or (parameters is not None and parameters.frozen):
                continue
            where = f"{module.name.removeprefix('mlops_local.')}.{name}"
            if f"{cls.__module__.removeprefix('mlops_local.')}.{cls.__name__}" not in PASSING and where not in FORMS:
                unknown.add(where)
    assert unknown == set()


def test_reasons_are_words() -> None:
    """Each unsaved store has a description of its content."""
    assert all(len(left.why) > 5 for left in kept_stores.left().values())


def test_a_container_is_refilled_in_place() -> None:
    """References to the container see the new content."""
    for store, content in (
        ({"a": 1}, {"b": 2}), ([1], [2, 3]), ({1}, {2}), (deque([1]), deque([2])),
    ):  # fmt: skip
        held = store
        kept_stores.refill(store, content)
        assert held == content
        assert held is store


def test_another_kind_of_container_is_refused() -> None:
    """The store's content is still complete."""
    store = {"a": 1}
    with pytest.raises(StoreError, match="a dict cannot take a list"):
        kept_stores.refill(store, [1])
    assert store == {"a": 1}


def test_names_are_taken_once() -> None:
    """Two stores of one name would be one in a snapshot."""
    name = next(iter(kept_stores.kept()))
    module, _, attribute = name.rpartition(".")
    with pytest.raises(StoreError, match="two stores are named"):
        kept_stores.keep(f"mlops_local.{module}", attribute, {})
