"""The settings that have parts of their own: upstreams and limits."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from safeproxy.shell.paths import Origin

#: Names that stand in records and metric labels.
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"

Name = Annotated[str, Field(pattern=NAME)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


def upstream_address(value: str) -> str:
    """``value`` if it is an address that request paths can be appended to. Raises ConfigError."""
    Origin.parse(value)
    return value


def _parts(value: object) -> object:
    """One word where a list may stand."""
    return (value,) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_parts)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UpstreamSettings(_Section):
    """One LLM API: which requests go there, with which keys."""

    name: Name = Field(description="What records and metrics call it.")
    url: Annotated[str, AfterValidator(upstream_address)] = Field(description="Its address, as for `upstream`.")
    models: Words = Field(
        default=(), description="Models that it serves, such as gpt-* (* stands for anything); none for all."
    )
    path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9_.~-]+)*$")] = Field(
        default="", description="Beginning of the request paths that go there, such as /groq; it is not sent on."
    )
    dialect: str | None = Field(
        default=None, description="The API that it speaks on paths that tell nothing, by name, such as openai-chat."
    )
    keys_file: Path | None = Field(
        default=None,
        description="File with the keys to use instead of the client's credentials, one a line; read again when it "
        "changes.",
    )
    keys_env: str | None = Field(
        default=None, description="Variable of the environment with the keys, separated by commas."
    )
    key_choice: Literal["round_robin", "least_used"] = Field(
        default="round_robin", description="Which of several keys is taken: each in turn, or the one in least use."
    )
    key_header: str | None = Field(
        default=None,
        description="Header that carries the key, such as api-key; default: where that API's clients put theirs.",
    )
    credentials: Literal["pass", "remove"] = Field(
        default="pass",
        description="What becomes of the client's own credentials where there are no keys: sent on, or removed.",
    )
    failover: tuple[Name, ...] = Field(
        default=(), description="Upstreams to ask, in this order, when this one fails before its first byte."
    )
    connect_timeout: Seconds | None = Field(default=None, description="In place of the setting of that name.")
    first_byte_timeout: Seconds | None = Field(default=None, description="In place of the setting of that name.")
    idle_timeout: Seconds | None = Field(default=None, description="In place of the setting of that name.")
    total_timeout: Seconds | None = Field(default=None, description="In place of the setting of that name.")
    ca_file: Path | None = Field(default=None, description="In place of the setting `upstream_ca`.")


class LimitSettings(_Section):
    """How much one client, one tenant, one address, or all of them together, may ask for."""

    per: Literal["key", "tenant", "address", "all"] = Field(description="Whose requests are counted together.")
    only: Words = Field(
        default=(), description="Names of keys or tenants, or addresses, that it is for; none for each of them."
    )
    requests: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Requests a minute.")
    tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Tokens a minute, prompts and answers, as the upstream counts them."
    )
    streams: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Requests at the same time.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.requests is self.tokens is self.streams is None:
            raise ValueError("limits nothing; give requests, tokens or streams")
        if self.per == "all" and self.only:
            raise ValueError("per all counts everybody, so leave out 'only', or count per key, tenant or address")
        for one in self.only if self.per == "address" else ():
            try:
                ipaddress.ip_network(one)
            except ValueError:
                raise ValueError(
                    f"only {one!r} is no address or network; write 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32"
                ) from None
        return self
