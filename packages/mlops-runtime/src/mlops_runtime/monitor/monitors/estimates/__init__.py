"""Performance before labels come: what is learnt of the labelled holdout, what is expected of a window, how right it was."""
