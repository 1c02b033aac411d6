"""Masks: neither keys nor providers' addresses get through, and ordinary words stay."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogw_asgi._wire.masking import Mask

KEY = "sk-c4n4ry-secret-123456"


@pytest.mark.contract("4.masked", "6.envelope.no-secrets")
@pytest.mark.parametrize(
    ("secrets", "urls", "text", "masked"),
    [
        pytest.param([KEY], [], f"Bad key {KEY}; {KEY}.", "Bad key ***; ***.", id="a key, each time"),
        pytest.param([KEY], [], KEY.upper(), KEY.upper(), id="a key in another case is another key"),
        pytest.param([KEY, KEY + "-more"], [], KEY + "-more", "***", id="of two keys the longer"),
        pytest.param([], ["https://acme.openai.azure.com/openai/v1"], "at https://acme.openai.azure.com/openai/v1/chat",
                     "at ***/chat", id="a URL with its path"),
        pytest.param([], ["https://acme.openai.azure.com/openai/v1/"], "HTTPS://ACME.openai.azure.com/openai/V1",
                     "***", id="a URL in any case, without its last slash"),
        pytest.param([], ["https://acme.openai.azure.com/v1"], "see https://acme.openai.azure.com/docs",
                     "see ***/docs", id="an origin"),
        pytest.param([], ["https://acme.openai.azure.com/v1"], "Host acme.OpenAI.azure.com:443 unknown",
                     "Host *** unknown", id="a host with the default port"),
        pytest.param([], ["https://acme.openai.azure.com/v1"], "acme.openai.azure.com", "***", id="a host with dots"),
        pytest.param([], ["http://vllm:8000"], "cannot connect to VLLM:8000", "cannot connect to ***",
                     id="host and port"),
        pytest.param([], ["http://vllm:8000"], "vLLM says http://vllm and vllm:80", "vLLM says http://vllm and vllm:80",
                     id="a bare name is a word, and another port another server"),
        pytest.param([], ["http://vllm"], "http://vllm, http://vllm:80, vllm:80, vllm", "***, ***, ***, vllm",
                     id="a bare name with the default port"),
        pytest.param([], ["http://10.0.0.7:8000"], "10.0.0.7 and 10.0.0.7:8000", "*** and ***", id="an IPv4 address"),
        pytest.param([], ["http://[fd00::7]:8000/v1"], "[fd00::7]:8000, fd00::7", "***, ***", id="an IPv6 address"),
        pytest.param([], ["http://[fd00::7]"], "http://[fd00::7]/x", "***/x", id="an IPv6 origin"),
        pytest.param([], ["http://[broken", "http://host:99999", "unix:/run/x", ""], "x http://[broken unix:/run/x",
                     "x *** ***", id="what is no URL stands for itself"),
        pytest.param([], ["ws://vllm/v1"], "ws://vllm/v1 vllm", "*** vllm", id="a scheme without a known port"),
        pytest.param([KEY], ["http://vllm:8000"], "all is well", "all is well", id="nothing to mask"),
        pytest.param([], [], f"{KEY} http://vllm:8000", f"{KEY} http://vllm:8000", id="an empty mask"),
        pytest.param(["EMPTY", "none", "a"], [], "a key that is none or EMPTY", "a key that is none or EMPTY",
                     id="placeholders of fewer than six characters"),
        pytest.param(["a.c+(x"], [], "abc+(x a.c+(x", "abc+(x ***", id="keys are no patterns"),
    ],
)  # fmt: skip
def test_a_text_is_masked(secrets: list[str], urls: list[str], text: str, masked: str) -> None:
    mask = Mask(secrets, urls)
    assert mask.text(text) == masked
    assert mask.holds(text.encode()) is (masked != text)


@pytest.mark.contract("4.masked")
@pytest.mark.parametrize("cut", range(6, len(KEY)))
def test_a_secret_that_was_cut_at_the_end_of_a_text_is_masked(cut: int) -> None:
    assert Mask([KEY], []).text(f"Bad key {KEY[:cut]}") == "Bad key ***"


def test_more_secrets_make_another_mask_and_leave_the_first_alone() -> None:
    first = Mask([KEY], ["http://vllm:8000"])
    more = first.plus(["caller-key", KEY, "no"])
    assert more.text(f"{KEY} caller-key vllm:8000 no") == "*** *** *** no"
    assert first.text(f"{KEY} caller-key") == "*** caller-key"
    assert more.holds(b"x caller-key")
    assert not first.holds(b"x caller-key")


def test_a_value_shorter_than_anything_masked_is_not_looked_at_but_a_short_address_is_found() -> None:
    assert not Mask([KEY]).holds(b"6ms")
    assert Mask([KEY], ["http://a:80"]).holds(b"a:80")
    assert Mask([KEY]).holds(b"\xff" + KEY.encode())


def test_a_mask_does_not_show_what_it_masks() -> None:
    mask = Mask([KEY], ["http://vllm:8000"]).plus(["caller-key"])
    assert repr(mask) == str(mask) == "Mask(***)"
    assert not hasattr(mask, "__dict__")


words = st.text(alphabet=string.ascii_letters + string.digits + "-_. :/", max_size=12)
keys = st.text(alphabet=string.ascii_letters + string.digits + "-_", min_size=6, max_size=12)


@given(
    secrets=st.lists(keys, max_size=4),
    hosts=st.lists(st.sampled_from(["a.example", "b.a.example", "10.0.0.7"]), max_size=2),
    parts=st.lists(words | st.integers(0, 5), max_size=8),
)
@settings(max_examples=200, deadline=None)
def test_nothing_masked_is_left_wherever_it_stood(secrets: list[str], hosts: list[str], parts: list[str | int]) -> None:
    needles = [*secrets, *hosts]
    text = "".join(part if isinstance(part, str) else "".join(needles[part : part + 1]) for part in parts)
    mask = Mask(secrets, [f"https://{host}/v1" for host in hosts])
    masked = mask.text(text)
    assert not any(secret in masked for secret in secrets)
    assert not any(re.search(re.escape(host), masked, re.IGNORECASE) for host in hosts)
    assert not mask.holds(masked.encode())
    assert (masked != text) is mask.holds(text.encode())


def test_what_a_mask_remembers_of_headers_is_little_and_never_a_find() -> None:
    mask = Mask([KEY])
    for number in range(2_000):
        assert not mask.holds(b"2026-10-%d" % number)
        assert not mask.holds(b"long-%d" % number * 20)
        assert mask.holds(f"{number} {KEY}".encode())
    assert 0 < len(mask._harmless) <= 256
    assert all(len(value) <= 64 and KEY.encode() not in value for value in mask._harmless)
    assert not mask.plus(["2026-10-1999"])._harmless
    assert mask.plus(["2026-10-1999"]).holds(b"2026-10-1999"), "what one may see is not what all may see"
