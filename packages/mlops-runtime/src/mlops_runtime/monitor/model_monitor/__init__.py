"""Read and write the files of SageMaker Model Monitor."""
