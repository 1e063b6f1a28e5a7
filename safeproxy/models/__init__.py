"""Loads the models that come with the package, or a deployment's own."""
