"""Names of everything that a verification makes: derived from account and region, so that a killed one is found again."""

import hashlib
from dataclasses import dataclass

TAG = "mlops:verify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names in one account and region.

    Args:
        unit: Business unit; prefix of endpoints, models, alarms and log groups.
        stack: CloudFormation stack.
        bucket: Bucket of the stack's files.
        lock: SSM parameter that one run at a time holds.
    """

    unit: str
    stack: str
    bucket: str
    lock: str

    @property
    def endpoint(self) -> str:
        """Endpoint, and its model package group."""
        return f"{self.unit}-probe"

    @property
    def tags(self) -> dict[str, str]:
        """Tags of everything that has tags."""
        return {TAG: self.unit}


def names(account: str, region: str) -> Names:
    """Return the names in an account and region. Nobody's own unit begins with ``verify-`` and six digits of a hash by accident.

    Args:
        account: Account id.
        region: Region.

    Example:
        >>> names("000000000000", "us-east-1").stack
        'mlops-verify-09fb16'
    """
    digest = hashlib.sha256(f"{account}/{region}".encode()).hexdigest()
    return Names(
        unit=f"verify-{digest[:6]}",
        stack=f"mlops-verify-{digest[:6]}",
        bucket=f"mlops-verify-{digest[:24]}",  # names of buckets are global
        lock="/mlops-verify/lock",
    )
