"""The benchmark: upstream, a naive relay, the proxy and the load, all on loopback, measured in one run."""
