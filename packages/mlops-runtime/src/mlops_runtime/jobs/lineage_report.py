"""What the training-set job tells about lineage, after the set is written: a graph or an outbox that fails never fails a build."""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts.features import TrainingSetManifest
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.sagemaker_lineage import SageMakerLineage, SageMakerLineageError
from mlops_runtime.jobs.job_environment import JobError

if TYPE_CHECKING:
    from mlops_runtime.features.open_lineage import Event

# OpenLineage's own variables: https://openlineage.io/docs/client/python/configuration
URL, API_KEY = "OPENLINEAGE_URL", "OPENLINEAGE_API_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where lineage is reported.

    Args:
        catalog: ARN of the Glue catalog without its resource; with it the set is in SageMaker's lineage graph. Default: it
            does not.
        events: Prefix of the outbox of OpenLineage events. Default: none.
        namespace: Namespace of the job in events, such as ``mlops.demand``.
        manifests: The S3 prefix of all manifests.
        environment: Where ``OPENLINEAGE_URL`` and ``OPENLINEAGE_API_KEY`` are read; without the URL events wait in the outbox.
        sagemaker: A boto3 client.
        s3: A boto3 client.
    """

    catalog: str | None
    events: str | None
    namespace: str
    manifests: str
    environment: Mapping[str, str]
    sagemaker: Any
    s3: Any

    def __post_init__(self) -> None:
        if self.events is not None and self.catalog is None:
            raise JobError("--lineage names tables by the catalog; give --catalog too")

    def built(self, manifest: TrainingSetManifest, *, uri: str, started: datetime, now: datetime) -> list[str]:
        """Tell of a training set that was built, and return what went wrong with that."""
        problems: list[str] = []
        if self.catalog is not None:
            with _kept(problems):
                graph = SageMakerLineage(self.sagemaker, catalog=self.catalog, manifests=self.manifests)
                graph.record(manifest, uri=uri)
        if self.events is not None:
            with _kept(problems):
                # OpenLineage's client is an extra
                from mlops_runtime.features.open_lineage import training_set_events  # noqa: PLC0415

                told = training_set_events(manifest, self._source(), uri=uri, started=started, now=now)
                problems += self._publish(told, now)
        return problems

    def failed(
        self, plan: TrainingSetPlan, *, as_of: datetime, error: str, started: datetime, now: datetime
    ) -> list[str]:
        """Tell of a training set that could not be built, and return what went wrong with that."""
        problems: list[str] = []
        if self.events is not None:
            with _kept(problems):
                from mlops_runtime.features.open_lineage import training_set_failure  # noqa: PLC0415

                told = training_set_failure(plan, self._source(), as_of=as_of, error=error, started=started, now=now)
                problems += self._publish(told, now)
        return problems

    def _source(self) -> Any:
        from mlops_runtime.features.open_lineage import LineageSource  # noqa: PLC0415

        return LineageSource(namespace=self.namespace, catalog=str(self.catalog))

    def _publish(self, events: "tuple[Event, ...]", now: datetime) -> list[str]:
        from mlops_runtime.features.open_lineage import LineageOutbox, LineageOutboxError, http_transport  # noqa: PLC0415

        try:
            outbox = LineageOutbox(str(self.events), s3=self.s3)
            outbox.put(events)
            if URL not in self.environment:
                return []
            transport = http_transport(self.environment[URL], api_key=self.environment.get(API_KEY))
            problem = outbox.deliver_pending(transport, now=now).problem
        except LineageOutboxError as error:
            return [f"lineage events are not kept or not delivered: {error}"]
        return [] if problem is None else [problem]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of where lineage is reported."""
    parser.add_argument(
        "--catalog", help="arn:aws:glue:<region>:<account>; records the set in SageMaker's lineage graph"
    )
    parser.add_argument(
        "--lineage", help="s3 prefix of the outbox of OpenLineage events; takes --catalog and --namespace"
    )
    parser.add_argument("--namespace", default="mlops", help="namespace of the job in OpenLineage events")


@contextmanager
def _kept(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        problems.append(f"{error}; install mlops-runtime[lineage] in the job's image")
    except SageMakerLineageError as error:
        problems.append(f"the lineage graph lacks the set, record it again from its manifest: {error}")
