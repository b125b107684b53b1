"""OpenSSF's stock model_signing in an environment of its own: it accepts our signature, and no changed byte of the archive."""

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.signing import SigningKms

from mlops_runtime.rollout.archive_signatures import archive_signature, signed_message

SCRIPT = Path(__file__).with_name("model_signing_calls.py")


def _python() -> str:
    """Return the interpreter of model_signing's environment."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("there is no uv to find the environment of model_signing with")
    command = [uv, "python", "find", "--offline", "--script", str(SCRIPT)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    python = found.stdout.strip()
    if found.returncode == 0 and python:
        done = subprocess.run([python, "-c", "import model_signing.verifying"], capture_output=True, check=False)
        if done.returncode == 0:
            return python
    pytest.skip(f"model_signing is not installed; run: uv sync --script tests/local/foreign/{SCRIPT.name}")


def test_the_stock_verifier_accepts_the_signature_and_no_changed_byte(tmp_path: Path) -> None:
    """The archive has another file name, as after a download."""
    kms, content = SigningKms(), b"an archive " * 40
    digest = hashlib.sha256(content).hexdigest()
    given = {name: tmp_path / name for name in ("archive", "signature", "key")}
    given["archive"].write_bytes(content)
    signature = base64.b64decode(kms.sealer.sign(signed_message(digest)))
    given["signature"].write_bytes(archive_signature(digest, signature, kms.public))
    given["key"].write_text(kms.public.pem)

    argument = json.dumps({name: str(path) for name, path in given.items()})
    result = subprocess.run([_python(), str(SCRIPT), argument], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["command"] == [0, "Verification succeeded"]
    assert found["archive"] == []
    whole = given["signature"].read_bytes()
    # the last base64 character may have unused bits
    assert [place for place in found["signature"] if _meaning(_changed(whole, place)) != _meaning(whole)] == []


def _changed(whole: bytes, place: int) -> bytes:
    """Change a byte like ``model_signing_calls.py``."""
    return whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]


def _meaning(signature: bytes) -> object:
    bundle = json.loads(signature)
    envelope = bundle["dsseEnvelope"]
    texts = (envelope.pop("payload"), envelope["signatures"][0].pop("sig"))
    return bundle, [base64.b64decode(text) for text in texts]
