"""Training of the shipped models, from a data folder."""
