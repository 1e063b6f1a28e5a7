"""What the scripted upstream says; a request chooses by its model's name."""

from __future__ import annotations

import json
from dataclasses import dataclass

#: The same rules as in `tests.e2e.harness`, and one that looks at prompts.
RULES = r"""
- id: email
  title: E-mail address
  entity: EMAIL_ADDRESS
  category: personal
  pattern: '[a-z0-9]+@[a-z0-9]+\.com'
- id: forbidden
  title: A word that ends the answer
  entity: FORBIDDEN
  category: toxicity
  action: halt
  words: [forbidden]
- id: verboten
  title: A word that no prompt may hold
  entity: VERBOTEN
  category: toxicity
  action: halt
  words: [verboten]
  on: {request: true, response: false}
"""

#: Rules that find nothing in any of the scenarios.
IDLE_RULES = r"""
- id: idle
  title: A number that is never said
  entity: NUMBER
  category: other
  pattern: '[0-9]{12}'
"""

PLACEHOLDER = "[EMAIL_ADDRESS]"
#: Words of which no client may see anything: pieces of the address, and the halting word and what follows it.
SECRETS = ("ada@", "example", "ample", "forb", "idden", "never said")


@dataclass(frozen=True)
class Scenario:
    """One answer: text, reasoning and tool calls' arguments, each cut into the pieces that events carry."""

    text: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    calls: tuple[tuple[str, ...], ...] = ()
    logprobs: bool = False
    """Every piece of text comes with its log probability, as one token."""
    cited: str = ""
    """What is quoted of a source, for which the text is a proof."""
    ending: str = "stop"
    """``stop``; ``refused`` with status 400; ``error`` in mid-stream; ``cut`` off without a finish."""


CLEAN = ("Dear ", "reader", ", all is w", "ell, as sa", "id. \u2615", " Bye.")
REDACT = ("Mail ada@ex", "ample", ".com", " soon.")
#: What parsers stumble over: separators that some take for line ends, escapes, characters of two code points.
ODD = ("Line\u2028sep \u0085", 'quote " and \\back', "slash, \U0001f600 e\u0301", "\t\n\r end.")
HALT = ("It is ", "forb", "idden", " and never said.")
BEFORE_HALT = "It is "
REDACTED = f"Mail {PLACEHOLDER} soon."
CALLING = ("Let me ", "see.")


def _cut(value: object) -> tuple[str, ...]:
    text = json.dumps(value)
    return tuple(text[at : at + 7] for at in range(0, len(text), 7))


def _letter(to: str) -> tuple[str, ...]:
    return _cut({"to": to, "subject": "Hi", "copies": 2})


_ADDRESSES = {"clean": "nobody", "redact": "ada@example.com", "halt": "forbidden"}
_TEXTS = {"clean": CLEAN, "redact": REDACT, "halt": HALT}

SCENARIOS = {
    **{f"text-{what}": Scenario(pieces) for what, pieces in _TEXTS.items()},
    **{f"think-{what}": Scenario(CLEAN, reasoning=pieces) for what, pieces in _TEXTS.items()},
    **{f"tool-{what}": Scenario(CALLING, calls=(_letter(to),)) for what, to in _ADDRESSES.items()},
    "text-odd-clean": Scenario(ODD),
    "tool-odd-clean": Scenario(CALLING, calls=(_letter("".join(ODD)),)),
    **{f"prob-{what}": Scenario(pieces, logprobs=True) for what, pieces in _TEXTS.items()},
    "cite-clean": Scenario(CLEAN, cited="all is well, as said"),
    "cite-redact": Scenario(REDACT, cited="Mail ada@example.com soon"),
    "cite-halt": Scenario(HALT, cited="It is forbidden"),
    "tool-pair": Scenario(CALLING, calls=(_letter("nobody"), _letter("ada@example.com"))),
    "tool-pair-clean": Scenario(CALLING, calls=(_letter("nobody"), _letter("somebody"))),
    **{f"json-{what}": Scenario(_letter(to)) for what, to in _ADDRESSES.items()},
    "refused": Scenario(ending="refused"),
    "error": Scenario(("Some ", "text. "), ending="error"),
    "cut": Scenario(("Some ", "text. "), ending="cut"),
    # The upstream has nothing to refuse here: it is for the proxy to look at the prompt.
    "prompt": Scenario(CLEAN),
}
