"""The unit of a verification as a stack: its files, change set, deployment and deletion."""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mlops_runtime.refused_calls import DENIED
from mlops_runtime.verify.account import Place
from mlops_runtime.verify.journal import Journal
from mlops_runtime.verify.problems import CheckError, NoEvidenceError, VerifyError, expect, is_cut_off, refused

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import DescribeChangeSetOutputTypeDef, StackTypeDef

CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"]
_OWNED = ("BucketAlreadyOwnedByYou",)
_ATTEMPTS = 3
_REVIEW = "REVIEW_IN_PROGRESS"  # a stack that has only a change set


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of the assembly: its key in the bucket, and how to read it."""

    key: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """The deployed stack."""

    outputs: Mapping[str, str]
    functions: tuple[str, ...]
    image: str  # URI of the serving image, by digest
    interface_services: tuple[str, ...]  # services that its network reaches by interface endpoints
    since: datetime  # when its deployment began; earlier executions belong to another unit of the same name


class Unit:
    """The stack.

    Args:
        place: The account.
        journal: Journal of resources before their creation.
        beat: Called during waits.
    """

    def __init__(self, place: Place, journal: Journal, beat: Callable[[], None]) -> None:
        self._place, self._journal, self._beat = place, journal, beat
        self._cloudformation, self._name = place.client("cloudformation"), place.names.stack

    def upload(self, files: Sequence[File]) -> None:
        """Create the bucket and upload the assembly's files.

        Raises:
            VerifyError: If another account has a bucket of the name.
        """
        place, s3 = self._place, self._place.client("s3")
        bucket = place.names.bucket
        self._journal.make("bucket", bucket)
        location = (
            {} if place.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": place.region}}
        )
        try:
            s3.create_bucket(Bucket=bucket, **location)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "BucketAlreadyExists":
                self._journal.removed("bucket", bucket)
                raise VerifyError(
                    f"another account has the bucket {bucket}; choose another region with --region"
                ) from error
            if code not in _OWNED:
                raise
        s3.put_public_access_block(
            Bucket=bucket,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            },
        )
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": place.names.tag_list})
        for file in files:
            s3.put_object(Bucket=bucket, Key=file.key, Body=file.read())
            self._beat()

    def check_change_set(self, template_key: str) -> str:
        """Create a change set, read it, and delete it and the stack that it created.

        Raises:
            CheckError: If CloudFormation rejects the template.
        """
        try:
            changes = self._change_set(template_key)
        finally:
            self.delete()
            self._journal.removed("stack", self._name)
        return f"{changes} resources would be added"

    def keeps_its_tags(self) -> str:
        """The bucket rejects PutBucketTagging and DeleteBucketTagging while its tags control access (ABAC).

        Raises:
            CheckError: If it accepts one of them.
            NoEvidenceError: If ABAC cannot be enabled.
        """
        place, s3 = self._place, self._place.client("s3")
        bucket, tags = place.names.bucket, place.names.tag_list
        code = _code_of(lambda: s3.put_bucket_abac(Bucket=bucket, AbacStatus={"Status": "Enabled"}))
        if code is not None:
            raise NoEvidenceError(f"PutBucketAbac is refused as {code}")
        try:
            seen = []
            for name, call in (
                ("PutBucketTagging", lambda: s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})),
                ("DeleteBucketTagging", lambda: s3.delete_bucket_tagging(Bucket=bucket)),
            ):
                code = _code_of(call)
                expect(code is not None, f"{name} is taken although the bucket's tags decide on access")
                seen.append(f"{name} is refused as {code}")
        finally:
            s3.put_bucket_abac(Bucket=bucket, AbacStatus={"Status": "Disabled"})
        return ", ".join(seen)

    def begin(self, template_key: str) -> None:
        """Start the deployment of the stack.

        Raises:
            CheckError: If CloudFormation rejects the template.
        """
        self._change_set(template_key)
        self._cloudformation.execute_change_set(StackName=self._name, ChangeSetName=self._name)

    def refuses_a_second_operation(self, template_key: str) -> str:
        """Request another change set while the stack is being created.

        Raises:
            CheckError: If CloudFormation accepts it.
            NoEvidenceError: If the creation has already ended.
        """

        def status() -> str:
            described = self._describe()
            return _REVIEW if described is None else described["StackStatus"]

        def begun() -> str | None:
            found = status()
            return None if found == _REVIEW else found

        began = self._place.wait(begun, "the stack's creation", beat=self._beat)
        words = refused(
            lambda: self._cloudformation.create_change_set(
                StackName=self._name,
                ChangeSetName=f"{self._name}-second",
                ChangeSetType="UPDATE",
                Capabilities=CAPABILITIES,
                TemplateURL=self._url(template_key),
            ),
            code="ValidationError",
            names="_IN_PROGRESS",
        )
        if words is not None:
            return words
        if not status().endswith("_IN_PROGRESS"):
            raise NoEvidenceError(f"the stack was {began} and is {status()} already")
        raise CheckError(f"a change set is taken for the stack while it is {status()}")

    def gives_back(self, template: bytes) -> str:
        """Compare the stack's template with the uploaded one: the same JSON, with names in the same order.

        Raises:
            CheckError: If it differs; names the first differing part.
        """
        answer = self._cloudformation.get_template(StackName=self._name, TemplateStage="Original")
        body, uploaded = answer["TemplateBody"], json.loads(template)
        found = json.loads(body) if isinstance(body, str) else body
        if json.dumps(found) != json.dumps(uploaded):
            rows = {name: json.dumps(section) for name, section in uploaded.items()}
            other = next(
                (n for n in {**rows, **found} if rows.get(n) != json.dumps(found.get(n))), "the order of its parts"
            )
            raise CheckError(f"the returned template has another {other}")
        return f"{len(json.dumps(found))} characters of JSON, as uploaded"

    def deployed(self) -> dict[str, str]:
        """Wait for the end of the deployment and return the stack's outputs.

        Raises:
            CheckError: If it fails; names the first failed resources.
        """
        status = self._settled()
        if status != "CREATE_COMPLETE":
            raise CheckError(f"the stack ended as {status}: {self._reasons()}")
        described = self._describe()
        outputs = [] if described is None else described.get("Outputs", [])
        return {row["OutputKey"]: row["OutputValue"] for row in outputs}

    def functions(self) -> list[str]:
        """Return the names of the stack's functions."""
        pages = self._cloudformation.get_paginator("list_stack_resources").paginate(StackName=self._name)
        return [
            row["PhysicalResourceId"]
            for page in pages
            for row in page["StackResourceSummaries"]
            if row["ResourceType"] == "AWS::Lambda::Function"
        ]

    def delete(self) -> str | None:
        """Delete the stack, with retries, and return the reason if resources cannot be deleted, else ``None``."""
        why = None
        for _ in range(_ATTEMPTS):
            described = self._describe()
            if described is None:
                return None
            # the creation of a stack is awaited first: resources that it creates after the deletion would stay
            stack_id = described["StackId"]
            if self._settled(stack_id) == "DELETE_COMPLETE":
                return None
            self._cloudformation.delete_stack(StackName=stack_id)
            status = self._settled(stack_id)
            if status == "DELETE_COMPLETE":
                return None
            why = f"the stack ended as {status}: {self._reasons(stack_id)}"
        return why

    def exists(self) -> bool:
        """Return whether the stack exists."""
        return self._describe() is not None

    def _change_set(self, template_key: str) -> int:
        """Create a change set for a new stack, and return the number of its changes."""
        place, client, name = self._place, self._cloudformation, self._name
        self._journal.make("stack", name)
        try:
            client.create_change_set(
                StackName=name,
                ChangeSetName=name,
                ChangeSetType="CREATE",
                Capabilities=CAPABILITIES,
                Tags=place.names.tag_list,
                TemplateURL=self._url(template_key),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            raise CheckError(f"CloudFormation refuses the template: {error.response['Error']['Message']}") from error

        def made() -> "DescribeChangeSetOutputTypeDef | None":
            description = client.describe_change_set(StackName=name, ChangeSetName=name)
            return None if description["Status"] in ("CREATE_PENDING", "CREATE_IN_PROGRESS") else description

        description = place.wait(made, "the change set", beat=self._beat)
        if description["Status"] != "CREATE_COMPLETE":
            raise CheckError(f"the change set ended as {description['Status']}: {description.get('StatusReason', '')}")
        pages = client.get_paginator("describe_change_set").paginate(StackName=name, ChangeSetName=name)
        return sum(len(page["Changes"]) for page in pages)

    def _url(self, key: str) -> str:
        place = self._place
        return f"{place.client('s3').meta.endpoint_url.rstrip('/')}/{place.names.bucket}/{key}"

    def _settled(self, stack_id: str | None = None) -> str:
        def settled() -> str | None:
            described = self._describe(stack_id)
            status = "DELETE_COMPLETE" if described is None else str(described["StackStatus"])
            return None if status.endswith("_IN_PROGRESS") and status != _REVIEW else status

        return self._place.wait(settled, f"the end of what happens to stack {self._name}", beat=self._beat)

    def _reasons(self, stack_id: str | None = None) -> str:
        with contextlib.suppress(ClientError):
            events = self._cloudformation.describe_stack_events(StackName=stack_id or self._name)["StackEvents"]
            failed = [event for event in reversed(events) if event["ResourceStatus"].endswith("_FAILED")]
            return "; ".join(
                f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
                for event in failed[:3]
            )
        return "no events"

    def _describe(self, stack_id: str | None = None) -> "StackTypeDef | None":
        try:
            found = self._cloudformation.describe_stacks(StackName=stack_id or self._name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return None if found["StackStatus"] == "DELETE_COMPLETE" else found


def _code_of(call: Callable[[], object]) -> str | None:
    """Return the error code of a rejected call; ``None`` if it is accepted."""
    try:
        call()
    except ClientError as error:
        if is_cut_off(error) or error.response["Error"]["Code"] in DENIED:
            raise
        return str(error.response["Error"]["Code"])
    return None
