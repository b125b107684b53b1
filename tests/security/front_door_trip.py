"""The recorded trip: calls of programs and people to an API and a console (`front_door`)."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import boto3
from examples.retail.loop import Loop
from tests.examples import models
from tests.examples.api_door import ApiDoor
from tests.examples.test_hosted_console import ENDPOINT, READS, WRITES, Hosted, name_parts
from tests.security import front_door
from tests.security.needs import JOURNAL

from mlops_local.cloud import Cloud
from mlops_runtime.cloud_connection import CloudConnection, embedded_options
from mlops_runtime.console.api import ConsoleApi
from mlops_runtime.console.http_message import HttpRequest
from mlops_runtime.console.route import ROOT
from mlops_runtime.console.taken_role import take_role

_JOBS = "/v1/models/nightly/jobs"
_RECORD = f"/audit/{ENDPOINT}/records/1"
_ROW, _TOO_LARGE = b'{"instances": [[2.0]]}', b'{"instances": [[1e300]]}'


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An operation of a console user, and its lines in the journal."""

    name: str
    begin: int
    end: int


def synthesize(folder: Path, *, digest: str, context: Mapping[str, Any]) -> Path:
    """Synthesize the stack with outputs by which the trip finds its parts.

    Args:
        folder: Destination of the assembly.
        digest: Digest of the runtime's image.
        context: CDK's feature flags.
    """
    app = cdk.App(outdir=str(folder / "cdk.out"), context=dict(context))
    name_parts(front_door.define(app, folder, digest=digest))
    app.synth()
    return folder / "cdk.out"


class FrontDoorTrip:
    """Actions of people and programs on the deployed stack.

    Args:
        cloud: The embedded cloud.
        assembly: The cloud assembly.
        echo: Called with one line per step.
    """

    def __init__(self, cloud: Cloud, assembly: Path, echo: Callable[[str], None]) -> None:
        self._cloud, self._echo = cloud, echo
        self.operations: list[Operation] = []
        self._hosted = Hosted(cloud, assembly)
        self._door = _Door(cloud, self._hosted)
        echo("two models were approved, and people signed in")

    def go(self) -> None:
        """Call every operation of the API and the console."""
        self._ask_models()
        self._read()
        for operation, who in (("pauseUnit", "ann"), ("resumeUnit", "ann"), ("rollBack", "ann")):
            self._write(operation, who)
        models.ask_for(self._hosted.loop, self._cloud.client("dynamodb"), bake=1800, maximum=28_800)
        self._write("reject", "ben", self._hosted.other)
        self._write("approve", "ben", self._hosted.waiting)
        self._abort()
        self._read()
        self._read_locally((*READS, _RECORD, "/costs"))
        self._door.approve(models.register(self._door.loop, 3.0))

    def keep(self, path: Path) -> None:
        """Write which lines of the journal belong to which operation."""
        path.write_text(json.dumps([asdict(each) for each in self.operations], indent=1))

    def _ask_models(self) -> None:
        answers = [self._door.call(_ROW, path="/v1/models/forecast/predictions")]
        token = {"Authorization": self._hosted.tokens["ann"]["access_token"]}
        for body, path in ((_ROW, "forecast/predictions"), (_ROW, "nightly/jobs")):
            answers.append(self._door.call(body, path=f"/v1/token/models/{path}", role=None, **token))
        answers.append(self._door.call(_ROW, path=_JOBS))
        # the model rejects what the schema allows: a failed job
        answers.append(self._door.call(_TOO_LARGE, path=_JOBS))
        assert [answer.status for answer in answers] == [200, 200, 202, 202, 202], answers
        for answer, status in zip(answers[2:], (200, 200, 502), strict=True):
            self._ended(json.loads(answer.body)["id"], status)
        self._echo("models answered by IAM and by token, jobs ended")

    def _ended(self, job: str, status: int) -> None:
        deadline = time.monotonic() + 120
        while (answer := self._door.call(b"", path=f"{_JOBS}/{job}", verb="GET")).status == 202:
            assert time.monotonic() < deadline, answer
            time.sleep(0.5)
        assert answer.status == status, answer

    def _read(self) -> None:
        for path in (*READS, _RECORD, "/costs"):
            for who in ("rea", "ann", "ben"):
                answer = self._hosted.ask(who, "GET", path)
                assert answer.status == 200, (path, answer)
        self._echo("every page was read")

    def _read_locally(self, paths: Sequence[str]) -> None:
        """Let an on-call user read with ``mlops console`` in their own role, as with every command."""
        options = embedded_options(self._cloud.home)
        assert options is not None
        root = CloudConnection(session=boto3.Session(), options=options)
        taken = take_role(root, self._hosted.outputs["OnCallRole"], session="ann")
        api = ConsoleApi(lambda _role: taken)
        for path in paths:
            answer = api.answer(HttpRequest(method="GET", path=f"{ROOT}{path}", headers={}, body=b""))
            assert answer.status == 200, (path, answer)
        self._echo("a person on call read pages in their own role")

    def _write(self, operation: str, who: str, number: str = "") -> None:
        hosted = self._hosted
        hosted.sign_in(who)
        _, path = WRITES[operation]
        body = hosted.body(operation, lambda where: hosted.ask("rea", "GET", where).json)
        if number:
            review = hosted.ask("rea", "GET", f"/packages/shown-forecast/{number}").json["review"]
            body["expect"] = {"approval": review["approval"], "binding": review["binding"]}
        with self._of(operation):
            answer = hosted.ask(who, "POST", path.format(number=number), body, f"{operation}-of-{who}")
        assert answer.status in (200, 202), (operation, answer)
        if operation == "rollBack":
            self._over(f"{path}/{answer.json['execution']}")
        self._echo(f"{operation} by {who}")

    def _abort(self) -> None:
        hosted, page = self._hosted, f"/units/shown/endpoints/{ENDPOINT}"
        deadline = time.monotonic() + 120
        while hosted.ask("rea", "GET", page).json["row"].get("rollout") is None:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        self._read_locally([page])
        body = hosted.body("rollBack", lambda path: hosted.ask("rea", "GET", path).json)
        with self._of("abortRollout"):
            while not (begun := hosted.ask("ann", "POST", f"{page}/abort", body, "abort-of-ann")).json["is_final"]:
                assert (begun.status, time.monotonic() < deadline) == (202, True), begun
                time.sleep(0.5)
        self._over(f"{page}/rollbacks/{begun.json['execution']}")
        self._echo("abortRollout by ann")

    def _over(self, where: str) -> None:
        deadline = time.monotonic() + 240
        while not self._hosted.ask("ann", "GET", where).json["is_over"]:
            assert time.monotonic() < deadline, where
            time.sleep(1)

    @contextmanager
    def _of(self, operation: str) -> Iterator[None]:
        begin = self._lines()
        yield
        self.operations.append(Operation(name=operation, begin=begin, end=self._lines()))

    def _lines(self) -> int:
        return len(next(self._cloud.home.rglob(JOURNAL)).read_text().splitlines())


class _Door(ApiDoor):
    """The stack's API, with a model on its asynchronous endpoint."""

    def __init__(self, cloud: Cloud, hosted: Hosted) -> None:
        self.cloud, self.outputs = cloud, hosted.outputs
        nightly = {
            **hosted.outputs,
            "EndpointName": front_door.ENDPOINTS["Nightly"],
            "ApproverRoleArn": hosted.outputs["NightlyApprover"],
            "RolloutTable": hosted.outputs["NightlyTable"],
            "DeployMachineArn": hosted.outputs["NightlyMachine"],
        }
        self.loop = Loop(client=cloud.client, outputs=nightly, unit="shown", now=self.now)
        self.approve(models.register(self.loop, 2.0))
