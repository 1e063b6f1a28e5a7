"""Errors name the guilty side and hint at a status."""

from __future__ import annotations

import pytest

from safeproxy.errors import ClientError, ConfigError, DetectorError, RuleError, SafeproxyError, UpstreamError


@pytest.mark.parametrize(
    ("error", "status"),
    [(ConfigError, 500), (RuleError, 500), (ClientError, 400), (UpstreamError, 502), (DetectorError, 502)],
)
def test_each_side_has_its_status(error: type[SafeproxyError], status: int) -> None:
    """The client's fault is 400, the upstream's and the filter's 502, the operator's 500."""
    assert issubclass(error, SafeproxyError)
    assert error("why").status_hint == status
    assert str(error("why")) == "why"


def test_a_broken_rule_is_a_wrong_configuration() -> None:
    """Who catches the one catches the other."""
    assert issubclass(RuleError, ConfigError)
