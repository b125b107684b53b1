"""A unit with a console, and the roles of its users."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template

from mlops_constructs import BusinessUnit, Console, ModelRegistry, Network, Profile
from mlops_runtime.layers import layer_wheels


class Shown:
    """A stack with a unit, three roles and a registry; `console` adds a console."""

    def __init__(self, folder: Path, profile: Profile = Profile.PRODUCTION) -> None:
        self.folder = folder
        self.app = cdk.App(context={"@aws-cdk/aws-iam:minimizePolicies": True}, outdir=str(folder / "cdk.out"))
        self.stack = cdk.Stack(self.app, "Shown")
        network = Network.from_shared_vpc(vpc_id="vpc-1", availability_zones=["a", "b"], subnet_ids=["s-1", "s-2"])
        self.unit = BusinessUnit(
            self.stack, "Unit", name="demand", owner="ann", cost_center="42", profile=profile, network=network
        )
        self.registry = ModelRegistry(self.stack, "Registry", business_unit=self.unit, name="forecast")
        self.reader = iam.Role(self.stack, "Reader", assumed_by=iam.AccountRootPrincipal())
        self.on_call = iam.Role(self.stack, "OnCall", assumed_by=iam.AccountRootPrincipal())

    def console(self, construct_id: str = "Console", **changes: Any) -> Console:
        """Define a console with changed arguments."""
        with pytest.MonkeyPatch.context() as patch:
            # empty files in place of the wheels of ``mlops assets build``, which constructs only copy
            patch.setattr(layer_wheels, "ASSETS", self.folder / "assets")
            (layer_wheels.layer_folder("monitor", architecture="x86_64") / "python").mkdir(parents=True, exist_ok=True)
            return Console(
                self.stack,
                construct_id,
                **{
                    "business_unit": self.unit,
                    "reader": self.reader,
                    "on_call": self.on_call,
                    "approver": self.registry.approver_role,
                    **changes,
                },
            )

    @property
    def template(self) -> dict[str, Any]:
        """The template; nothing can be added to the stack afterwards."""
        return dict(Template.from_stack(self.stack).to_json())

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the properties of the console's and the roles' resources of a type, by logical id."""
        found = self.template["Resources"].items()
        return {name: each.get("Properties", {}) for name, each in found if each["Type"] == kind}

    def resource(self, kind: str, part: str = "Console") -> dict[str, Any]:
        """Return the properties of the only such resource whose logical id starts with ``part``."""
        (found,) = (each for name, each in self.resources(kind).items() if name.startswith(part))
        return found


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """A PRODUCTION unit with a default console."""
    made = Shown(tmp_path_factory.mktemp("shown"))
    made.console()
    return made


@pytest.fixture
def make_shown(tmp_path: Path) -> Callable[..., Shown]:
    """Define stacks of the test's own, without a console."""

    def make(name: str = "own", **changes: Any) -> Shown:
        (tmp_path / name).mkdir()
        return Shown(tmp_path / name, **changes)

    return make
