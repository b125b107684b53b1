"""Every shape that two parts share. Versioned ``/1``: a later version only adds optional fields."""

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
