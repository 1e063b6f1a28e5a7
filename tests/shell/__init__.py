"""Tests of the proxy without sockets."""
