"""Sampling: what is read beside the requests."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from safeproxy.core.ruleset import RuleSet
from safeproxy.observers.metrics import Metrics
from safeproxy.shell.sampling import sampling


class Sampled(Metrics):
    """Tells when it has been read."""

    def __init__(self) -> None:
        super().__init__(RuleSet(()))
        self.read = asyncio.Event()

    def sample(self) -> None:
        """Note it."""
        super().sample()
        self.read.set()


@pytest.mark.parametrize("writable", [True, False])
async def test_it_reads_until_it_is_cancelled(writable: bool) -> None:
    """The lag of the loop, the state of the audit trail, what the process uses."""
    metrics = Sampled()
    task = asyncio.create_task(sampling(metrics, lambda: writable, interval=0))
    await metrics.read.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    value = metrics.registry.get_sample_value
    assert cast("float", value("safeproxy_event_loop_lag_seconds_count")) >= 1
    assert cast("float", value("safeproxy_event_loop_lag_seconds_sum")) >= 0
    assert value("safeproxy_audit_writable") == writable
