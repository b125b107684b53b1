"""Lineage reporting of the training-set job, after the set is written; failures of graph or outbox never fail a build."""

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
    """Where lineage is reported."""

    # ARN of the Glue catalog without its resource; enables SageMaker's lineage graph. Default: not recorded there
    catalog: str | None
    events: str | None  # prefix of the outbox of OpenLineage events. Default: no events
    namespace: str  # namespace of the job in events, such as `mlops.demand`
    manifests: str  # the S3 prefix of all manifests
    # environment with `OPENLINEAGE_URL` and `OPENLINEAGE_API_KEY`; without the URL, events stay in the outbox
    environment: Mapping[str, str]
    sagemaker: Any  # a boto3 client
    s3: Any  # a boto3 client

    def __post_init__(self) -> None:
        if self.events is not None and self.catalog is None:
            raise JobError("--lineage identifies tables by the catalog; pass --catalog too")

    def built(self, manifest: TrainingSetManifest, *, uri: str, started: datetime, now: datetime) -> list[str]:
        """Report a training set that was built, and return the problems of reporting."""
        problems: list[str] = []
        if self.catalog is not None:
            with _kept(problems):
                graph = SageMakerLineage(self.sagemaker, catalog=self.catalog, manifests=self.manifests)
                graph.record(manifest, uri=uri)
        if self.events is not None:
            with _kept(problems):
                # OpenLineage's client is an optional dependency
                from mlops_runtime.features.open_lineage import training_set_events  # noqa: PLC0415

                events = training_set_events(manifest, self._source(), uri=uri, started=started, now=now)
                problems += self._publish(events, now)
        return problems

    def failed(
        self, plan: TrainingSetPlan, *, as_of: datetime, error: str, started: datetime, now: datetime
    ) -> list[str]:
        """Report a training set that could not be built, and return the problems of reporting."""
        problems: list[str] = []
        if self.events is not None:
            with _kept(problems):
                from mlops_runtime.features.open_lineage import training_set_failure  # noqa: PLC0415

                events = training_set_failure(plan, self._source(), as_of=as_of, error=error, started=started, now=now)
                problems += self._publish(events, now)
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
            return [f"lineage events were not stored or not delivered: {error}"]
        return [] if problem is None else [problem]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments of lineage reporting."""
    parser.add_argument(
        "--catalog", help="arn:aws:glue:<region>:<account>; record the set in SageMaker's lineage graph"
    )
    parser.add_argument(
        "--lineage", help="S3 prefix of the outbox of OpenLineage events; requires --catalog and --namespace"
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
