"""Checks on a finished span that a pattern cannot make: checksums, number plans, plausibility.

Each takes the span's text as it was matched, separators included, and says whether it may be a finding.
They are pure functions of the text and never raise on text.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Protocol, cast

import phonenumbers
import regex
from stdnum import bitcoin as stdnum_bitcoin
from stdnum import iban as stdnum_iban
from stdnum import luhn as stdnum_luhn
from stdnum.au import abn, tfn
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar, pan
from stdnum.it import codicefiscale
from stdnum.us import itin, ssn

Validator = Callable[[str], bool]

#: Least Shannon entropy, in bits a character, of what counts as a random secret.
SECRET_ENTROPY = 3.0


class _NumberModule(Protocol):
    """What the modules of python-stdnum have in common."""

    def is_valid(self, number: str) -> bool: ...


def _digits(text: str) -> str:
    """The decimal digits of ``text`` in ASCII, whatever script and separators it uses."""
    return "".join(str(int(char)) for char in text if char.isdecimal())


def _alphanumerics(text: str) -> str:
    return "".join(char for char in text if char.isalnum()).upper()


def _by(module: object, clean: Callable[[str], str]) -> Validator:
    """A validator that hands the cleaned text to a module of python-stdnum."""
    check = cast("_NumberModule", module).is_valid

    def validator(text: str) -> bool:
        return bool(check(clean(text)))

    return validator


def luhn(text: str) -> bool:
    """Luhn checksum (ISO/IEC 7812-1 annex B) over the digits; a run of one digit is no number."""
    digits = _digits(text)
    return len(set(digits)) > 1 and bool(stdnum_luhn.is_valid(digits))


#: Issuer prefixes and lengths of payment cards (ISO/IEC 7812 issuer ranges as the networks publish them).
_CARD = regex.compile(
    r"4\d{12}(?:\d{3}){0,2}"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12}(?:\d{3})?"  # Discover
    r"|3(?:0[0-5]|[689]\d)\d{11}(?:\d{2})?"  # Diners Club
    r"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
    r"|62\d{14,17}"  # UnionPay
    r"|(?:50|5[6-9]|6\d)\d{10,17}"  # Maestro
)


def credit_card(text: str) -> bool:
    """A payment card number: issuer prefix, length and Luhn checksum."""
    digits = _digits(text)
    return _CARD.fullmatch(digits) is not None and luhn(digits)


def imei(text: str) -> bool:
    """The identity of a mobile phone: 14 digits and a Luhn check digit (3GPP TS 23.003, annex B)."""
    return len(_digits(text)) == 15 and luhn(text)


def iban(text: str) -> bool:
    """An IBAN: the country's length and form, and the check digits modulo 97 (ISO 13616), whatever the bank code."""
    return bool(stdnum_iban.is_valid(_alphanumerics(text), check_country=False))


def phone_international(text: str) -> bool:
    """A possible and valid number of the world's number plans, written with its country code."""
    try:
        number = phonenumbers.parse(text.strip(), None)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number)


def de_personalausweis(text: str) -> bool:
    """German identity card number: nine characters and a check digit weighted 7, 3, 1 (ICAO Doc 9303 part 3)."""
    number = _alphanumerics(text)
    if len(number) != 10 or not number[9].isdecimal():
        return False
    total = sum(int(char, 36) * (7, 3, 1)[place % 3] for place, char in enumerate(number[:9]) if char.isascii())
    return total % 10 == int(number[9])


def es_dni(text: str) -> bool:
    """Spanish DNI or NIE with its check letter."""
    number = _alphanumerics(text)
    return bool(dni.is_valid(number) or nie.is_valid(number))


def au_medicare(text: str) -> bool:
    """Australian Medicare card: eight digits weighted 1 3 7 9 1 3 7 9, a check digit, an issue number."""
    digits = _digits(text)
    if len(digits) not in (10, 11) or digits[0] not in "23456":
        return False
    total = sum(int(digit) * weight for digit, weight in zip(digits, (1, 3, 7, 9, 1, 3, 7, 9), strict=False))
    return total % 10 == int(digits[8])


#: Prefixes that were never issued, as HMRC lists them (National Insurance Manual NIM39110).
_NINO = regex.compile(r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{6}[A-D]?")


def uk_nino(text: str) -> bool:
    """British National Insurance number: a prefix that is in use, six digits, a suffix A to D."""
    return _NINO.fullmatch(_alphanumerics(text)) is not None


_ETH = regex.compile(r"0x[0-9A-Fa-f]{40}")


def eth_address(text: str) -> bool:
    """An Ethereum address by its shape (its mixed-case checksum is optional); not the zero address."""
    return _ETH.fullmatch(text) is not None and int(text, 16) != 0


def ipv4(text: str) -> bool:
    """An IPv4 address in dotted decimal."""
    try:
        return bool(ipaddress.IPv4Address(text))
    except ValueError:
        return False


def ipv6(text: str) -> bool:
    """An IPv6 address other than the unspecified and the loopback one."""
    try:
        address = ipaddress.IPv6Address(text.partition("%")[0])
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_loopback)


def jwt(text: str) -> bool:
    """A JSON Web Token (RFC 7519): its header decodes to a JSON object that names an algorithm."""
    header = text.partition(".")[0]
    try:
        decoded = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return False
    return isinstance(decoded, dict) and "alg" in decoded


def entropy(text: str) -> bool:
    """Letters and digits mixed, with the spread of a random secret rather than of words."""
    if not (any(char.isdecimal() for char in text) and any(char.isalpha() for char in text)):
        return False
    counts = Counter(text).values()
    bits = -sum(count / len(text) * math.log2(count / len(text)) for count in counts)
    return bits >= SECRET_ENTROPY


_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_LONGEST_DATE_PART = len("september")
_DATE_PARTS = regex.compile(r"\d+|[^\W\d_]+")


def plausible_date(text: str) -> bool:
    """A date that the calendar has, day, month and year in any usual order, from 1900 on."""
    parts: list[int] = []
    month = 0
    for part in _DATE_PARTS.findall(text):
        if len(part) > _LONGEST_DATE_PART:
            return False
        if part.isdecimal():
            parts.append(int(part))
        elif part[:3].casefold() in _MONTHS:
            month = _MONTHS[part[:3].casefold()]
    if month:
        orders = [(parts[-1], month, parts[0])] if len(parts) == 2 else []
    elif len(parts) == 3:
        a, b, c = parts
        orders = [(c, b, a), (c, a, b), (a, b, c)]
    else:
        return False
    return any(_in_calendar(*order) for order in orders)


def _in_calendar(year: int, month: int, day: int) -> bool:
    if year < 100:
        year += 1900
    try:
        date(year, month, day)
    except (ValueError, OverflowError):
        return False
    return 1900 <= year <= 2100


_EXAMPLE = regex.compile(
    r"""["'`]?(?:
        (.)\1*                                            # one character repeated
      | [<{\[(%$].*                                        # <your-password>, {password}, $PASSWORD
      | (?:your|my|the|an?|some)[\s_-].*
      | .*(?:example|placeholder|changeme|change_me|redacted|dummy|sample|not[_-]?set).*
      | (?:password|passwd|passwort|contrase(?:ñ|n)a|secret|token|none|null|true|false|undefined|required|optional
          |string|str|test|todo|tbd|n/a|os\.environ.*|process\.env.*|getenv.*)
    )["'`]?""",
    regex.X | regex.I | regex.S,
)


def not_example(text: str) -> bool:
    """Not one of the stand-ins that people write where a real secret would be."""
    return _EXAMPLE.fullmatch(text) is None


#: Every validator by the name a rule file uses.
VALIDATORS: Mapping[str, Validator] = MappingProxyType(
    {
        "luhn": luhn,
        "credit_card": credit_card,
        "iban": iban,
        "phone_international": phone_international,
        "imei": imei,
        "us_ssn": _by(ssn, _digits),
        "us_itin": _by(itin, _digits),
        "uk_nino": uk_nino,
        "uk_nhs": _by(nhs, _digits),
        "de_steuerid": _by(idnr, _digits),
        "de_personalausweis": de_personalausweis,
        "fr_nir": _by(nir, _alphanumerics),
        "es_dni": es_dni,
        "it_codice_fiscale": _by(codicefiscale, _alphanumerics),
        "in_aadhaar": _by(aadhaar, _digits),
        "in_pan": _by(pan, _alphanumerics),
        "au_tfn": _by(tfn, _digits),
        "au_medicare": au_medicare,
        "au_abn": _by(abn, _digits),
        "btc_address": _by(stdnum_bitcoin, str.strip),
        "eth_address": eth_address,
        "ipv4": ipv4,
        "ipv6": ipv6,
        "jwt": jwt,
        "entropy": entropy,
        "date": plausible_date,
        "not_example": not_example,
    }
)
