"""The ``mlops`` command."""
