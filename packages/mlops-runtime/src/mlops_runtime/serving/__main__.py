"""``python -m mlops_runtime.serving serve``: one process, one model, SageMaker's environment variables; ``fetch``: its files.

Each verb is imported when it is asked for: a fetch has no use for ONNX Runtime, a server without capture none for boto3.
"""

import logging
import signal
import sys

_USAGE = "python -m mlops_runtime.serving serve, or fetch <s3://bucket/key> <sha256> <folder>"


def main(arguments: list[str]) -> int:
    """Run a verb. Returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="mlops serving: %(message)s", stream=sys.stderr)
    logging.getLogger("mlops").setLevel(logging.INFO)
    # a container's first process ignores SIGTERM unless it asks for it; what is half done is cleaned up on the way out
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
