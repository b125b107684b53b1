"""The faults that an embedded cloud puts into the tasks of its machines."""

import json
import urllib.request
from typing import Any

from mlops_local.cloud import Cloud


def put_faults(cloud: Cloud, *faults: dict[str, Any]) -> list[dict[str, Any]]:
    """Put faults in place of those before, and return what those have met."""
    url = f"{cloud.endpoint_url}/_mlops/faults"  # http on 127.0.0.1
    with urllib.request.urlopen(url) as answer:  # noqa: S310
        met = json.load(answer)
    urllib.request.urlopen(url, data=json.dumps(faults).encode()).close()  # noqa: S310
    return list(met)
