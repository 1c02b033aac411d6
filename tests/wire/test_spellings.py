"""Secrets in other spellings: escaped, in base64, or with their middle starred out."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import string
import time
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._wire.masking import Mask
from ogw_asgi._wire.spellings import codes, odd, shortest_code, unescaped, without_codes, without_cut, without_hints

KEY = 'sk-proj/Ab+12"34?5~6>>>7cdef'
MASK = Mask([KEY], ["http://vllm:8000", "https://hub.test/v1/acct_0123456789ab/Deployments/openai"])


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.contract("4.masked")
@pytest.mark.parametrize(
    ("text", "masked"),
    [
        pytest.param(f"key={quote(KEY, safe='')};", "key=***;", id="percent-encoded"),
        pytest.param(f"key={quote(KEY, safe='').lower()}", f"key={quote(KEY, safe='').lower()}", id="of another case"),
        pytest.param("".join(f"%{byte:02x}" for byte in KEY.encode()), "***", id="percent-encoded, every letter"),
        pytest.param(quote(quote(KEY, safe=""), safe=""), "***", id="percent-encoded twice"),
        pytest.param(json.dumps({"k": KEY}), '{"k": "***"}', id="in JSON within the text"),
        pytest.param("".join(f"\\u{ord(char):04x}" for char in KEY), "***", id="JSON's escapes, every letter"),
        pytest.param("".join(f"\\x{ord(char):02x}" for char in KEY), "***", id="repr's escapes, every letter"),
        pytest.param(KEY.replace("/", "\\/").replace('"', '\\"'), "***", id="slashes escaped, as PHP does"),
        pytest.param(KEY.replace('"', "&#34;").replace(">", "&gt;"), "***", id="HTML's escapes"),
        pytest.param(f"{KEY} and {quote(KEY)}", "*** and ***", id="in two spellings"),
        pytest.param("at http%3A%2F%2Fvllm%3A8000%2Fv1", "at ***/v1", id="a URL, percent-encoded"),
        pytest.param("no route /v1/acct_0123456789AB/chat", "no route /v1/***/chat", id="a long part of a URL's path"),
        pytest.param("no route /v1/openai", "no route /v1/openai", id="a short part is a word"),
        pytest.param(f"Basic {coded('user:' + KEY)}.", "Basic ***.", id="base64, behind a name"),
        pytest.param(f"({coded('Bearer ' + KEY)})", "(***)", id="base64, behind a scheme"),
        pytest.param(f"{coded(KEY + ' and more')}", "***", id="base64, in front of more"),
        pytest.param(coded("12" + KEY).replace("+", "-").replace("/", "_"), "***", id="base64 for URLs"),
        pytest.param(f"{coded(KEY)} {coded(KEY)}", "*** ***", id="base64, each time"),
        pytest.param(f"Bad: {coded('Bearer ' + KEY)[:30]}", "Bad: QmVhcmVyIH***", id="base64 that was cut"),
        pytest.param("Incorrect API key provided: sk-proj/*****cdef.", "Incorrect API key provided: ***.", id="OpenAI"),
        pytest.param("Your api key: ****cdef is invalid", "Your api key: *** is invalid", id="the end alone"),
        pytest.param("key sk***ef, sk-pro...", "key ***, ***", id="two letters, or the beginning alone"),
        pytest.param("sk-pr…7cdef, skXXXXef", "***, ***", id="an ellipsis, and letters for stars"),
        pytest.param("wait... **bold** *** xxx", "wait... **bold** *** xxx", id="other stars"),
        pytest.param("100 % sure \\ R&D 5 > 4", "100 % sure \\ R&D 5 > 4", id="marks that escape nothing"),
        pytest.param("%41 &amp; \\u0041", "%41 &amp; \\u0041", id="escapes without a secret stay"),
    ],
)  # fmt: skip
def test_a_secret_is_masked_however_it_is_spelled(text: str, masked: str) -> None:
    assert MASK.text(text) == masked
    if not text.startswith("Bad:"):  # what is relayed as a header was not cut
        assert MASK.holds(text.encode()) is (masked != text)


def test_an_escape_in_a_key_is_the_keys_own_and_another_key_is_found_all_the_same() -> None:
    mask = Mask(["odd%41key%42", "plain/key/plain"])
    assert mask.text("odd%41key%42 plain%2Fkey%2Fplain") == "*** ***"


def test_many_stars_are_not_looked_at_for_long() -> None:
    text = "sk***ef " * 50 + "a*" * 30_000 + "sk***ef"
    started = time.process_time()
    masked = MASK.text(text)
    assert time.process_time() - started < 0.5
    assert masked.endswith("***")
    assert "ef" not in masked


def test_layers_of_escapes_are_not_undone_for_ever() -> None:
    text = "%" + "25" * 30_000
    started = time.process_time()
    assert MASK.text(text) == text
    assert time.process_time() - started < 0.5


@given(
    secret=st.text(alphabet=string.printable[:94], min_size=6, max_size=40),
    before=st.text(alphabet=string.printable[:94], max_size=7),
    after=st.text(alphabet=string.printable[:94], max_size=7),
)
@settings(max_examples=200, deadline=None)
def test_every_code_is_in_the_base64_of_whatever_holds_the_secret(secret: str, before: str, after: str) -> None:
    found = list(codes(secret))
    assert any(code in coded(before + secret + after) for code in found)
    assert all(len(code) >= shortest_code(secret) for code in found)


@given(text=st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_a_text_without_odd_marks_is_not_escaped(text: str) -> None:
    assert odd(text) or unescaped(text) == text


printable = st.text(alphabet=string.printable[:94], min_size=10, max_size=40)


@given(secret=printable, before=st.text(max_size=20), after=st.text(max_size=20), cut=st.integers(0, 10))
@settings(max_examples=200, deadline=None)
def test_what_is_taken_out_is_out_and_the_rest_stays(secret: str, before: str, after: str, cut: int) -> None:
    found = list(codes(secret))
    text = f"{before} {coded(secret)} {after}"
    masked = without_codes(text, found)
    assert not any(code in masked for code in found)
    assert masked.startswith(f"{before} ".rstrip(string.ascii_letters + string.digits + "+/-_="))
    short = secret[: len(secret) - cut]
    rest = without_cut(f"{before}{short}", secret, 6)
    assert f"{before}{short}".startswith(rest.removesuffix("***"))
    if 6 <= len(short) < len(secret):
        assert rest.endswith("***")
    hinted = without_hints(f"{before}{secret[:5]}****{secret[-4:]}{after}", [secret])
    if secret[:5] not in before:  # else what stands before may go on as a hint does, by what took its place
        assert f"{secret[:5]}****" not in hinted
    assert without_hints(before.replace("*", "").replace(".", ""), []) == before.replace("*", "").replace(".", "")


def test_a_mask_is_not_pickled_and_its_copies_mask_as_it_does() -> None:
    with pytest.raises(TypeError, match="holds keys"):
        pickle.dumps(MASK)
    assert MASK.plus([KEY, "short"]) is MASK
    for same in (copy.copy(MASK), copy.deepcopy(MASK)):
        assert same is MASK
    assert KEY not in repr(MASK.__reduce_ex__) + repr(vars(Mask)["__getstate__"](MASK))
