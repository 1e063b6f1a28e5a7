"""Real client SDKs against the proxy, with a scripted upstream behind it."""
