"""Who says which model serves."""

from enum import StrEnum


class Ownership(StrEnum):
    """Who makes and changes models, configs and the endpoint.

    With ``PIPELINE`` the Deploy machine does, at each approval, and the stack only says how the endpoint is served. With
    ``CLOUDFORMATION`` the stack does, and names the model package: a new model is a deployment of the stack.
    """

    PIPELINE = "PIPELINE"
    CLOUDFORMATION = "CLOUDFORMATION"
