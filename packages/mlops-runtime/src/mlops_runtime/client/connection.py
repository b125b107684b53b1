"""Adapter: the account or embedded cloud that a client talks to."""

from pathlib import Path
from typing import Self

import boto3

from mlops_runtime.cloud_connection import CloudConnection, EmbeddedCloudError, embedded_options


class UnitError(ValueError):
    """Something that is asked of a unit is not there or not possible; the message says what, and the fix."""


class Connection(CloudConnection):
    """Where a client's calls go."""

    __slots__ = ()

    @classmethod
    def open(cls, session: boto3.Session | None = None, home: str | Path | None = None) -> Self:
        """Choose where calls go.

        Args:
            session: Of an account.
            home: Folder of an embedded cloud. Default: as ``mlops`` finds one that runs, unless the environment names an account.

        Raises:
            UnitError: If both are given, or no embedded cloud runs there.
        """
        if session is not None and home is not None:
            raise UnitError("give session or home, not both: a session is for AWS, home for the embedded cloud")
        if session is not None:
            return cls(session=session)
        try:
            running = embedded_options(home)
        except EmbeddedCloudError as error:
            raise UnitError(str(error)) from error
        return cls(session=boto3.Session(), options=running or {})
