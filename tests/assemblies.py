"""Cloud assemblies of the example app, each synthesized once for all processes of a test run."""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DIGEST = "sha256:" + "0" * 64
CLUSTER = {"name": "retail", "security_group_id": "sg-0123456789abcdef0", "subnet_cidrs": ["10.0.0.0/17"]}
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"

Resources = dict[str, dict[str, Any]]
Templates = dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def example_templates(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Templates]:
    """Return the template of each example stack for a context: ``example_templates(profile="production")``.

    Target ``eks`` has a cluster and a certificate; ``has_service`` adds the stack FirstService. The layers are empty.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "example-assemblies"
    shared.mkdir(exist_ok=True)

    def templates(*, has_service: bool = False, **context: Any) -> Templates:
        text = json.dumps([has_service, context], sort_keys=True)
        file = shared / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        with file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not file.is_file():
                found = _synthesize(context, tmp_path_factory.mktemp("assembly"), has_service=has_service)
                part = file.with_suffix(".part")
                part.write_text(json.dumps(found))
                part.replace(file)
        read: Templates = json.loads(file.read_text())
        return read

    return templates


@pytest.fixture(scope="session")
def example_stacks(example_templates: Callable[..., Templates]) -> Callable[..., dict[str, Resources]]:
    """Return the resources of each stack: ``example_stacks(profile="production")``."""

    def stacks(**context: Any) -> dict[str, Resources]:
        return {name: template["Resources"] for name, template in example_templates(**context).items()}

    return stacks


def _synthesize(context: dict[str, Any], folder: Path, *, has_service: bool) -> Templates:
    import aws_cdk as cdk
    from examples.first_service import FirstService
    from examples.stacks import compose

    from mlops_runtime.layers import layer_wheels

    given = {"image_digest": DIGEST, **context}
    if context.get("target") == "eks":
        given = {"cluster": CLUSTER, "certificate": CERTIFICATE, **given}
    with pytest.MonkeyPatch.context() as patch:
        # stand-ins for the wheels that ``mlops assets build`` fetches: constructs only copy them
        patch.setattr(layer_wheels, "ASSETS", folder / "assets")
        (layer_wheels.layer_folder("monitor", architecture="x86_64") / "python").mkdir(parents=True)
        app = cdk.App(outdir=str(folder / "out"), context=given)
        compose(app)
        if has_service:
            FirstService(app, "FirstService")
        return {stack.stack_name: stack.template for stack in app.synth().stacks}
