"""Settings with which the child process of the embedded cloud was started."""

import os
from pathlib import Path
from typing import Any

ACCOUNT = "000000000000"
REGION = "us-east-1"
# access key id of the first account's root user, as MiniStack defines it; the secret is in the home folder
ROOT_KEY = "test"

# set by the launcher's parent; unit tests that import a module of the child get a port without a listener
account = ACCOUNT
accounts = tuple(os.environ.get("MLOPS_LOCAL_ACCOUNTS", ACCOUNT).split(","))
region = os.environ.get("MLOPS_LOCAL_REGION", REGION)
port = int(os.environ.get("MLOPS_LOCAL_PORT", "0"))
home = Path(os.environ.get("MLOPS_LOCAL_STATE", ".mlops/local/state"))
clock_scale = float(os.environ.get("MLOPS_LOCAL_CLOCK_SCALE") or "1")
# process with which the child ends, as a run of tests that was killed cannot stop its clouds; 0 without one
owner = int(os.environ.get("MLOPS_LOCAL_OWNER") or "0")
is_clock_scale_given = bool(os.environ.get("MLOPS_LOCAL_CLOCK_SCALE"))


def endpoint_url() -> str:
    """Return the address at which the embedded cloud calls itself."""
    return f"http://127.0.0.1:{port}"


def root_key(account: str = ACCOUNT) -> str:
    """Return the access key id of an account's root user: the account id, from which MiniStack derives the account."""
    return ROOT_KEY if account == ACCOUNT else account


def root_keys(account: str = ACCOUNT) -> dict[str, Any]:
    """Return the root user's credentials as arguments of ``boto3.client``; the launcher's parent sets the secret."""
    return {
        "aws_access_key_id": root_key(account),
        "aws_secret_access_key": os.environ.get("AWS_SECRET_ACCESS_KEY", ""),
    }


def elsewhere(what: str, account: str, of: str) -> str | None:
    """Return the error for resources that exist in the first account and Region only; ``None`` there.

    Example:
        >>> elsewhere("clusters", "111111111111", "us-east-1")
        'the embedded cloud has clusters only in account 000000000000 and us-east-1, got 111111111111 and us-east-1'
    """
    if (account, of) == (ACCOUNT, region):
        return None
    return f"the embedded cloud has {what} only in account {ACCOUNT} and {region}, got {account} and {of}"


def clock_file() -> Path:
    """Return the file in which the clock publishes its time to processes of the embedded cloud: real, embedded, scale."""
    return home.absolute() / "clock.json"
