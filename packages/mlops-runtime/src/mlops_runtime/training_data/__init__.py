"""Make a training set from a file: roles of its columns, naive baselines, publishing."""
