"""Rules: loaded before anything is served, and put in place of others while requests run."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import re
import time
from pathlib import Path

from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import ConfigError, SafeproxyError
from safeproxy.ledger.record import utc
from safeproxy.pipeline import Policy, filter_prompt
from safeproxy.rulesets import load, shipped
from safeproxy.shell.scrub import Scrubber
from safeproxy.shell.service import RulesFault, Service
from safeproxy.shell.settings import Settings
from safeproxy.wire.registry import dialect_for

#: Where an error about rules begins to say what is wrong: file, line and column.
_PLACE = re.compile(r"(?P<file>[^\n]+?)(?P<at>:\d+(?::\d+)?)(?=: )")


def load_rules(settings: Settings) -> RuleSet:
    """The rules that the settings name. Raises ConfigError, and RuleError for a rule that cannot be used."""
    rules = load(settings.rules) if settings.rules else shipped()
    if rules.needs_hash_key and settings.key is None:
        raise ConfigError(
            "setting 'hash_key' is missing: a rule has the action hash; give a secret of 16 bytes or more"
        )
    return rules


def warm_up(policy: Policy) -> None:
    """Compile what the first request would otherwise wait for."""
    policy.rules.warm_up()
    dialect = dialect_for("POST", "/v1/chat/completions")
    if dialect is not None and any(rule.request for rule in policy.rules.rules):
        filter_prompt(dialect, policy, b'{"messages": [{"role": "user", "content": "An ordinary question?"}]}')


def with_rules(service: Service, rules: RuleSet) -> Service:
    """The same service with other rules."""
    policy = dataclasses.replace(service.policy, rules=rules)
    return dataclasses.replace(
        service,
        policy=policy,
        scrub=Scrubber(policy),
        scans_prompts=any(rule.request for rule in rules.rules),
        waits=rules.waits,
        newer=None,
    )


async def reload(first: Service) -> None:
    """Load the rules anew: requests that come from then on are filtered by them, those that run keep theirs.

    ``first`` is the application's service. Where the rules cannot be used the old ones stay, and that is logged and
    shown. Models are loaded once in a process: new rules use them as they are.
    """
    try:
        newer = await asyncio.to_thread(_loaded, first.current)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with them, the rules in force stay
        told = str(error) if isinstance(error, SafeproxyError) else type(error).__name__
        first.life.rules_fault = RulesFault(utc(time.time()), place_in(told))
        first.say("rules", fault=told)
        return
    first.life.rules_fault = None
    if newer is None:
        return
    first.newer = newer
    rules = newer.policy.rules
    if first.metrics is not None:
        first.metrics.put_in_force(rules)
    first.log.info("rules", digest=rules.digest, count=len(rules.rules))
    _forget_old_rules()


def _loaded(service: Service) -> Service | None:
    """The service with the rules as they are now, warmed up; None if they are those in force. Raises RuleError."""
    rules = load_rules(service.settings)
    if rules.digest == service.policy.rules.digest:
        return None
    newer = with_rules(service, rules)
    warm_up(newer.policy)
    return newer


def _forget_old_rules() -> None:
    """Let go of the rules that nobody uses any more: what was frozen when serving began is never collected else."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def place_in(message: str) -> str | None:
    """File, line and column that an error about rules begins with, and nothing else of it: the file by its name."""
    found = _PLACE.match(message)
    return None if found is None else Path(found["file"]).name + found["at"]


def rules_state(service: Service) -> dict[str, object]:
    """What readiness says of the rules; ``error`` when they could not be loaded anew."""
    rules, fault = service.current.policy.rules, service.life.rules_fault
    told = {} if fault is None else {"error": dataclasses.asdict(fault)}
    return {"digest": rules.digest, "count": len(rules.rules), **told}
