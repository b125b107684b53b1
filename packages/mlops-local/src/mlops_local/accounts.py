"""Accounts of an embedded cloud: account ids, root users, and profiles for AWS tools."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3

from mlops_local.settings import ACCOUNT, REGION, root_key

MOST = 10
_COUNT = "accounts"  # file in a cloud's home
_PROFILES = "aws-config"


class AccountError(ValueError):
    """The cloud has no such account, or cannot have that number of accounts; the message names the allowed values."""


@dataclass(frozen=True, slots=True)
class CloudAccount:
    """One account and Region of a running embedded cloud, with root credentials.

    Args:
        number: The account id.
        endpoint_url: The address of all AWS services.
        secret: The secret access key of every account's root user.
        known: Ids of all accounts of the cloud.
        surroundings: Further environment variables that a tool needs, besides keys and Region.

    Example:
        >>> cloud.at("222222222222", "eu-west-1").client("s3").list_buckets()["Buckets"]  # doctest: +SKIP
        []
    """

    number: str
    region: str
    endpoint_url: str
    secret: str = field(repr=False)
    known: tuple[str, ...]
    surroundings: Mapping[str, str] = field(repr=False)

    def at(self, account: str | None = None, region: str | None = None) -> "CloudAccount":
        """Return another account and Region of the same cloud.

        Args:
            account: The account id. Default: this one.
            region: The Region. Default: this one.

        Raises:
            AccountError: If the cloud does not have the account.
        """
        number, place = chosen(self.known, account or self.number, region or self.region)
        return replace(self, number=number, region=place)

    def root_keys(self) -> dict[str, Any]:
        """Return the credentials of the account's root user as arguments of ``boto3.client``."""
        return {"aws_access_key_id": root_key(self.number), "aws_secret_access_key": self.secret}

    def client(self, service: str) -> Any:
        """Return a boto3 client with the account's root credentials; cached and shared by all threads."""
        return _client(self.endpoint_url, service, self.region, root_key(self.number), self.secret)

    def environment(self) -> dict[str, str]:
        """Return the environment with which an AWS tool acts as the account's root user here and reaches no other endpoint."""
        return dict(self.surroundings) | {
            "AWS_ACCESS_KEY_ID": root_key(self.number),
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }


def numbers(count: int) -> tuple[str, ...]:
    """Return the ids of the first accounts.

    Raises:
        AccountError: If the number of accounts is not allowed.

    Example:
        >>> numbers(3)
        ('000000000000', '111111111111', '222222222222')
    """
    if not 1 <= count <= MOST:
        raise AccountError(f"an embedded cloud has 1 to {MOST} accounts, got {count}")
    return tuple(str(digit) * len(ACCOUNT) for digit in range(count))


def read(home: Path) -> tuple[str, ...]:
    """Return the ids of the accounts of the cloud in a folder."""
    try:
        return numbers(int((home / _COUNT).read_text()))
    except FileNotFoundError:
        return numbers(1)


def remember(home: Path, count: int | None, *, has_state: bool) -> tuple[str, ...]:
    """Store the number of accounts of a cloud, and return their ids.

    Args:
        home: The cloud's folder.
        count: Number of accounts. Default: unchanged.
        has_state: Whether the cloud has state; then accounts cannot be removed.

    Raises:
        AccountError: If the number of accounts is not allowed, or the state has more.
    """
    before = read(home)
    wanted = before if count is None else numbers(count)
    if has_state and len(wanted) < len(before):
        raise AccountError(
            f"the state of this embedded cloud has {len(before)} accounts, got {len(wanted)}; give at least {len(before)}, or "
            "delete the state with `mlops local down --forget`"
        )
    (home / _COUNT).write_text(f"{len(wanted)}\n")
    return wanted


def forget(home: Path) -> None:
    """Reset a cloud to one account."""
    (home / _COUNT).unlink(missing_ok=True)


def profile(number: str) -> str:
    """Return the name of an account's profile.

    Example:
        >>> profile("111111111111")
        'mlops-111111111111'
    """
    return f"mlops-{number}"


def profiles_path(home: Path) -> Path:
    """Return the AWS configuration file with a profile for each account's root user."""
    return home / _PROFILES


def write_profiles(home: Path, accounts: Sequence[CloudAccount]) -> None:
    """Write the profiles, readable by the folder's owner only."""
    # https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
    sections = [
        f"[profile {profile(account.number)}]\nregion = {account.region}\nendpoint_url = {account.endpoint_url}\n"
        f"aws_access_key_id = {root_key(account.number)}\naws_secret_access_key = {account.secret}\n"
        for account in accounts
    ]
    file = profiles_path(home)
    file.touch(mode=0o600)
    file.write_text("\n".join(sections))


def chosen(known: Sequence[str], number: str | None, region: str | None) -> tuple[str, str]:
    """Return the chosen account and Region; defaults are the first account and ``us-east-1``.

    Raises:
        AccountError: If the cloud does not have the account.
    """
    if number is not None and number not in known:
        raise AccountError(
            f"the embedded cloud has no account {number}; it has {', '.join(known)}: start it with `mlops local up --accounts N` "
            f"for more, at most {MOST}"
        )
    return number or ACCOUNT, region or REGION


@functools.cache
def _client(endpoint_url: str, service: str, region: str, key: str, secret: str) -> Any:
    """Create a client once: creation takes milliseconds, and a listing of an account calls thirty services."""
    return boto3.client(
        service, endpoint_url=endpoint_url, region_name=region, aws_access_key_id=key, aws_secret_access_key=secret
    )
