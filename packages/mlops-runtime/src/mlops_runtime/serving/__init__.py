"""The model server: SageMaker's container contract and the Open Inference Protocol.

It loads pickles only where ``MLOPS_TRUST`` allows them.
"""
