"""``python -m mlops_runtime.serving``: ``serve`` runs one model in one process with SageMaker's settings; ``fetch`` gets its files.

Each command imports only what it needs: ``fetch`` no ONNX Runtime, a server without capture no boto3.
"""

import logging
import signal
import sys

_USAGE = "python -m mlops_runtime.serving serve, or fetch <s3://bucket/key> <sha256> <folder>"


def main(arguments: list[str]) -> int:
    """Run a command and return the exit code."""
    logging.basicConfig(level=logging.WARNING, format="mlops serving: %(message)s", stream=sys.stderr)
    logging.getLogger("mlops").setLevel(logging.INFO)
    # PID 1 of a container ignores SIGTERM without a handler; SystemExit runs the cleanup of unfinished work
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0 if arguments == ["serve"] else 143))
    if arguments[:1] == ["fetch"]:
        from mlops_runtime.serving.model_fetch import main as run  # noqa: PLC0415 - see above

        return run(arguments[1:])
    if arguments == ["serve"]:
        from mlops_runtime.serving.server import serve  # noqa: PLC0415 - see above

        return serve()
    logging.getLogger("mlops.serving").error("usage: %s, got %s", _USAGE, arguments)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
