"""The real server process behind a client that imitates SageMaker: the target of the golden check here."""

import http.client
import io
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from tests.campaign.candidates import images

SERVER = ("-m", "mlops_runtime.serving", "serve")
HEALTHY = 60.0  # seconds until /ping must answer
CALL = 60.0  # SageMaker's limit for a container's response


class NotHealthyError(Exception):
    """A container did not pass the ping health check."""


class Server:
    """A container: its unpacked archive and its running process. A process that ends is restarted, as by SageMaker.

    Args:
        archive: ``model.tar.gz``.
        model_sha256: SHA-256 of ``model.onnx`` according to the package.
        image: Fault and amount of a faulty image. Default: the unit's own.
    """

    def __init__(self, archive: bytes, model_sha256: str, image: tuple[str, str] | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="candidate-")
        self._archive, self._sha256 = archive, model_sha256
        self._command = SERVER if image is None else (images.__file__, *image, "serve")
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        """Start the process and wait until it is healthy.

        Raises:
            NotHealthyError: If it is not healthy in time, or ends.
        """
        root = Path(self._folder.name)
        try:
            with tarfile.open(fileobj=io.BytesIO(self._archive), mode="r:gz") as tar:
                tar.extractall(root / "model", filter="data")
        except (OSError, EOFError, tarfile.TarError) as error:
            raise NotHealthyError(f"failed to extract model data archive: {error}") from error
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = int(listener.getsockname()[1])
        environment = {
            **os.environ,
            "MLOPS_OPT_ML": str(root),
            "MLOPS_BIND_HOST": "127.0.0.1",
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
            "MLOPS_MODEL_SHA256": self._sha256,
        }
        self._process = subprocess.Popen(
            [sys.executable, *self._command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + HEALTHY
        while not self._ping():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NotHealthyError("the container did not pass the ping health check")
            time.sleep(0.05)

    def revive(self) -> None:
        """Restart the process if it has ended."""
        if self._process is not None and self._process.poll() is not None:
            self.start()

    def stop(self) -> None:
        """End the process and delete its files."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()

    def send(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes, str]:
        """Send an invocation.

        Raises:
            OSError: If the container does not respond.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=CALL)
        try:
            connection.request("POST", "/invocations", body=body, headers=dict(headers))
            response = connection.getresponse()
            return response.status, response.read(), response.headers.get("content-type", "application/octet-stream")
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def _ping(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Platform:
    """S3 and InvokeEndpoint over real servers, with boto3's responses.

    A container that has ended returns 503 until its restart; the client retries, as the golden function's does.

    Args:
        golden: The golden set.
        endpoints: The servers, by the name of their endpoint.
    """

    def __init__(self, golden: bytes, **endpoints: Server) -> None:
        self._golden, self.endpoints = golden, endpoints

    def get_object(self, **_: str) -> dict[str, Any]:
        """Return the golden set."""
        return {"Body": BytesIO(self._golden)}

    def put_object(self, **_: object) -> None:
        """Take the announcement of calls."""

    def invoke_endpoint(
        self,
        *,
        EndpointName: str,  # noqa: N803 - boto3's names
        Body: bytes,  # noqa: N803
        ContentType: str,  # noqa: N803
        InferenceId: str,  # noqa: N803, ARG002
    ) -> dict[str, Any]:
        """Return the container's response.

        Raises:
            ClientError: ``ModelError`` for another status than 2xx, with status 0 without a response.
        """
        server = self.endpoints[EndpointName]
        try:
            status, body, kind = server.send(Body, {"content-type": ContentType})
        except TimeoutError:
            status, body, kind = 0, b"timed out", "text/plain"
        except OSError:
            # SageMaker's message: github.com/aws/amazon-sagemaker-examples/issues/3089
            self._revive(server)
            status, body, kind = 0, b"could not get a response", "text/plain"
        if not 200 <= status < 300:
            error = {"Error": {"Code": "ModelError", "Message": ""}, "OriginalStatusCode": status}
            raise ClientError({**error, "OriginalMessage": body.decode(errors="replace")[:500]}, "InvokeEndpoint")
        return {"Body": BytesIO(body), "ContentType": kind, "ResponseMetadata": {"RetryAttempts": 0}}

    def _revive(self, server: Server) -> None:
        try:
            server.revive()
        except NotHealthyError:
            time.sleep(0.2)
