"""MiniStack's stores: each is saved, or the table says why it is not."""

import importlib
import itertools
import pkgutil
import re
from collections import OrderedDict, defaultdict, deque
from pathlib import Path
from types import ModuleType
from weakref import WeakKeyDictionary, WeakValueDictionary

import ministack.services
import pytest

from mlops_local import launcher
from mlops_local.saved_state import kept_stores, ministack_stores
from mlops_local.saved_state.ministack_stores import COUNTERS, LEFT, PLAIN

KINDS = (dict, list, set, deque, OrderedDict, defaultdict, WeakKeyDictionary, WeakValueDictionary)
# numbers, handles and threads of this run, and what a module's `reset` assigns again
GLOBALS = {
    "alb._OIDC_KID", "alb._OIDC_SIGNING_KEY", "cloudformation.wait_conditions._generation", "dynamodb._txn_token_sweep_at",
    "ec2._docker", "ec2._docker_in_use", "eks._oidc_keypair", "eventbridge._scheduler_thread", "glue._docker",
    "glue._iceberg_tls_hint_logged", "glue._ministack_network", "lambda_svc._cached_docker_client",
    "lambda_svc._inflight_total", "lambda_svc._is_in_container", "lambda_svc._poller_started", "lambda_svc._reaper_started",
    "pipes._poller_started", "scheduler._ticker_thread",
}  # fmt: skip
# the services that templates and verbs of this repository use
USED = (
    "alb", "apigateway", "athena", "cloudformation", "cloudwatch", "cloudwatch_logs", "dynamodb", "ec2", "ecr", "eks",
    "eventbridge", "firehose", "glue", "iam", "kms", "lambda_svc", "pipes", "s3", "scheduler", "secretsmanager", "sns", "sqs",
    "ssm", "stepfunctions", "sts",
)  # fmt: skip


def modules() -> dict[str, ModuleType]:
    """Return the modules of the services loaded by the launcher."""
    assert launcher
    prefix = "ministack.services."
    every = [module.name for module in pkgutil.walk_packages(ministack.services.__path__, prefix)]
    names = [name for name in every if name.removeprefix(prefix).split(".")[0] in USED]
    return {name.removeprefix(prefix): importlib.import_module(name) for name in names}


def test_every_store_of_a_used_service_is_saved_or_says_why_not() -> None:
    """Detects new stores of a new MiniStack version."""
    unknown = []
    for module_name, module in modules().items():
        for name, value in vars(module).items():
            full = f"{module_name}.{name}"
            is_table = name.startswith("__") or name.lstrip("_").isupper() or not name.startswith("_")
            if isinstance(value, KINDS) and not is_table and full not in LEFT and full not in PLAIN:
                unknown.append(full)
    assert unknown == []


def test_every_number_that_goes_on_is_known() -> None:
    """A module-level value that a function of a used service assigns is a saved counter, or belongs to this run."""
    assigned = set()
    for module_name, module in modules().items():
        text = Path(str(module.__file__)).read_text()
        for line in re.findall(r"^\s+global (.+)$", text, re.MULTILINE):
            names = [name.strip() for name in line.split("#")[0].split(",")]
            assigned |= {f"{module_name}.{name}" for name in names}
    stores = {name for name, _ in ministack_stores.found()}
    assert {name for name in assigned if name not in COUNTERS and name not in GLOBALS and name not in stores} == set()


def test_the_tables_name_what_there_is() -> None:
    """A name that a new MiniStack version has dropped must be removed."""
    names = {f"{module}.{name}" for module, loaded in modules().items() for name in vars(loaded)}
    used = [name for name in itertools.chain(LEFT, PLAIN, COUNTERS) if name.split(".")[0] in USED]
    assert [name for name in used if name not in names] == []


def test_stores_are_found_by_the_name_that_they_are_saved_under() -> None:
    """No others are found."""
    assert all(ministack_stores.kept_as(name) is not None for name in ministack_stores.kept())
    for name in ("sqs._no_such_store", "no_such_service._queues", "sts._sessions", "sqs.handle_request"):
        assert ministack_stores.kept_as(name) is None


def test_a_store_takes_its_content_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dict by account in place, a counter by its value."""
    kept = ministack_stores.kept()
    for name in ("ssm._parameters", "dynamodb._stream_seq_counter"):
        before = kept[name].save()
        content = type(before)() if name == "ssm._parameters" else before + 5
        if name == "ssm._parameters":
            content._data["1", "r", "p"] = {}
        kept[name].restore(content)
        again = ministack_stores.kept()[name].save()
        assert getattr(again, "_data", again) == getattr(content, "_data", content)
        kept[name].restore(type(before)() if name == "ssm._parameters" else before)
    assert kept_stores.kept().keys().isdisjoint(kept)
