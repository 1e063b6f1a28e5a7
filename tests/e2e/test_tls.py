"""Listening with TLS: a real client, in a real process."""

from __future__ import annotations

import ssl
from pathlib import Path

import aiohttp
import openai
import pytest
import trustme

from safeproxy.errors import ConfigError
from safeproxy.shell.app import create_app
from safeproxy.shell.serve import running
from safeproxy.shell.service import SERVICE
from safeproxy.shell.settings import Settings
from tests.e2e.harness import RULES, proxied, stream
from tests.shell.test_tls import trusting, write


async def test_a_real_client_over_tls(tmp_path: Path) -> None:
    """The address is https, the SDK verifies the certificate, the answer is filtered; the admin port has TLS too."""
    authority = trustme.CA()
    certificate, key = write(tmp_path, authority, "127.0.0.1")
    async with proxied(tmp_path, tls_certificate=certificate, tls_key=key, admin_port=0) as (upstream, proxy):
        assert proxy.url.startswith("https://127.0.0.1:")
        trust = trusting(authority)
        upstream.says(*stream("Mail ada@ex", "ample", ".com", " soon."))
        http = openai.DefaultAsyncHttpxClient(verify=trust)
        async with openai.AsyncOpenAI(
            base_url=f"{proxy.url}/v1", api_key="sk-test", max_retries=0, http_client=http
        ) as sdk:
            answer = await sdk.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
            )
            assert "".join([c.choices[0].delta.content or "" async for c in answer]) == "Mail [EMAIL_ADDRESS] soon."
        admin = proxy.app[SERVICE].admin_url
        assert admin is not None
        assert admin.startswith("https://")
        async with proxy.session.get(admin + "/-/ready", ssl=trust) as response:
            assert (await response.json())["rules"]["count"] == 3


async def test_plain_text_and_old_versions_get_nothing(tmp_path: Path) -> None:
    """Neither a client without TLS nor one with TLS 1.1 is served; the next one is."""
    authority = trustme.CA()
    certificate, key = write(tmp_path, authority, "127.0.0.1")
    async with proxied(tmp_path, tls_certificate=certificate, tls_key=key) as (upstream, proxy):
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await proxy.session.get(proxy.url.replace("https", "http") + "/-/health")
        old = trusting(authority)
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(aiohttp.ClientConnectorError):
            await proxy.session.get(proxy.url + "/-/health", ssl=old)
        async with proxy.session.get(proxy.url + "/-/health", ssl=trusting(authority)) as response:
            assert response.status == 200
        assert upstream.asked == []


async def test_a_certificate_that_cannot_be_used_is_an_error_before_anything_listens(tmp_path: Path) -> None:
    """The message names setting and file."""
    file = tmp_path / "rules.yaml"
    file.write_text(RULES, encoding="utf-8")
    certificate, key = write(tmp_path, trustme.CA())
    key.unlink()
    settings = {"rules": (file,), "audit": tmp_path / "audit", "tls_certificate": certificate, "tls_key": key}
    app = create_app(Settings(upstream="http://127.0.0.1:9", **settings))
    with pytest.raises(ConfigError, match=r"'tls_key'.*tls\.key"):
        async with running(app, "127.0.0.1", 0):
            pass
