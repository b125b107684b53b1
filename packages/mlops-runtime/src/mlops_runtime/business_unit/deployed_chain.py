"""Audit chain of a deployed unit, endpoint or registry, and the public key of its signatures."""

from collections.abc import Callable
from typing import Any

from mlops_runtime.business_unit.deployed_entries import Entries, RegistryChain
from mlops_runtime.contracts.unit_entries import EndpointEntry, UnitEntry
from mlops_runtime.rollout.audit_chain import AuditChain
from mlops_runtime.rollout.rollout_table import RolloutTable
from mlops_runtime.rollout.seals import PublicKey, Sealer


def open_chain(client: Callable[[str], Any], entry: UnitEntry | EndpointEntry | RegistryChain) -> AuditChain:
    """Return the chain of an endpoint, unit or registry; only a unit's chain can be appended to."""
    pause_key = None
    if isinstance(entry, UnitEntry):
        unit, table, key, pause_key = entry, entry.automation_table, entry.unit, entry.pause_key
    elif isinstance(entry, RegistryChain):
        unit, table, key = entry.owner, entry.table, entry.name
    else:
        unit, table, key = _unit_of(client, entry), entry.rollout_table, entry.endpoint
    return AuditChain(
        s3=client("s3"),
        bucket=unit.audit_bucket,
        table=RolloutTable(client("dynamodb"), table, key),
        heads=unit.heads_bucket,
        sealer=None if pause_key is None else Sealer(kms=client("kms"), key=pause_key),
    )


def public_key_of(client: Callable[[str], Any], entry: UnitEntry | EndpointEntry | RegistryChain) -> PublicKey:
    """Return the public key of the KMS key that signs a chain."""
    key = entry.pause_key if isinstance(entry, UnitEntry) else _unit_of(client, entry).signing_key
    return PublicKey(der=client("kms").get_public_key(KeyId=key)["PublicKey"])


def _unit_of(client: Callable[[str], Any], entry: EndpointEntry | RegistryChain) -> UnitEntry:
    if isinstance(entry, RegistryChain):
        return entry.owner
    return Entries(ssm=client("ssm")).unit(entry.unit)
