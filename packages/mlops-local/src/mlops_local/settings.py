"""What the child process of the embedded cloud was started with."""

import os
from pathlib import Path
from typing import Any

ACCOUNT = "000000000000"
REGION = "us-east-1"
# root's access key id in that account, by which MiniStack knows it; the secret is of the home
ROOT_KEY = "test"

# the launcher's parent sets these; a unit test that imports a module of the child without it gets a port that nothing answers
account = ACCOUNT
accounts = tuple(os.environ.get("MLOPS_LOCAL_ACCOUNTS", ACCOUNT).split(","))
region = os.environ.get("MLOPS_LOCAL_REGION", REGION)
port = int(os.environ.get("MLOPS_LOCAL_PORT", "0"))
home = Path(os.environ.get("MLOPS_LOCAL_STATE", ".mlops/local/state"))
clock_scale = float(os.environ.get("MLOPS_LOCAL_CLOCK_SCALE") or "1")
is_clock_scale_given = bool(os.environ.get("MLOPS_LOCAL_CLOCK_SCALE"))


def endpoint_url() -> str:
    """Return the address under which the embedded cloud calls itself."""
    return f"http://127.0.0.1:{port}"


def root_key(account: str = ACCOUNT) -> str:
    """Return the access key id of an account's root user: the account's number, by which MiniStack knows the account."""
    return ROOT_KEY if account == ACCOUNT else account


def root_keys(account: str = ACCOUNT) -> dict[str, Any]:
    """Return the root user's credentials as arguments of ``boto3.client``; the launcher's parent gives the secret."""
    return {
        "aws_access_key_id": root_key(account),
        "aws_secret_access_key": os.environ.get("AWS_SECRET_ACCESS_KEY", ""),
    }


def elsewhere(what: str, account: str, of: str) -> str | None:
    """Return that the embedded cloud has something in its first account and Region alone; None there.

    Args:
        what: What is asked for, in the plural.
        account: The account that asks.
        of: Its Region.

    Example:
        >>> elsewhere("clusters", "111111111111", "us-east-1")
        'the embedded cloud has clusters in account 000000000000 and us-east-1 alone, got 111111111111 and us-east-1'
    """
    if (account, of) == (ACCOUNT, region):
        return None
    return f"the embedded cloud has {what} in account {ACCOUNT} and {region} alone, got {account} and {of}"


def clock_file() -> Path:
    """Return the file in which the clock says its time to processes of the embedded cloud: real, embedded, scale."""
    return home.absolute() / "clock.json"
