"""The reference model server: SageMaker's container contract over ONNX Runtime. It never unpickles."""
