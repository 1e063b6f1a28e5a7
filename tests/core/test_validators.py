"""Every validator: numbers that are real, numbers with one digit off, separators, any text at all."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from safeproxy.core.validators import VALIDATORS

#: Published examples and numbers made up to satisfy the checksum; then near misses.
EXAMPLES: dict[str, tuple[list[str], list[str]]] = {
    "luhn": (["79927398713", "7992-7398-713"], ["79927398710", "0000000000", ""]),
    "credit_card": (
        [
            "4111111111111111",
            "4111 1111 1111 1111",
            "5500-0000-0000-0004",
            "378282246310005",
            "6011111111111117",
            "2223003122003222",
            "30569309025904",
            "3530111333300000",
        ],
        ["4111111111111112", "9111111111111111", "411111111111111", "0000000000000000"],
    ),
    "iban": (
        ["GB82WEST12345698765432", "gb82 west 1234 5698 7654 32", "DE89-3704-0044-0532-0130-00"],
        ["GB82WEST12345698765433", "GB82WEST1234569876543", "XX82WEST12345698765432"],
    ),
    "phone_international": (
        ["+41 44 668 18 00", " +1 (650) 253-0000 ", "+442083661177"],
        ["044 668 18 00", "+1 123", "+999 123 456 789", "+"],
    ),
    "imei": (["490154203237518", "49-015420-323751-8"], ["490154203237519", "4901542032375"]),
    "us_ssn": (["536-90-4399", "536904399"], ["078-05-1120", "000-12-3456", "666-12-3456", "536-90-439"]),
    "us_itin": (["912-90-3456", "912903456"], ["123-45-6789", "912-11-3456"]),
    "uk_nino": (["AB123456C", "ab 12 34 56 c", "AB123456"], ["BG123456C", "AB123456E", "DB123456C", "AO123456C"]),
    "uk_nhs": (["943 476 5870", "9434765870"], ["943 476 5871", "943 476 587"]),
    "de_steuerid": (["36 574 261 809", "36574261809"], ["36574261808", "12345678901"]),
    "de_personalausweis": (["T220001293", "t22000129 3"], ["T220001294", "T22000129", "T22000129X"]),
    "fr_nir": (["2 95 10 99 126 111 93", "295109912611193"], ["295109912611199", "29510991261119"]),
    "es_dni": (["54362315K", "54362315-k", "X2482300W"], ["54362315Z", "X2482300A"]),
    "it_codice_fiscale": (["RCCMNL83S18D969H", "rccmnl 83s18 d969h"], ["RCCMNL83S18D969", "RCCMNL83S18D969A"]),
    "in_aadhaar": (["2341 2341 2346", "234123412346"], ["234123412347", "0341 2341 2346"]),
    "in_pan": (["ACUPA7085R", "acupa 7085 r"], ["ACUXA7085R", "ACUPA7085", "12345"]),
    "au_tfn": (["123 456 782", "123456782"], ["123 456 789", "999 999 999"]),
    "au_medicare": (["2123 45670 1", "21234567011"], ["2123 45671 1", "7123456701", "212345670"]),
    "au_abn": (["83 914 571 673", "51824753556"], ["99 999 999 999", "51824753557"]),
    "btc_address": (
        ["1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", " bc1qardv855yjngspvxuttq897aqca3lxju2y69jce "],
        ["1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3", "bc1qardv855yjngspvxuttq897aqca3lxju2y69jcf", "1BvBMSEY"],
    ),
    "eth_address": (
        ["0x52908400098527886E0F7030069857D2E4169EE7", "0x" + "0" * 39 + "1"],
        ["0x" + "0" * 40, "0x52908400098527886E0F7030069857D2E4169EE", "52908400098527886E0F7030069857D2E4169EE7"],
    ),
    "ipv4": (["192.168.0.1", "255.255.255.255"], ["256.1.1.1", "1.2.3", "1.2.3.4.5", "1.2.3.a"]),
    "ipv6": (["2001:db8::1", "fe80::1%eth0", "::ffff:1.2.3.4"], ["::1", "::", "2001:db8", "12:34:56", "1::2::3"]),
    "jwt": (
        ["eyJhbGciOiJIUzI1NiJ9.e30.x", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.abc"],
        ["eyJ0eXAiOiJKV1QifQ.e30.x", "eyJub3Rqc29u.e30.x", "WzFd.e30.x", "a.b.c", ""],
    ),
    "entropy": (["k3J9xQ2mZ7pL", "9f86d081884c7d65"], ["aaaaaaaa1", "abcdefghijkl", "1234567890", "a1a1a1a1", ""]),
    "date": (
        ["31/12/1999", "12/31/1999", "1999-12-31", "31.12.99", "29 Feb 2024", "February 29, 2024", "1 September 2001"],
        ["31/31/1999", "2023-02-29", "29 Feb 2023", "1/1/1850", "2101-01-01", "12/1999", "4 Foo 2001", ""],
    ),
    "not_example": (
        ["hunter2horse", "Tr0ub4dor", "mypassword1", "sk-9aQ"],
        [
            "xxxx",
            "<your-password>",
            "your_api_key",
            "${SECRET}",
            "changeme",
            "'password'",
            "PASSWORD",
            "my-example-key",
            "os.environ['KEY']",
            "********",
        ],
    ),
}


def test_every_validator_has_examples() -> None:
    """None is left untested when one is added."""
    assert set(EXAMPLES) == set(VALIDATORS)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, (good, _) in EXAMPLES.items() for text in good])
def test_what_is_valid_is_accepted(name: str, text: str) -> None:
    """With the separators that people write."""
    assert VALIDATORS[name](text) is True


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, (_, bad) in EXAMPLES.items() for text in bad])
def test_what_is_not_valid_is_refused(name: str, text: str) -> None:
    """A wrong check digit, a wrong length, a prefix that was never given out."""
    assert VALIDATORS[name](text) is False


@pytest.mark.parametrize("name", ["luhn", "imei", "us_ssn", "uk_nhs", "in_aadhaar", "au_tfn", "au_abn", "credit_card"])
def test_digits_of_other_scripts_count(name: str) -> None:
    """As full-width or Arabic digits they are the same number."""
    for zero in ("\uff10", "\u0660"):
        for good in EXAMPLES[name][0]:
            other = "".join(chr(ord(zero) + int(char)) if char.isdecimal() else char for char in good)
            assert VALIDATORS[name](other)


@pytest.mark.parametrize("name", ["luhn", "credit_card", "iban", "uk_nhs", "au_abn", "de_steuerid", "in_aadhaar"])
def test_any_one_wrong_digit_is_noticed(name: str) -> None:
    """That is what a checksum is for."""
    good = EXAMPLES[name][0][0]
    for at, char in enumerate(good):
        if char.isdecimal():
            wrong = good[:at] + str((int(char) + 1) % 10) + good[at + 1 :]
            assert not VALIDATORS[name](wrong)


_ANYTHING = st.lists(st.integers(0, 0x10FFFF).map(chr), max_size=20).map("".join)
_NUMBERLIKE = st.text(st.sampled_from("0123456789 -./:+%{}ABEXabex\u00b2\u0661\uff11\u2460\u00df\ud800\0"), max_size=40)


@given(_ANYTHING | _NUMBERLIKE)
@example("1" * 5000)
@example("1/1/" + "9" * 30)
@example("9" * 20 + " jan 1")
@example("{" * 5000)
@example("W10" * 2000)
def test_no_text_breaks_a_validator(text: str) -> None:
    """A validator says yes or no, whatever it is given: one that raises stops the stream."""
    for name, validator in VALIDATORS.items():
        assert validator(text) in (True, False), name
