"""Entry points of jobs: training, evaluation, training sets, ingests and monitors."""
