"""What all tests share: the quiet jsii, and one embedded cloud for those that ask for it."""

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
from hypothesis import settings
from tests import iceberg_calls, jsii_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlops_local.cloud import Cloud

pytest_plugins = ["tests.tiers", "tests.assemblies"]

# before aws_cdk is imported
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # also where a library loads ONNX Runtime before ours does
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "1")
os.environ.setdefault("CDK_VALIDATION", "false")
# before a library loads OpenMP: threads that wait for others busily took ten times the processor that a fit did
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


jsii_calls.install()

# no test is timed: machines are shared; --hypothesis-profile=thorough tries more examples than the suite has time for
settings.register_profile("untimed", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=500)
settings.load_profile("untimed")

# a session of boto3 lists services and reads their models anew, and moto gives each test a session: it is done once a process
_known: dict[tuple[str, ...], dict[Any, Any]] = {}
Loader._cache = property(lambda loader: _known.setdefault(tuple(loader.search_paths), {}), lambda *_: None)


# what is imported for 10,000 tests stays: until all are collected nothing is looked through, and that much never
gc.disable()

# some machines forbid byte code: each of the thousand processes that tests start would compile our modules anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

OUTSIDE = "MLOPS_TESTS_OUTSIDE"  # names the file of what was sent beyond loopback
_GUARD = Path(__file__).with_name("outside")


def pytest_configure(config: pytest.Config) -> None:
    """Hold this process and all that it starts to loopback; see `tests/outside/sitecustomize.py`."""
    if hasattr(config, "workerinput"):  # a process of xdist's, which has the guard from its start
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
    """Leave what was collected out of every later collection of garbage; what tests load is loaded by now."""
    iceberg_calls.install()
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name every connection beyond loopback, with its program and test."""
    rows = _sent_outside()
    if rows:
        terminalreporter.section("sent beyond loopback")
        for row in rows:
            terminalreporter.line(
                f"{row['event']} {row['host']} by {' '.join(row['command'])[:200]} in {row['test'] or '?'}"
            )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which a process sent anything beyond loopback."""
    if not hasattr(session.config, "workerinput") and _sent_outside():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Delete the file."""
    if not hasattr(config, "workerinput"):
        Path(os.environ[OUTSIDE]).unlink(missing_ok=True)


def _sent_outside() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(os.environ[OUTSIDE]).read_text().splitlines()]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let campaigns keep their results elsewhere."""
    parser.addoption("--campaign-dir", help="where campaigns keep results and go on from; default .mlops/campaign")


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Give the embedded cloud that all tests of a session share; each test names its own resources, and the clock only goes on.

    It has four accounts, 000000000000, 111111111111, 222222222222 and 333333333333. ``cloud.at("222222222222", "eu-west-1")`` is
    one of them in a Region, with ``client(service)``, ``environment()`` and ``root_keys()``. ``deployer.deploy(cloud, assembly)``
    takes each stack of an assembly to its own account and Region; without an environment it goes where ``cloud`` is.
    """
    from mlops_local.cloud import up

    with pytest.MonkeyPatch.context() as environment:
        # every test that deploys a unit makes a network, which the session's tests would have to count among them
        environment.setenv("MLOPS_LOCAL_VPCS", "100")
        running = up(tmp_path_factory.mktemp("cloud"), account_count=4)
    try:
        yield running
    finally:
        running.down(forget=True)


@pytest.fixture(autouse=True)
def same_python() -> Iterator[None]:
    """Fail a test that leaves Python another environment: each process that a later test starts would have it."""
    before = _python_settings()
    yield
    assert _python_settings() == before


def _python_settings() -> tuple[str, dict[str, str]]:
    names = [name for name in os.environ if name == "PATH" or name.startswith("PYTHON")]
    return sys.executable, {name: os.environ[name] for name in names}


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., Any]:
    """Call a function until it returns something true, for at most a real minute: ``wait_for(lambda: receive(queue))``."""

    def wait(look: Callable[[], Any], seconds: float = 60.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := look()):
            assert time.monotonic() < deadline, f"nothing after {seconds} s"
            time.sleep(0.05)
        return found

    return wait
