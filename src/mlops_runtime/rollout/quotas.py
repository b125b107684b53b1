"""Adapter of ``quota``: reads the account's quotas, for seconds at most, and says why where it cannot."""

from collections.abc import Collection
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.rollout.quota import Quotas, quota_name

# a function in a network without a way to Service Quotas must not wait for it: a plan does not depend on it
PATIENCE = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})


def read_quotas(client: Any, types: Collection[str]) -> Quotas:
    """Return the quotas of some instance types. One that Service Quotas does not list is not known.

    See: https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html

    Args:
        client: Of Service Quotas, made with ``PATIENCE``.
        types: Instance types.
    """
    wanted = {quota_name(kind): kind for kind in types}
    found: dict[str, float] = {}
    if not wanted:
        return Quotas()
    try:
        for page in client.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker"):
            for quota in page["Quotas"]:
                if quota.get("QuotaName") in wanted:
                    found[wanted[quota["QuotaName"]]] = float(quota["Value"])
            if len(found) == len(wanted):
                break
    except ClientError as error:
        return Quotas(instances=found, unread=error.response["Error"]["Code"])
    except BotoCoreError as error:
        return Quotas(instances=found, unread=type(error).__name__)
    return Quotas(instances=found)
