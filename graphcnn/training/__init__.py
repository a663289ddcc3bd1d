"""Training: losses, metrics, optimisers, the model, callbacks and the history of a run."""
