"""Tells a unit's bus what was ingested."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.events import DetailType, EventDetail, event_source

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient


class AnnounceError(RuntimeError):
    """The bus did not take an event; what it is about is done, and doing the same again tells it again."""


def unit_bus(
    events: "EventBridgeClient", *, bus: str, unit: str, detail_type: DetailType = DetailType.FEATURES_INGESTED
) -> Callable[[EventDetail], None]:
    """Return what a client calls after each ingest: it puts ``MLOps Features Ingested`` on the unit's bus.

    Args:
        events: Client; its caller needs ``events:PutEvents`` on the bus with ``events:source`` ``mlops.<unit>``.
        bus: Name of the unit's bus.
        unit: The unit.
        detail_type: Type of the event. Default: ``MLOps Features Ingested``.

    Example:
        >>> store = FeatureStoreClient.glue(  # doctest: +SKIP
        ...     database="demand_features", announce=unit_bus(boto3.client("events"), bus=bus, unit="demand"))
    """

    def announce(detail: EventDetail) -> None:
        answer = events.put_events(
            Entries=[
                {
                    "EventBusName": bus,
                    "Source": event_source(unit),
                    "DetailType": detail_type.value,
                    "Detail": canonical_json(detail).decode(),
                }
            ]
        )
        if answer["FailedEntryCount"]:
            entry = answer["Entries"][0]
            raise AnnounceError(
                f"bus {bus!r} did not take the event of {detail.subject}: {entry.get('ErrorCode')}: "
                f"{entry.get('ErrorMessage')}; do the same again to tell it: nothing is done twice"
            )

    return announce
