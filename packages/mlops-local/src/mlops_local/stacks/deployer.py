"""Deploys a cloud assembly with boto3, as the CDK CLI does: assets, change set, execution, events."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import itertools
import json
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import ClientError

# resources of `cdk bootstrap`, with the qualifier of the default synthesizer
# https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping-env.html
_QUALIFIER = "hnb659fds"
_TOOLKIT = "CDKToolkit"
_BOOTSTRAP_VERSION = "30"
_CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
_NOTHING_LEFT = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "REVIEW_IN_PROGRESS", "DELETE_FAILED")
_UNKNOWN = ("", "unknown-account", "unknown-region")  # account and Region of an environment-agnostic stack
_DIGEST = "sha256"  # object metadata with the hash of the content
_POLL = 0.1  # seconds of real time between two polls of a stack


class AssemblyError(Exception):
    """A cloud assembly cannot be deployed; the message names the problem and what is allowed."""


@dataclass(frozen=True)
class FileAsset:
    """A file asset of a template."""

    path: Path  # the file, or the folder to zip
    zipped: bool  # whether `path` is a folder that is uploaded as a zip
    bucket: str
    key: str  # the object key, which contains the content hash

    def read(self) -> bytes:
        """Return the bytes to upload; the zip of a folder is reproducible."""
        return zip_folder(self.path) if self.zipped else self.path.read_bytes()

    def digest(self) -> str:
        """Return the hash of the current content, cached until a file is written."""
        return _digest(self.path, _written(self.path))


@dataclass(frozen=True)
class Stack:
    """One stack of an assembly."""

    name: str  # the stack's name
    account: str  # target account
    region: str  # target Region
    template: Path
    template_key: str  # object key of the template in the bootstrap bucket
    parameters: dict[str, str] = field(default_factory=dict)  # parameter values from the assembly
    tags: dict[str, str] = field(default_factory=dict)  # stack tags
    assets: tuple[FileAsset, ...] = ()  # files to upload first


def read(folder: Path, *, account: str, region: str, names: Sequence[str] | None = None) -> list[Stack]:
    """Read the stacks of an assembly, dependencies first.

    Args:
        folder: The assembly (`cdk.out`).
        account: Account of stacks without one.
        region: Region of stacks without one.
        names: Stacks to read, with their dependencies. Default: all.

    Raises:
        AssemblyError: If a stack is not in the assembly, two stacks have the same name, or one needs an unsupported asset.
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise AssemblyError(f"no cloud assembly at {folder}: manifest.json is missing; synthesize first")
    artifacts = json.loads(manifest.read_text("utf-8")).get("artifacts", {})
    stacks = {key: item for key, item in artifacts.items() if item["type"] == "aws:cloudformation:stack"}
    order = TopologicalSorter({key: [other for other in item.get("dependencies", []) if other in stacks]
                               for key, item in stacks.items()})  # fmt: skip
    wanted = _wanted(stacks, names)
    found = [
        _stack(folder, key, artifacts, account=account, region=region) for key in order.static_order() if key in wanted
    ]
    for item in artifacts.values():
        if item["type"] == "cdk:cloud-assembly" and names is None:  # stacks of a Stage
            nested = folder / item["properties"]["directoryName"]
            found += read(nested, account=account, region=region)
    twice = sorted(name for name, count in Counter(stack.name for stack in found).items() if count > 1)
    if twice:
        raise AssemblyError(
            f"stacks of several environments have the name {', '.join(twice)}, but the embedded cloud identifies stacks "
            "by name; give each a unique name"
        )
    return found


def _written(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Return name, size and modification time of each file, to detect changes."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    found = [(file, file.stat()) for file in files if file.is_file()]
    return tuple((file.relative_to(path).as_posix(), stat.st_size, stat.st_mtime_ns) for file, stat in found)


@functools.lru_cache(maxsize=1024)
def _digest(path: Path, written: tuple[tuple[str, int, int], ...]) -> str:
    total = hashlib.sha256()
    for name, size, _ in written:
        total.update(f"{name} {size} ".encode())
        total.update((path / name).read_bytes())
    return total.hexdigest()


def zip_folder(folder: Path) -> bytes:
    """Zip a folder so that the same content gives the same bytes.

    Files are stored without compression: they stay on this machine, where compressing numpy's layer takes longer than uploading it.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes())
    return buffer.getvalue()


def _wanted(stacks: dict[str, Any], names: Sequence[str] | None) -> set[str]:
    by_name = {item["properties"].get("stackName", key): key for key, item in stacks.items()}
    if names is None:
        return set(stacks)
    unknown = sorted(set(names) - by_name.keys())
    if unknown:
        raise AssemblyError(
            f"no stack {', '.join(unknown)} in the assembly; it has {', '.join(sorted(by_name)) or 'none'}"
        )
    wanted: set[str] = set()
    queue = [by_name[name] for name in names]
    while queue:
        key = queue.pop()
        if key not in wanted:
            wanted.add(key)
            queue += [other for other in stacks[key].get("dependencies", []) if other in stacks]
    return wanted


def _stack(folder: Path, key: str, artifacts: dict[str, Any], *, account: str, region: str) -> Stack:
    item = artifacts[key]
    # such as aws://111111111111/eu-west-1
    own = str(item.get("environment", "")).removeprefix("aws://").partition("/")
    account = own[0] if own[0] not in _UNKNOWN else account
    region = own[2] if own[2] not in _UNKNOWN else region
    values = {"${AWS::AccountId}": account, "${AWS::Region}": region, "${AWS::Partition}": "aws"}
    properties = item["properties"]
    assets: list[FileAsset] = []
    for other in item.get("dependencies", []):
        if artifacts.get(other, {}).get("type") == "cdk:asset-manifest":
            assets += _assets(folder, artifacts[other]["properties"]["file"], values)
    template = folder / properties["templateFile"]
    uploaded = next((asset for asset in assets if asset.path == template), None)
    return Stack(
        name=properties.get("stackName", key), account=account, region=region, template=template,
        template_key=uploaded.key if uploaded else f"{template.name}",
        parameters=dict(properties.get("parameters") or {}), tags=dict(properties.get("tags") or {}), assets=tuple(assets),
    )  # fmt: skip


def _assets(folder: Path, file: str, values: dict[str, str]) -> list[FileAsset]:
    manifest = json.loads((folder / file).read_text("utf-8"))
    images = sorted(manifest.get("dockerImages") or {})
    if images:
        raise AssemblyError(
            f"{file} contains docker images {', '.join(images)}: the embedded cloud builds none; reference them by digest"
        )
    found: list[FileAsset] = []
    for digest, asset in (manifest.get("files") or {}).items():
        source = asset["source"]
        if "path" not in source:
            raise AssemblyError(
                f"{file}: asset {digest} is generated by a command; only files and folders are uploaded"
            )
        for destination in asset["destinations"].values():
            bucket, key = _filled(destination["bucketName"], values), _filled(destination["objectKey"], values)
            found.append(FileAsset(folder / source["path"], source.get("packaging", "file") == "zip", bucket, key))
    return found


def _filled(text: str, values: dict[str, str]) -> str:
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


class _Cloud(Protocol):
    @property
    def endpoint_url(self) -> str: ...

    def client(self, service: str) -> Any: ...


class _Accounts(_Cloud, Protocol):
    def at(self, account: str | None = None, region: str | None = None) -> _Cloud: ...


@dataclass(frozen=True)
class ResourceEvent:
    """A stack event of a resource."""

    stack: str
    logical_id: str  # logical id of the resource
    resource_type: str
    status: str  # such as `CREATE_COMPLETE`
    reason: str = ""  # the reason, if CloudFormation gives one
    physical_id: str = ""  # physical id of the resource, once known
    at: float = 0.0  # time in epoch seconds of the cloud's clock

    def __str__(self) -> str:
        """Return the event as one line; a retained resource's line includes its physical id, shown nowhere else."""
        line = f"{self.stack} | {self.status:24} | {self.resource_type} | {self.logical_id}"
        if self.status == "DELETE_SKIPPED":
            line = f"{line} | {self.physical_id}"
        return f"{line} | {self.reason}" if self.reason else line

    @property
    def failed(self) -> bool:
        """Whether the resource failed itself, rather than being cancelled because another one failed."""
        return self.status.endswith("_FAILED") and "cancelled" not in self.reason.lower()


class DeployError(Exception):
    """A stack was not deployed or not deleted.

    Attributes:
        stack: Stack of the operation.
        status: Final status.
        failures: Events of the failed resources, each with its reason.
    """

    def __init__(self, stack: str, status: str, failures: Sequence[ResourceEvent] = (), reason: str = "") -> None:
        lines = [f"{item.logical_id} ({item.resource_type}): {item.reason}" for item in failures] or [
            reason or "no reason given"
        ]
        super().__init__(f"stack {stack} ended as {status}: " + "; ".join(lines))
        self.stack = stack
        self.status = status
        self.failures = tuple(failures)


OnEvent = Callable[[ResourceEvent], None]


def deploy(
    cloud: _Accounts, assembly: Path, stacks: Sequence[str] | None = None, on_event: OnEvent | None = None
) -> dict[str, dict[str, str]]:
    """Deploy the stacks of an assembly in dependency order, each to its own account and Region.

    Args:
        cloud: The embedded cloud, or one of its accounts, which is the target of environment-agnostic stacks.
        assembly: The cloud assembly (`cdk.out`).
        stacks: Names of the stacks, deployed with their dependencies. Default: all.
        on_event: Called with each resource event. Default: not called.

    Returns:
        Each stack's outputs. A stack without changes is not touched.

    Raises:
        DeployError: If a stack fails; it is rolled back, and the error lists each failed resource with its reason.
        AccountError: If the cloud does not have the account of a stack.

    Example:
        ```python
        outputs = deploy(cloud.connect(home), Path("cdk.out"), on_event=print)
        ```
    """
    found = _read(cloud, assembly, stacks)
    places = {(stack.account, stack.region): cloud.at(stack.account, stack.region) for stack in found}
    for place in places.values():
        bootstrap(place)
    outputs: dict[str, dict[str, str]] = {}
    for stack in found:
        place = places[stack.account, stack.region]
        _upload(place, stack.assets)
        _deploy_stack(place, stack, on_event or _ignore)
        outputs[stack.name] = _outputs(place.client("cloudformation"), stack.name)
    return outputs


def destroy(
    cloud: _Accounts, assembly: Path, stacks: Sequence[str] | None = None, on_event: OnEvent | None = None
) -> list[ResourceEvent]:
    """Delete the stacks of an assembly, in reverse dependency order.

    As in AWS, buckets with objects and model package groups with packages cannot be deleted, and the error names them: emptying
    them is up to the template. Resources that the template retains are not touched.

    Args:
        cloud: See `deploy`.
        assembly: The cloud assembly (`cdk.out`).
        stacks: Names of the stacks. Default: all.
        on_event: See `deploy`.

    Returns:
        Events of the retained resources.

    Raises:
        DeployError: If a resource cannot be deleted.
    """
    retained: list[ResourceEvent] = []
    found = [stack for stack in _read(cloud, assembly, stacks) if stacks is None or stack.name in stacks]
    for stack in reversed(found):
        client = cloud.at(stack.account, stack.region).client("cloudformation")
        described = _describe(client, stack.name)
        if described is None:
            continue
        retained += [item for item in _delete(client, described["StackId"], stack.name, on_event or _ignore)
                     if item.status == "DELETE_SKIPPED"]  # fmt: skip
    return retained


def deployed_stacks(cloud: _Cloud, assembly: Path, stacks: Sequence[str] | None = None) -> list[Stack]:
    """Return the stacks that `deploy` would deploy, in dependency order.

    Raises:
        DeployError: If a named stack is missing.
    """
    return _read(cloud, assembly, stacks)


def is_made_again(cloud: _Accounts, stack: Stack) -> bool:
    """Return whether `deploy` deletes and recreates a stack because its creation or deletion failed."""
    existing = _describe(cloud.at(stack.account, stack.region).client("cloudformation"), stack.name)
    return existing is not None and existing["StackStatus"] in _NOTHING_LEFT


def bootstrap(cloud: _Cloud) -> str:
    """Create the bucket and version parameter of `cdk bootstrap`, if missing; a later `cdk bootstrap` adopts them.

    Returns:
        Name of the bucket.
    """
    client = cloud.client("cloudformation")
    account, region = _environment(cloud)
    bucket = f"cdk-{_QUALIFIER}-assets-{account}-{region}"
    if _describe(client, _TOOLKIT) is None:
        body = json.dumps(_toolkit_template(bucket))
        arguments = {"StackName": _TOOLKIT, "TemplateBody": body, "Capabilities": _CAPABILITIES}
        created = client.create_stack(**arguments)["StackId"]
        _wait(client, created, _TOOLKIT, set(), _ignore)
    return bucket


def _toolkit_template(bucket: str) -> dict[str, Any]:
    closed = dict.fromkeys(("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True)
    staging = {
        "BucketName": bucket,
        "PublicAccessBlockConfiguration": closed,
        "VersioningConfiguration": {"Status": "Enabled"},
    }
    version = {"Name": f"/cdk-bootstrap/{_QUALIFIER}/version", "Type": "String", "Value": _BOOTSTRAP_VERSION}
    return {
        "Description": "The bucket and the version parameter that CDK's default synthesizer refers to",
        "Resources": {
            "StagingBucket": {
                "Type": "AWS::S3::Bucket", "Properties": staging, "DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain",
            },
            "CdkBootstrapVersion": {"Type": "AWS::SSM::Parameter", "Properties": version},
        },
        "Outputs": {
            "BucketName": {"Value": {"Ref": "StagingBucket"}},
            "BootstrapVersion": {"Value": {"Fn::GetAtt": ["CdkBootstrapVersion", "Value"]}},
        },
    }  # fmt: skip


def _read(cloud: _Cloud, assembly: Path, names: Sequence[str] | None) -> list[Stack]:
    account, region = _environment(cloud)
    try:
        return read(assembly, account=account, region=region, names=names)
    except AssemblyError as error:
        raise DeployError(", ".join(names or ["all"]), "not started", reason=str(error)) from error


def _environment(cloud: _Cloud) -> tuple[str, str]:
    sts = cloud.client("sts")
    return sts.get_caller_identity()["Account"], sts.meta.region_name


def _upload(cloud: _Cloud, assets: Sequence[FileAsset]) -> None:
    """Upload missing or changed assets; an edited file may keep its key."""
    s3 = cloud.client("s3")

    def one(asset: FileAsset) -> None:
        with contextlib.suppress(ClientError):
            found = s3.head_object(Bucket=asset.bucket, Key=asset.key)
            if found["Metadata"].get(_DIGEST) == asset.digest():
                return
        s3.put_object(Bucket=asset.bucket, Key=asset.key, Body=asset.read(), Metadata={_DIGEST: asset.digest()})

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(one, assets))


def _deploy_stack(cloud: _Cloud, stack: Stack, on_event: OnEvent) -> None:
    client = cloud.client("cloudformation")
    existing = _describe(client, stack.name)
    if existing is not None and existing["StackStatus"] in _NOTHING_LEFT:
        _delete(client, existing["StackId"], stack.name, on_event)
        existing = None
    try:
        change_set = client.create_change_set(
            StackName=stack.name,
            ChangeSetName=f"mlops-{time.time_ns()}",
            ChangeSetType="CREATE" if existing is None else "UPDATE",
            Capabilities=_CAPABILITIES,
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in stack.parameters.items()],
            Tags=[{"Key": key, "Value": value} for key, value in stack.tags.items()],
            TemplateURL=_template_url(cloud, stack),
        )
    except ClientError as error:  # the template is rejected, or another deployment is in progress
        raise _not_started(stack, error) from error
    stack_id, change_set_id = change_set["StackId"], change_set["Id"]
    description = _change_set(client, change_set_id)
    if description["Status"] == "FAILED":
        client.delete_change_set(ChangeSetName=change_set_id)
        reason = description.get("StatusReason", "")
        if existing is not None and ("didn't contain changes" in reason or "No updates" in reason):
            _update_outputs(cloud, stack, existing["StackId"], on_event)
            return
        if existing is None:
            client.delete_stack(StackName=stack_id)
        raise DeployError(stack.name, "not started", reason=reason)
    seen = _newest(client, stack_id)
    try:
        client.execute_change_set(ChangeSetName=change_set_id)
    except ClientError as error:  # another deployment started first
        raise _not_started(stack, error) from error
    status, events = _wait(client, stack_id, stack.name, seen, on_event)
    if status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
        raise DeployError(stack.name, status, _causes(events))


def _not_started(stack: Stack, error: ClientError) -> DeployError:
    reason = error.response["Error"]["Message"]
    if "_IN_PROGRESS state" in reason:
        reason = f"{reason} Another deployment is in progress; wait until it has ended, then deploy again"
    return DeployError(stack.name, "not started", reason=reason)


def _update_outputs(cloud: _Cloud, stack: Stack, stack_id: str, on_event: OnEvent) -> None:
    """Update a stack in which only outputs changed: MiniStack's change sets ignore these, its UpdateStack does not."""
    client = cloud.client("cloudformation")
    body = client.get_template(StackName=stack_id)["TemplateBody"]
    deployed = json.loads(body) if isinstance(body, str) else body
    if deployed.get("Outputs") == json.loads(stack.template.read_text()).get("Outputs"):
        return
    seen = _newest(client, stack_id)
    client.update_stack(
        StackName=stack_id,
        Capabilities=_CAPABILITIES,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in stack.parameters.items()],
        Tags=[{"Key": key, "Value": value} for key, value in stack.tags.items()],
        TemplateURL=_template_url(cloud, stack),
    )
    status, events = _wait(client, stack_id, stack.name, seen, on_event)
    if status != "UPDATE_COMPLETE":
        raise DeployError(stack.name, status, _causes(events))


def _causes(events: Sequence[ResourceEvent]) -> list[ResourceEvent]:
    """Return the failures of an operation, without those of the subsequent rollback."""
    before = itertools.takewhile(lambda event: "ROLLBACK" not in event.status, events)
    return [event for event in before if event.failed]


def _template_url(cloud: _Cloud, stack: Stack) -> str:
    bucket = next((asset.bucket for asset in stack.assets if asset.path == stack.template), None)
    if bucket is None:  # legacy assemblies do not list the template among the assets
        bucket = bootstrap(cloud)
        cloud.client("s3").put_object(Bucket=bucket, Key=stack.template_key, Body=stack.template.read_bytes())
    return f"{cloud.endpoint_url}/{bucket}/{stack.template_key}"


def _change_set(client: Any, change_set_id: str) -> dict[str, Any]:
    while True:
        description: dict[str, Any] = client.describe_change_set(ChangeSetName=change_set_id)
        if description["Status"] not in {"CREATE_PENDING", "CREATE_IN_PROGRESS"}:
            return description
        time.sleep(_POLL)


def _wait(client: Any, stack_id: str, name: str, seen: set[str], on_event: OnEvent) -> tuple[str, list[ResourceEvent]]:
    """Wait for the end of a stack operation, reporting its events."""
    events: list[ResourceEvent] = []
    while True:
        status = _describe(client, stack_id)
        for row in _events(client, stack_id, seen):
            seen.add(row["EventId"])
            event = ResourceEvent(
                name,
                row["LogicalResourceId"],
                row["ResourceType"],
                row["ResourceStatus"],
                row.get("ResourceStatusReason", ""),
                row.get("PhysicalResourceId", ""),
                row["Timestamp"].timestamp(),
            )
            events.append(event)
            on_event(event)
        ended = "DELETE_COMPLETE" if status is None else str(status["StackStatus"])
        if not ended.endswith("_IN_PROGRESS"):
            return ended, events
        time.sleep(_POLL)


def _delete(client: Any, stack_id: str, name: str, on_event: OnEvent) -> list[ResourceEvent]:
    seen = _newest(client, stack_id)
    try:
        client.delete_stack(StackName=stack_id)
    except client.exceptions.ClientError as error:
        status = str(client.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"])
        raise DeployError(name, status, reason=error.response["Error"]["Message"]) from error
    status, events = _wait(client, stack_id, name, seen, on_event)
    if status != "DELETE_COMPLETE":
        # for example an export in use: the stack is unchanged
        raise DeployError(name, status, _causes(events), events[-1].reason if events else "")
    return events


def _newest(client: Any, stack_id: str) -> set[str]:
    """Return the ids of the newest page of a stack's events, enough to recognize later ones."""
    return {event["EventId"] for event in client.describe_stack_events(StackName=stack_id)["StackEvents"]}


def _events(client: Any, stack_id: str, seen: Collection[str]) -> list[dict[str, Any]]:
    """Return new events of a stack, oldest first; pages start with the newest, so a page with a known event is the last."""
    found: list[dict[str, Any]] = []
    for page in client.get_paginator("describe_stack_events").paginate(StackName=stack_id):
        new = [event for event in page["StackEvents"] if event["EventId"] not in seen]
        found += new
        if len(new) < len(page["StackEvents"]):
            break
    return found[::-1]


def _describe(client: Any, stack: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = client.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if found["StackStatus"] == "DELETE_COMPLETE" else found


def _outputs(client: Any, stack: str) -> dict[str, str]:
    described = _describe(client, stack) or {}
    return {row["OutputKey"]: row["OutputValue"] for row in described.get("Outputs", [])}


def _ignore(_event: ResourceEvent) -> None:
    """Ignore an event."""
