"""Errors that name the guilty side and carry a hint for the HTTP status to answer with."""

from __future__ import annotations


class SafeproxyError(Exception):
    """Base of every error safeproxy raises on purpose; its text never holds matched text."""

    status_hint = 500


class ConfigError(SafeproxyError):
    """The operator's settings or rule files are wrong; the message says where and how to mend it."""


class RuleError(ConfigError):
    """A rule cannot be used; ``str(error)`` names the culprit and the remedy."""


class ClientError(SafeproxyError):
    """The client sent something that cannot be served."""

    status_hint = 400


class UpstreamError(SafeproxyError):
    """The upstream sent something that cannot be read, or nothing at all; ``fault`` is a short code for it."""

    status_hint = 502
    fault = "malformed_stream"


class EventTooLargeError(UpstreamError):
    """A single event of the upstream is longer than is allowed."""

    fault = "event_too_large"


class DetectorError(SafeproxyError):
    """A detector broke or was late; the stream fails closed unless set otherwise."""

    status_hint = 502
