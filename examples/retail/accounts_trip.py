"""Steps of the demo with three accounts: a model trained in build, then promoted by staging and production."""

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.exceptions import ClientError

from examples.retail.accounts_page import Account, Event
from examples.retail.demand_forecasting import accounts_stack
from examples.retail.demand_forecasting.accounts_stack import ENVIRONMENTS, PRODUCTION
from examples.retail.evidence import write_histories
from examples.retail.loop import Loop, LoopError, Traffic, expect
from examples.retail.pace import paced
from examples.retail.replay import Replay
from examples.retail.steps import Result, Trip, silent
from mlops_cli.stacks import run_build, synthesize_app
from mlops_constructs import Environment
from mlops_local.accounts import CloudAccount, profile
from mlops_local.stacks import deployer
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.promotion.promotion_history import Promotion, PromotionHistory, ReleasedVersion, read_history
from mlops_runtime.registry.package_approval import person_of
from mlops_runtime.registry.package_registry import Approver

T = TypeVar("T")

GROUP = f"{accounts_stack.UNIT}-{accounts_stack.MODEL}"
_LOOK = 0.2  # real seconds between two polls


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """An IAM user of one account, whose only permission is to assume its approvers' role."""

    name: str
    sts: Any

    @classmethod
    def hired(cls, name: str, account: CloudAccount, *, role: str) -> "Person":
        """Create the user.

        Args:
            name: Name of the user.
            account: Account of the user.
            role: ARN of the approvers' role.
        """
        iam = account.client("iam")
        iam.create_user(UserName=name)
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role}
        document = {"Version": "2012-10-17", "Statement": [statement]}
        iam.put_user_policy(UserName=name, PolicyName="Approves", PolicyDocument=json.dumps(document))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        sts = boto3.client(
            "sts",
            endpoint_url=account.endpoint_url,
            region_name=account.region,
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
        )
        return cls(name=name, sts=sts)

    def approve(self, package: str, place: "Place", reason: str) -> str:
        """Approve a package with an account's approvers' role, and return the ARN of the session."""
        sagemaker = place.account.client("sagemaker")
        caller = self.sts.get_caller_identity()["Arn"]
        role = place.outputs["ApproverRoleArn"]
        approver = Approver.in_role(sts=self.sts, sagemaker=sagemaker, role=role, caller=caller)
        approver.approve(sagemaker.describe_model_package(ModelPackageName=package), reason=reason)
        return approver.identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One deployed account.

    Args:
        environment: Name, number and Region.
        account: The account of the embedded cloud.
        outputs: Outputs of its stack.
        loop: Its endpoint, driven from outside; for build, its training.
    """

    environment: Environment
    account: CloudAccount
    outputs: dict[str, str]
    loop: Loop

    @property
    def name(self) -> str:
        """Name of the environment."""
        return self.environment.name

    @property
    def is_serving(self) -> bool:
        """Whether it has an endpoint."""
        return "DeployMachineArn" in self.outputs

    def history(self) -> PromotionHistory:
        """Return the list of ``mlops promotions``."""
        entries = Entries(ssm=self.account.client("ssm"))
        registry = entries.registry(GROUP)
        unit, now = entries.unit(registry.unit), self.loop.now()
        return read_history(self.account.client, unit=unit, registry=registry, last=20, now=now)

    def released(self, version: str) -> ReleasedVersion | None:
        """Return the release of a version, once it exists."""
        return next((each for each in self.history().releases if each.version == version), None)

    def offered(self, release: ReleasedVersion) -> Promotion | None:
        """Return the decision on a release of the source, once it is made."""
        found = (each for each in self.history().offers if each.record_uri == release.record_uri)
        # the registry shows an approval before the offer has its reason
        return next((each for each in found if each.state != "OFFERED" and each.reason), None)

    def package(self, version: str) -> str:
        """Return the ARN of a version, ``<group>/<number>``."""
        return self.environment.linked.arn("sagemaker", f"model-package/{version}")

    def serves(self, version: str) -> bool:
        """Return whether a version is live, and its rollout has ended."""
        live = self.loop.live()
        return live is not None and live.model_package_arn == self.package(version) and self.loop.lock_owner() is None


@dataclass(slots=True, kw_only=True)
class AccountsResult(Result):
    """Result of the demo with several accounts.

    Args:
        accounts: The accounts at the end.
        events: The records of their audit chains.
        profile: Profile of production's account, which a kept demo's console shows.
    """

    accounts: tuple[Account, ...] = ()
    events: tuple[Event, ...] = ()
    profile: str = profile(PRODUCTION.account)

    def as_json(self) -> dict[str, Any]:
        """Return the result as ``mlops demo --accounts --json`` prints it."""
        return {**Result.as_json(self), "accounts": [asdict(each) for each in self.accounts]}


class AccountsTrip(Trip):
    """A trip of one unit through three accounts; its loop is that of build, which trains the model.

    Args:
        replay: The unit.
        echo: Called with one line at the end of each step.
        begin: Called with a step's name at its start. Default: no call.
    """

    result: AccountsResult
    places: dict[str, Place]
    clock_scale = 120.0

    def __init__(self, replay: Replay, echo: Callable[[str], None], *, begin: Callable[[str], None] = silent) -> None:
        super().__init__(replay, echo, begin=begin)
        self.result = AccountsResult()

    def deploy_accounts(self, folder: Path) -> None:
        """Synthesize the stacks and the team's next version, and deploy each stack to its account."""
        with self.step("synthesize a stack for each account") as detail:
            run_build("mlops assets build")
            self._next = folder / "next"
            command = f"python -m {accounts_stack.__name__} {shlex.quote(str(self._next))}"
            synthesize_app(command, folder / "assembly", {}, self.running.environment())
            detail.append("Build, Staging, Production; they share no output and no generated name")
        with self.step("deploy each stack to its account, IAM on") as detail:
            outputs = deployer.deploy(self.running, folder / "assembly")
            self.places = {each.name: self._place(each, outputs[each.name.capitalize()]) for each in ENVIRONMENTS}
            self.build, self.staging, self.production = self.places.values()
            self.loop = self.build.loop
            self.ann = Person.hired("ann", self.build.account, role=self.build.outputs["ApproverRoleArn"])
            self.ben = Person.hired("ben", self.production.account, role=self.production.outputs["ApproverRoleArn"])
            for place in (self.staging, self.production):
                place.loop.wait_idle("DeployMachineArn")
                expect(place.loop.live() is None, f"{place.name} serves before any model was approved")
            detail.append("nothing is live; ann may approve in build, ben in production")

    def surroundings(self) -> dict[str, str]:
        """Return the environment variables for a tool to be root of build."""
        return self.build.account.environment()

    def deploy_next(self) -> None:
        """Deploy the team's next version, only to build."""
        deployer.deploy(self.running, self._next)

    def wait_for(self, read: Callable[[], T | None], what: str, *, seconds: float = 240) -> T:
        """Wait for a value, and return it.

        Raises:
            LoopError: If there is no value after ``seconds`` real seconds.
        """
        deadline = time.monotonic() + seconds
        while not (found := read()):
            if time.monotonic() > deadline:
                raise LoopError(f"{what} did not happen within {seconds:g} s")
            time.sleep(_LOOK)
        return found

    def approved(self, person: Person, version: str, place: Place, reason: str, detail: list[str]) -> None:
        """Let a person approve a version, and report the approver."""
        detail.append(f"approved by {person_of(person.approve(place.package(version), place, reason))}")

    def refused(self, person: Person, version: str, place: Place) -> str:
        """Return the message with which an account denies a person of another account."""
        try:
            person.approve(place.package(version), place, "the same model")
        except ClientError as error:
            expect(error.response["Error"]["Code"] == "AccessDenied", f"{place.name} refused {person.name} by: {error}")
            return f"version {version.rpartition('/')[2]} waits; {error.response['Error']['Message']}"
        raise LoopError(f"{place.name} let {person.name} of another account approve")

    def released(self, version: str, place: Place) -> ReleasedVersion:
        """Wait until an account has released a version."""
        return self.wait_for(lambda: place.released(version), f"the release of {version} by {place.name}")

    def taken(self, version: str, source: Place, target: Place, state: str) -> Promotion:
        """Wait for the release of a version, and for the expected decision of the next account."""
        release = self.released(version, source)
        offer = self.wait_for(lambda: target.offered(release), f"a decision of {target.name} on {version}")
        expect(offer.state == state, f"{target.name} has {offer.state} of {version}: {offer.reason}")
        expect(offer.model_sha256 == release.model_sha256, f"{target.name} registered another model than was released")
        return offer

    def serving(self, version: str, place: Place) -> None:
        """Wait until an account serves a version and no rollout is running."""
        self.wait_for(lambda: place.serves(version), f"the end of a rollout after which {place.name} serves {version}")

    def promoted(self, version: str, place: Place, traffic: Traffic, detail: list[str]) -> None:
        """Wait for a rollout to promote a version, and check that no call failed."""
        ended = place.loop.wait_execution("DeployMachineArn", (), appear=60, finish=300, package=place.package(version))
        record = next(each for each in reversed(place.loop.audit()) if each.execution == ended["executionArn"])
        expect(traffic.refused == 0, f"{traffic.refused} calls failed during the rollout")
        expect(record.verdict is not None, f"no fleets were compared: {record.reason}")
        detail.append(f"{traffic.answered} calls answered, none failed")

    def wait_for_report(self, place: Place, target: Place, serves: str, *rolled_back: str) -> str:
        """Wait until an account has recorded the version that a target serves, and those that the target rolled back.

        Args:
            place: The recording account.
            serves: The version that the target serves.
            rolled_back: The versions that it rolled back, newest first.

        Returns:
            The served version, as numbered by ``place``.
        """

        def known() -> str | None:
            state = next((each for each in place.history().targets if each.name == target.name), None)
            if state is None or state.serves is None or state.serves.version != serves:
                return None
            return (
                state.serves.released_as if tuple(each.version for each in state.rolled_back) == rolled_back else None
            )

        return self.wait_for(known, f"the report to {place.name} that {target.name} serves {serves}")

    @contextmanager
    def traffic_to(
        self, place: Place, requests: Sequence[dict[str, object]], *, whole_every: int | None = None
    ) -> Iterator[Traffic]:
        """Send requests to an account's endpoint until the block ends, with the clock slowed to their rate.

        Args:
            place: The account.
            requests: The rows, sent in parts.
            whole_every: Interval of the calls that send all rows at once. Default: that of the unit.
        """
        named = f"{place.name}-{self.now():%Y%m%d%H%M%S}"
        with (
            place.loop.traffic(requests, named, whole_every=whole_every or self.replay.whole_every) as traffic,
            paced(self.running, lambda: traffic.answered + traffic.refused),
        ):
            yield traffic

    def version_of(self, package: Mapping[str, Any]) -> str:
        """Return the version of a package's description, ``<group>/<number>``."""
        return str(package["ModelPackageArn"]).partition(":model-package/")[2]

    def write_histories(self, folder: Path) -> None:
        """Write the histories of the state machines and alarms of each account, to a folder per account."""
        for place in getattr(self, "places", {}).values():
            write_histories(folder / place.name, place.account, place.loop)

    def _place(self, environment: Environment, outputs: dict[str, str]) -> Place:
        account = self.running.at(environment.account, environment.region)
        loop = Loop(client=account.client, outputs=outputs, unit=accounts_stack.UNIT, now=self.now)
        return Place(environment=environment, account=account, outputs=outputs, loop=loop)
