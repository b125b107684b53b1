"""Fixtures of all tests: jsii without warnings, and one shared embedded cloud."""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.loaders import Loader
from hypothesis import HealthCheck, settings
from tests import iceberg_calls, jsii_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlops_local.cloud import Cloud

pytest_plugins = ["tests.tiers", "tests.assemblies"]

# before aws_cdk is imported
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # also where a library loads ONNX Runtime before our code does
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "1")
os.environ.setdefault("CDK_VALIDATION", "false")
# before a library loads OpenMP: busy-waiting threads used ten times the processor time of a fit
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


jsii_calls.install()

# no deadline and no limit for the time of drawing, as machines are shared; --hypothesis-profile=thorough tries more examples than
# the suite has time for
_UNTIMED: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("untimed", max_examples=40, **_UNTIMED)
settings.register_profile("thorough", max_examples=500, **_UNTIMED)
settings.load_profile("untimed")

# a boto3 session loads the service models, and moto starts a session for each test: loaded once per process
_known: dict[tuple[str, ...], dict[Any, Any]] = {}
Loader._cache = property(lambda loader: _known.setdefault(tuple(loader.search_paths), {}), lambda *_: None)


# imports for 10,000 tests stay in memory: no garbage collection during collection, and rarely afterwards
gc.disable()

# some machines disable bytecode: each of the thousand child processes would compile our modules again
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

OUTSIDE = "MLOPS_TESTS_OUTSIDE"  # path of the file that records connections beyond loopback
_GUARD = Path(__file__).with_name("outside")


def pytest_configure(config: pytest.Config) -> None:
    """Restrict this process and its children to loopback, see `tests/outside/sitecustomize.py`; let their clouds end with it."""
    os.environ["MLOPS_LOCAL_OWNER"] = str(os.getpid())  # a killed process of pytest leaves no cloud running
    if hasattr(config, "workerinput"):  # an xdist worker, whose guard is active from its start
        return
    descriptor, name = tempfile.mkstemp(prefix="outside-", suffix=".jsonl")
    os.close(descriptor)
    os.environ[OUTSIDE] = name
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_GUARD), os.environ.get("PYTHONPATH")]))
    sys.path.insert(0, str(_GUARD))
    try:
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")
    finally:
        sys.path.remove(str(_GUARD))


def pytest_collection_finish() -> None:
    """Exclude collected tests and loaded modules from later garbage collections."""
    iceberg_calls.install()
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report every connection beyond loopback, with its program and test."""
    rows = _sent_outside()
    if rows:
        terminalreporter.section("sent beyond loopback")
        for row in rows:
            terminalreporter.line(
                f"{row['event']} {row['host']} by {' '.join(row['command'])[:200]} in {row['test'] or '?'}"
            )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which a process connected beyond loopback."""
    if not hasattr(session.config, "workerinput") and _sent_outside():
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR  # not that of failed tests, which CI repeats


def pytest_unconfigure(config: pytest.Config) -> None:
    """Delete the file."""
    if not hasattr(config, "workerinput"):
        Path(os.environ[OUTSIDE]).unlink(missing_ok=True)


def _sent_outside() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(os.environ[OUTSIDE]).read_text().splitlines()]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an option for the folder of campaign results."""
    parser.addoption("--campaign-dir", help="where campaigns keep results and go on from; default .mlops/campaign")


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Return the embedded cloud that all tests of a session share; tests use names of their own, and its clock only advances.

    It has four accounts, 000000000000, 111111111111, 222222222222 and 333333333333. ``cloud.at("222222222222", "eu-west-1")`` is
    one of them in a Region, with ``client(service)``, ``environment()`` and ``root_keys()``. ``deployer.deploy(cloud, assembly)``
    deploys each stack to its own account and Region; without an environment to those of ``cloud``.
    """
    from mlops_local.cloud import up

    with pytest.MonkeyPatch.context() as environment:
        # every test that deploys a unit creates a network, which would count against the limit of the session
        environment.setenv("MLOPS_LOCAL_VPCS", "100")
        running = up(tmp_path_factory.mktemp("cloud"), account_count=4)
    try:
        yield running
    finally:
        running.down(forget=True)


@pytest.fixture(autouse=True)
def same_python() -> Iterator[None]:
    """Fail a test that changes Python's environment variables, which every later child process would inherit."""
    before = _python_settings()
    yield
    assert _python_settings() == before


def _python_settings() -> tuple[str, dict[str, str]]:
    names = [name for name in os.environ if name == "PATH" or name.startswith("PYTHON")]
    return sys.executable, {name: os.environ[name] for name in names}


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., Any]:
    """Call a function until it returns a true value, for at most one minute: ``wait_for(lambda: receive(queue))``."""

    def wait(look: Callable[[], Any], seconds: float = 60.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := look()):
            assert time.monotonic() < deadline, f"nothing after {seconds} s"
            time.sleep(0.05)
        return found

    return wait
