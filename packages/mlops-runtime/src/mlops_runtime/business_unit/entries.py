"""Parameters by which the command finds what a unit has deployed: their names, and how they are read back."""

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.automation import EndpointEntry, FeatureStoreEntry, PipelineEntry, UnitEntry

Entry = UnitEntry | EndpointEntry | PipelineEntry | FeatureStoreEntry

ROOT = "/mlops/"


def entry_name(entry: Entry) -> str:
    """Return the name of an entry's parameter.

    Example:
        >>> entry_name(FeatureStoreEntry(
        ...     unit="demand", database="d", data_bucket="b", training_sets_bucket="t", manifests_bucket="m"))
        '/mlops/demand/features'
    """
    if isinstance(entry, UnitEntry):
        return f"{ROOT}{entry.unit}/unit"
    if isinstance(entry, EndpointEntry):
        return f"{ROOT}{entry.unit}/endpoint/{entry.endpoint}"
    if isinstance(entry, FeatureStoreEntry):
        return f"{ROOT}{entry.unit}/features"
    return f"{ROOT}{entry.unit}/pipeline/{entry.pipeline}"


def entry_kind(name: str) -> type[Entry] | None:
    """Return which entry a parameter of a name holds; None if it is none of ours."""
    match name.removeprefix(ROOT).split("/") if name.startswith(ROOT) else []:
        case [_, "unit"]:
            return UnitEntry
        case [_, "features"]:
            return FeatureStoreEntry
        case [_, "endpoint", _]:
            return EndpointEntry
        case [_, "pipeline", _]:
            return PipelineEntry
    return None


def read_entry(name: str, value: str) -> Entry | None:
    """Return the entry that a parameter holds; None if its name is none of ours.

    Raises:
        ContractError: If the value is not what the name says.
    """
    kind = entry_kind(name)
    return None if kind is None else from_json(kind, value)


def entry_value(entry: Entry) -> str:
    """Return the value of an entry's parameter."""
    return canonical_json(entry).decode()
