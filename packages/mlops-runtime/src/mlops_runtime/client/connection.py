"""Connection of a client to an AWS account or embedded cloud."""

from pathlib import Path
from typing import Self

import boto3

from mlops_runtime.cloud_connection import CloudConnection, EmbeddedCloudError, embedded_options


class UnitError(ValueError):
    """A requested resource is missing or an operation is not possible; the message has the fix."""


class Connection(CloudConnection):
    """Connection of a client."""

    __slots__ = ()

    @classmethod
    def open(cls, session: boto3.Session | None = None, home: str | Path | None = None) -> Self:
        """Open a connection.

        Args:
            session: Session of an AWS account.
            home: Folder of an embedded cloud. Default: the running one that ``mlops`` finds, unless the environment selects an
                AWS account.

        Raises:
            UnitError: If both are given, or no embedded cloud is running in the folder.
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
