"""Recorded answers of every API, and what must become of them."""
