"""The paths below /-/ through real sockets: on which port they are, and that no upstream hears of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from safeproxy.shell.service import SERVICE
from tests.e2e.harness import error_of, proxied, stream, text

OWN = ("/-/ready", "/-/metrics", "/-/nothing", "/%2D/ready", "//-/ready", "/x/../-/ready", "/-%2Fready")


async def test_with_a_port_of_their_own_they_are_gone_from_the_other(tmp_path: Path) -> None:
    """All but /-/health, in any spelling and with any method; neither port hands them on."""
    async with proxied(tmp_path, admin_port=0, pass_paths=("/**",)) as (upstream, proxy):
        admin = proxy.app[SERVICE].admin_url
        assert admin is not None
        for path in OWN:
            for method in ("GET", "POST"):
                async with proxy.session.request(method, proxy.at(path)) as response:
                    assert (response.status, error_of(await response.read())["code"]) == (404, "no_such_path"), path
        for url in (proxy.url, admin):
            async with proxy.session.get(url + "/-/health") as response:
                assert (response.status, await response.json()) == (200, {"status": "ok"})
        async with proxy.session.get(admin + "/-/ready") as response:
            assert (await response.json())["audit"] == {"writable": True}
        async with proxy.session.post(admin + "/v1/chat/completions", json={}) as response:
            assert response.status == 404
        assert upstream.asked == []
        assert proxy.records() == []


@pytest.mark.parametrize("path", ["/-/nothing", "/-/", "//-/ready", "/x/../-/ready", "/-%2Fready"])
async def test_no_own_path_is_handed_on(tmp_path: Path, path: str) -> None:
    """What the proxy does not have there is not there."""
    async with proxied(tmp_path, pass_paths=("/**",)) as (upstream, proxy):
        async with proxy.session.get(proxy.at(path)) as response:
            assert response.status == 404
        assert upstream.asked == []
        upstream.says(*stream("Fine."))
        assert text((await proxy.post())[2]) == "Fine."
