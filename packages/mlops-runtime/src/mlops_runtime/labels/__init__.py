"""Labels of predictions, from rows with ids to the ground truth records that monitors read."""
