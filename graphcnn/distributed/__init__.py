"""Training on several processes, ranks, which share the samples of every batch: see docs/distributed.md."""
