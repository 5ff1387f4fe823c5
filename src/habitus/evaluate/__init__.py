"""What a model does, measured: Inspect tasks, their judges, their statistics."""
