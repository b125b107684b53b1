"""The front door for predictions: the promise that an API makes to its callers, and its description for them."""
