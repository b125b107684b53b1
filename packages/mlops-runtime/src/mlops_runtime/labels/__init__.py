"""Labels of predictions: convert rows with ids to the ground truth records that monitors read."""
