"""Documents that two or more parts of the platform exchange. Versioned ``/1``: later versions only add optional fields."""

from mlops_runtime.contracts._codec import (
    ContractError,
    canonical_json,
    content_hash,
    from_dict,
    from_json,
    json_schema,
    to_dict,
)

__all__ = ["ContractError", "canonical_json", "content_hash", "from_dict", "from_json", "json_schema", "to_dict"]
