"""Scripts which train the models that are shipped; nothing at run time imports this package."""
