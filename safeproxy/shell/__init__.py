"""The proxy itself: the only part that knows sockets, clocks and settings."""
