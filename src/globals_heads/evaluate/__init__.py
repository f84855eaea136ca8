"""model.pt and packed events in, facts of the test split out; and the baselines."""
