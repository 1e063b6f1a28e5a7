"""Texts full of what Presidio's recognizers look for: samples, near misses, context words, stop words, odd spaces."""

from __future__ import annotations

import random
from collections.abc import Sequence

from safeproxy.presidio.compare import local_references
from safeproxy.presidio.recognizers import find


def listed(text: str) -> list[str]:
    """The entries between bars."""
    return text.split("|")


#: Made up, or published as examples.
SAMPLES = listed(
    "4111 1111 1111 1111|4111-1111-1111-1112|5555555555554444|378282246310005|123-45-6789|078-05-1120|900-70-0001|"
    "987654321|12345678|A1234567|021000021|1EG4-TE5-MK73|1234567893|john.doe@example.com|foo@bar.co.uk|"
    "http://www.example.com/a?b=c|https://x.community/path|example.org|www2.test.dev|'x.com'|192.168.1.1|10.0.0.1/24|"
    "::1|2001:db8::ff00:42:8329|fe80::1%eth0|00:1A:2B:3C:4D:5E|00-1A-2B-3C-4D-5E|001A.2B3C.4D5E|"
    "550e8400-e29b-41d4-a716-446655440000|DE89370400440532013000|GB29 NWBK 6016 1331 9268 19|de89370400440532013000|"
    "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2|bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq|2021-03-24T10:45:00Z|24/03/2021|"
    "3/24/21|24-MAR-2021|March 2021|2021.03.24|(212) 555-5555|+1 212-555-5555|+44 20 7946 0958|020 7946 0958|"
    "2125555555|+27 82 123 4567|082 123 4567|021 123 4567|212 555 5555 ext. 12|2012-01-02 08:00|"
    "651-234-2345/332-445-1234|12 34 56 78 90 12|943 476 5919|AB123456C|SW1A 1AA|MORGA753116SM9IJ|AB12 CDE|S1234567D|"
    "53123456X|51824753556|2123 45670 1|123456782|ABCDE1234F|BNZAA2318J|2345 6789 0124|KA01AB1234|MH 12 AB 1234|"
    "J8369854|27AAPFU0939F1ZV|046 454 286|K1A 0B1|CLM-123456|claim number: 1234567|claim 123456789|Rx# 1234567|"
    "prescription no. RX-123456|referral: REF-123456|prior authorization id 1234567|provider tax id: 12-3456789|"
    "provider ein 12-3456789|ABC123456789|XYZ-12345-A|BB1388568|123-456-789-000|P1234567A|0111-1234567-8|"
    "8001015009087|2005/123456/07|4123456789|CA 123-456|ABC 123 GP|12345678901|ABC-123AA|T1234567890|9876543210987|"
    "123456|A-12345678|00000000|1.2.3.4.5|12:30|is:3|the:1|55 5|(|)|x|ext|#"
)
#: The same for other languages, by language.
OTHERS = {
    "de": "12345678903|DE123456789|T22000129|L01X00T47|A123456780|65 180547 W 032|12/345/67890|HRB 12345|HRA   999 B|"
    "B-MW 1234|M-AB 12E|72123|12345|A123456789|B072RRE2I55",
    "es": "12345678Z|X1234567L|Z1234567R|AAA123456",
    "fi": "131052-308T|131052A308T",
    "it": "RSSMRA80A01H501U|AA1234567B|U1B1234567C|AA12345BB|CA00000AA|AA1234567|02070803628",
    "ko": "901225-1234567|123-45-67890|M12345678|M123A4567|11-12-123456-78",
    "pl": "44051401359|90122512345",
    "sv": "811228-9874|19811228-9874|556036-0793",
    "th": "1101700230708|1101700230709",
    "tr": "10000000146|34 ABC 1234|34ABC12",
}
STOP_WORDS = listed("the|is|of|a|my|to|and|it's|don't|be")
WORDS = listed("Hello|world|please|pay|note|order|café|日本語|data-base|x=1|U.S.|e.g.|ok")
SEPARATORS = (*[" "] * 14, *listed("\n|  |,|. |: |; |\t| - |/||\"|\n\n|=|(|)|'|,|\u00a0"))
_ARABIC = {48 + digit: 0x660 + digit for digit in range(10)}


def context_words(language: str) -> list[str]:
    """The context words of all recognizers of a language."""
    found = {word for name in local_references(language) for made in find(name) for word in made.context or ()}
    return sorted(found)


def text(chance: random.Random, language: str, context: Sequence[str], most: int = 40) -> str:
    """A text of up to ``most`` parts."""
    samples = OTHERS[language].split("|") if language in OTHERS else SAMPLES
    parts = (_part(chance, samples, context) + chance.choice(SEPARATORS) for _ in range(chance.randint(1, most)))
    return "".join(parts)


def _part(chance: random.Random, samples: Sequence[str], context: Sequence[str]) -> str:
    kind = chance.random()
    if kind < 0.45:
        return _changed(chance, chance.choice(samples))
    if kind < 0.65:
        return chance.choice(context)
    if kind < 0.8:
        return chance.choice(STOP_WORDS)
    if kind < 0.83:
        return chance.choice((" " * 300, "q" * 300, "  ", str(chance.randrange(10 ** chance.randint(1, 17)))))
    return chance.choice(WORDS)


def _changed(chance: random.Random, sample: str) -> str:
    """The sample, or something like it."""
    place = chance.randrange(len(sample))
    return chance.choice(
        (
            *[sample] * 8,
            sample[:place] + chance.choice("0123456789aZ- .x/") + sample[place + 1 :],
            sample[:place] + sample[place + 1 :],
            sample.lower(),
            sample.upper(),
            sample + chance.choice("0aZ.-"),
            chance.choice("a1") + sample,
            sample.translate(_ARABIC),
            sample.replace(" ", "\u00a0"),
        )
    )
