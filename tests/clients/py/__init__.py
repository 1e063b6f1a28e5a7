"""The Python clients: scripts that run in environments of their own."""
