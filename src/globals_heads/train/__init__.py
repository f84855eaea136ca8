"""Train: packed events and a cfg.yaml become model.pt and the facts of each epoch."""
