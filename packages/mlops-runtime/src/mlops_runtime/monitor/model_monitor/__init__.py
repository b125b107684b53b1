"""SageMaker Model Monitor's files, read and written."""
