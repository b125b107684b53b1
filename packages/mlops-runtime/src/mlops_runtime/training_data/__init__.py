"""From a file to a training set: what a table holds, naive predictions, publishing."""
