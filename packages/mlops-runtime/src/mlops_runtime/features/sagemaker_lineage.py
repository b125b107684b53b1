r"""Training sets in SageMaker's lineage graph: contributing table snapshots, and models trained from the set.

::

    table at a snapshot --ContributedTo--> build --Produced--> training set --ContributedTo--> model package
            |   \-------------------------DerivedFrom------------^
            +--AssociatedWith--> feature group

Everything is published from the manifest alone, at any time and idempotently: existing entities are found by their source and
reused.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/lineage-tracking-entities.html
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.features import LINEAGE_DIGITS, PinnedTable, TrainingSetManifest, lineage_name
from mlops_runtime.features.training_set_manifest import pins

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.literals import AssociationEdgeTypeType
    from mypy_boto3_sagemaker.type_defs import MetadataPropertiesTypeDef

DATA_SET, MODEL, BUILD, FEATURE_GROUP = "DataSet", "Model", "TrainingSetBuild", "FeatureGroup"
_CATALOG = re.compile(r"arn:aws[a-z-]*:glue:[a-z0-9-]+:\d{12}")


class SageMakerLineageError(Exception):
    """SageMaker rejected a part of the lineage; earlier parts stay, and recording again continues from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedLineage:
    """ARNs of a training set's entities; ``created`` counts new entities and associations."""

    training_set: str
    action: str
    snapshots: tuple[str, ...]
    contexts: tuple[str, ...]
    created: int


@dataclass(frozen=True, slots=True)
class _Entity:
    arn: str
    is_new: bool


class SageMakerLineage:
    """Writes training sets into the lineage graph.

    Args:
        sagemaker: A boto3 client.
        catalog: ARN of the Glue catalog without its resource, ``arn:aws:glue:<region>:<account>``.
        manifests: The ``s3://`` prefix of all manifests.

    Raises:
        SageMakerLineageError: If ``catalog`` or ``manifests`` is invalid.

    Example:
        >>> import boto3
        >>> sagemaker = boto3.client("sagemaker", region_name="us-east-1")
        >>> lineage = SageMakerLineage(sagemaker, catalog="arn:aws:glue:us-east-1:111122223333", manifests="s3://sets/manifests")
        >>> lineage.training_set_uri("0" * 64)[:23]
        's3://sets/manifests/000'
    """

    def __init__(self, sagemaker: "SageMakerClient", *, catalog: str, manifests: str) -> None:
        problems = []
        if not _CATALOG.fullmatch(catalog):
            problems.append(f"catalog must be arn:aws:glue:<region>:<account>, got {catalog!r}")
        if not manifests.startswith("s3://"):
            problems.append(f"manifests must be an s3:// prefix, got {manifests!r}")
        if problems:
            raise SageMakerLineageError("; ".join(problems))
        self._sagemaker, self._catalog, self._manifests = sagemaker, catalog, manifests.rstrip("/")

    def training_set_uri(self, manifest_id: str) -> str:
        """Return the source URI that identifies a training set: its manifest."""
        return f"{self._manifests}/{manifest_id}.json"

    def record(self, manifest: TrainingSetManifest, *, uri: str = "") -> RecordedLineage:
        """Write a training set, the snapshots that it was built from, and the build; ``uri`` locates its files for readers.

        Raises:
            SageMakerLineageError: With the failed call and the reason.
        """
        digest = content_hash(manifest)
        built = self._artifact(
            self.training_set_uri(digest),
            kind=DATA_SET,
            name=_name(manifest.name, digest),
            properties={
                "training_set_id": digest,
                "content_hash": manifest.output.content_hash,
                "rows": str(manifest.output.rows),
                "semantics": manifest.semantics.as_of,
                **({} if manifest.semantics.cutoff is None else {"cutoff": manifest.semantics.cutoff}),
                **({"uri": uri} if uri else {}),
            },
        )
        action = self._action(manifest, digest)
        created = built.is_new + action.is_new
        snapshots, contexts = {}, {}
        for pinned in {(each.table, each.snapshot_id): each for each in pins(manifest)}.values():
            table = f"{self._catalog}:table/{pinned.database}/{pinned.table}"
            snapshot = self._artifact(
                f"{table}?table_uuid={pinned.table_uuid}&snapshot_id={pinned.snapshot_id}",
                kind=DATA_SET,
                name=_name(pinned.table, f"{pinned.table_uuid}/{pinned.snapshot_id}"),
                properties={"table": table, "snapshot_id": str(pinned.snapshot_id), "group": pinned.group},
            )
            context = self._context(pinned, table)
            created += snapshot.is_new + context.is_new
            created += self._associate(snapshot, action, "ContributedTo")
            created += self._associate(snapshot, built, "DerivedFrom")
            created += self._associate(snapshot, context, "AssociatedWith")
            snapshots[snapshot.arn], contexts[context.arn] = True, True
        created += self._associate(action, built, "Produced")
        return RecordedLineage(
            training_set=built.arn,
            action=action.arn,
            snapshots=tuple(snapshots),
            contexts=tuple(contexts),
            created=created,
        )

    def link_package(self, description: Mapping[str, Any]) -> str | None:
        """Associate a model package with its training set.

        Args:
            description: Response of DescribeModelPackage; ``training_set_id`` of its metadata identifies the training set.

        Returns:
            ARN of the package's artifact; ``None`` if its metadata has no training set, or the graph lacks it.

        Raises:
            SageMakerLineageError: With the failed call and the reason.
        """
        metadata = description.get("CustomerMetadataProperties", {})
        training_set = metadata.get("training_set_id")
        found = None if not training_set else self._found(self.training_set_uri(training_set))
        if found is None:
            return None
        arn = str(description["ModelPackageArn"])
        properties = {name: metadata[name] for name in ("training_set_id", "model_sha256") if name in metadata}
        package = self._artifact(
            arn, kind=MODEL, name=_name("-".join(arn.rsplit("/", 2)[1:]), arn), properties=properties
        )
        self._associate(_Entity(found, is_new=False), package, "ContributedTo")
        return package.arn

    def _artifact(self, uri: str, *, kind: str, name: str, properties: Mapping[str, str]) -> _Entity:
        def create() -> str:
            return self._sagemaker.create_artifact(
                ArtifactName=name, Source={"SourceUri": uri}, ArtifactType=kind, Properties=properties
            )["ArtifactArn"]

        return _ensured("CreateArtifact", uri, lambda: self._found(uri), create)

    def _found(self, uri: str) -> str | None:
        with _wrapped_errors("ListArtifacts", uri):
            for page in self._sagemaker.get_paginator("list_artifacts").paginate(SourceUri=uri):
                for row in page["ArtifactSummaries"]:
                    # skip versions of the source, which are separate artifacts that others may have created
                    if not row.get("Source", {}).get("SourceTypes"):
                        return row["ArtifactArn"]
        return None

    def _action(self, manifest: TrainingSetManifest, digest: str) -> _Entity:
        name, build = _name(f"build-{manifest.name}", digest), manifest.build
        source = {} if build.source is None else build.source
        code: MetadataPropertiesTypeDef = {}
        if "repository" in source:
            code["Repository"] = source["repository"]
        if "commit" in source:
            code["CommitId"] = source["commit"]

        def create() -> str:
            return self._sagemaker.create_action(
                ActionName=name,
                Source={"SourceUri": self.training_set_uri(digest), "SourceType": BUILD, "SourceId": digest},
                ActionType=BUILD,
                Status="Completed",
                Properties={
                    "engine": f"{build.engine} {build.engine_version}",
                    "planner": build.planner,
                    "client": build.client,
                },
                MetadataProperties=code,
            )["ActionArn"]

        def find() -> str | None:
            with _wrapped_errors("DescribeAction", name), suppress(self._sagemaker.exceptions.ResourceNotFound):
                return self._sagemaker.describe_action(ActionName=name)["ActionArn"]
            return None

        return _ensured("CreateAction", name, find, create)

    def _context(self, pinned: PinnedTable, table: str) -> _Entity:
        name = _name(pinned.table, table)

        def create() -> str:
            return self._sagemaker.create_context(
                ContextName=name,
                Source={"SourceUri": table, "SourceType": FEATURE_GROUP},
                ContextType=FEATURE_GROUP,
                Properties={"group": pinned.group, "version": str(pinned.version)},
            )["ContextArn"]

        def find() -> str | None:
            with _wrapped_errors("DescribeContext", name), suppress(self._sagemaker.exceptions.ResourceNotFound):
                return self._sagemaker.describe_context(ContextName=name)["ContextArn"]
            return None

        return _ensured("CreateContext", name, find, create)

    def _associate(self, source: _Entity, destination: _Entity, kind: "AssociationEdgeTypeType") -> bool:
        # new entities have no associations yet
        if not source.is_new and not destination.is_new and self._associated(source, destination):
            return False
        ends = f"{source.arn} -> {destination.arn}"
        try:
            with _wrapped_errors("AddAssociation", ends):
                self._sagemaker.add_association(
                    SourceArn=source.arn, DestinationArn=destination.arn, AssociationType=kind
                )
        except SageMakerLineageError:
            if not self._associated(source, destination):
                raise
            return False
        return True

    def _associated(self, source: _Entity, destination: _Entity) -> bool:
        with _wrapped_errors("ListAssociations", source.arn):
            answer = self._sagemaker.list_associations(SourceArn=source.arn, DestinationArn=destination.arn)
        return bool(answer["AssociationSummaries"])


def _ensured(operation: str, what: str, find: Callable[[], str | None], create: Callable[[], str]) -> _Entity:
    found = find()
    if found is not None:
        return _Entity(found, is_new=False)
    try:
        with _wrapped_errors(operation, what):
            return _Entity(create(), is_new=True)
    except SageMakerLineageError:
        found = find()  # another process may have created it since
        if found is None:
            raise
        return _Entity(found, is_new=False)


def _name(text: str, identity: str) -> str:
    """Return a name within SageMaker's limits, unique by identity."""
    return lineage_name(text, hashlib.sha256(identity.encode()).hexdigest()[:LINEAGE_DIGITS])


@contextmanager
def _wrapped_errors(operation: str, what: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise SageMakerLineageError(f"{operation} of {what} failed: {error}") from error
