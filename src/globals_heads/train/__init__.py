"""Packed events and a cfg.yaml in, model.pt and facts out."""
