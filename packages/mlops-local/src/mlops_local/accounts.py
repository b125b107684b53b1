"""The accounts of one embedded cloud: their numbers, their root users, and profiles of them for the tools of AWS."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3

from mlops_local.settings import ACCOUNT, REGION, root_key

MOST = 10
_COUNT = "accounts"  # the file in a cloud's home
_PROFILES = "aws-config"


class AccountError(ValueError):
    """An account that a cloud does not have, or a number of accounts that it cannot have; the message says what is allowed."""


@dataclass(frozen=True, slots=True)
class CloudAccount:
    """One account and Region of a running embedded cloud, as its root user sees it.

    Args:
        number: The account's number.
        region: The Region.
        endpoint_url: The address of every AWS service.
        secret: The secret access key of every account's root user.
        known: The numbers of all accounts of the cloud.
        surroundings: What a tool needs in its environment besides keys and Region.

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
            account: The account's number. Default: this one.
            region: The Region. Default: this one.

        Raises:
            AccountError: If the cloud does not have the account.
        """
        number, place = chosen(self.known, account or self.number, region or self.region)
        return replace(self, number=number, region=place)

    def root_keys(self) -> dict[str, Any]:
        """Return the credentials of the account's root user, as boto3 names them."""
        return {"aws_access_key_id": root_key(self.number), "aws_secret_access_key": self.secret}

    def client(self, service: str) -> Any:
        """Return the boto3 client of one service, with the account's root credentials; the same each time, for all threads.

        Args:
            service: boto3's name of the service.
        """
        return _client(self.endpoint_url, service, self.region, root_key(self.number), self.secret)

    def environment(self) -> dict[str, str]:
        """Return what a tool of AWS needs in its environment to be the account's root user here, and to call nothing else."""
        return dict(self.surroundings) | {
            "AWS_ACCESS_KEY_ID": root_key(self.number),
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }


def numbers(count: int) -> tuple[str, ...]:
    """Return the numbers of the first accounts.

    Raises:
        AccountError: If there cannot be that many.

    Example:
        >>> numbers(3)
        ('000000000000', '111111111111', '222222222222')
    """
    if not 1 <= count <= MOST:
        raise AccountError(f"an embedded cloud has 1 to {MOST} accounts, got {count}")
    return tuple(str(digit) * len(ACCOUNT) for digit in range(count))


def read(home: Path) -> tuple[str, ...]:
    """Return the numbers of the accounts that the cloud of a folder has."""
    try:
        return numbers(int((home / _COUNT).read_text()))
    except FileNotFoundError:
        return numbers(1)


def remember(home: Path, count: int | None, *, has_state: bool) -> tuple[str, ...]:
    """Write down how many accounts a cloud has from now on, and return their numbers.

    Args:
        home: The cloud's folder.
        count: How many. Default: as many as before.
        has_state: Whether there is a state, from which no account may be removed.

    Raises:
        AccountError: If there cannot be that many, or the state has more.
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
    """Let a cloud begin with one account again."""
    (home / _COUNT).unlink(missing_ok=True)


def profile(number: str) -> str:
    """Return the name of an account's profile.

    Example:
        >>> profile("111111111111")
        'mlops-111111111111'
    """
    return f"mlops-{number}"


def profiles_path(home: Path) -> Path:
    """Return the configuration file of AWS's tools that has a profile for each account's root user."""
    return home / _PROFILES


def write_profiles(home: Path, accounts: Sequence[CloudAccount]) -> None:
    """Write the profiles, which the folder's owner alone may read.

    See: https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
    """
    sections = [
        f"[profile {profile(account.number)}]\nregion = {account.region}\nendpoint_url = {account.endpoint_url}\n"
        f"aws_access_key_id = {root_key(account.number)}\naws_secret_access_key = {account.secret}\n"
        for account in accounts
    ]
    file = profiles_path(home)
    file.touch(mode=0o600)
    file.write_text("\n".join(sections))


def chosen(known: Sequence[str], number: str | None, region: str | None) -> tuple[str, str]:
    """Return account and Region of a choice; the first account and ``us-east-1`` where nothing is chosen.

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
    """Make a client once: it takes milliseconds, and a listing of an account calls thirty services."""
    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )
