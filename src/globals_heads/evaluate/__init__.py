"""Evaluate: model.pt and packed events become the facts of the test split."""
