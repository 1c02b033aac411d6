"""Whether a gateway should get traffic, as its circuits say."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogw_asgi._rules.circuit import CLOSED, Circuit, Lease
from ogw_asgi._rules.plan import Catalogue, ProviderFacts
from ogw_asgi._rules.ready import may_be_tried
from ogw_asgi._values import TargetName

OPEN = Circuit(phase="open", seen_s=0.0, since_s=0.0, open_s=5.0, trips=1)
ELAPSED = Circuit(phase="open", seen_s=0.0, since_s=0.0, open_s=1.0, trips=1)
PROBING = Circuit(phase="half_open", seen_s=0.0, lease=Lease(1, 40.0), trips=1)
COOLING = Circuit(seen_s=0.0, cooling_until_s=300.0)

A = ProviderFacts("a", "openai", {"fast": "mini"})
B = ProviderFacts("b", "openai")
NAMED_BY_CALLERS = ProviderFacts("vllm", "vllm", has_endpoint=False, takes_endpoint=True)
NOWHERE = ProviderFacts("other", "vllm", has_endpoint=False)

Circuits = Mapping[tuple[str, ...], Circuit]


def book(*facts: ProviderFacts, sequence: tuple[TargetName, ...] | None = None) -> Catalogue:
    return Catalogue({one.name: one for one in facts}, sequence)


@pytest.mark.parametrize(
    ("catalogue", "circuits", "expected"),
    [
        pytest.param(book(), {}, False, id="no-provider"),
        pytest.param(book(A), {}, True, id="never-asked"),
        pytest.param(book(A), {("a",): OPEN}, False, id="origin-open"),
        pytest.param(book(A), {("a",): ELAPSED}, True, id="origin-elapsed"),
        pytest.param(book(A), {("a",): PROBING}, True, id="origin-probed"),
        pytest.param(book(A), {("a",): COOLING, ("a", "m"): COOLING}, True, id="cooling"),
        pytest.param(book(B), {("b",): CLOSED, ("b", "m"): OPEN}, False, id="its-only-known-model-open"),
        pytest.param(book(B), {("b", "m"): OPEN, ("b", "n"): CLOSED}, True, id="another-model-closed"),
        pytest.param(book(B), {("b", "m"): OPEN, ("b", "n"): OPEN}, False, id="every-known-model-open"),
        pytest.param(book(A), {("a", "mini"): OPEN, ("a", "n"): CLOSED}, False, id="its-map-has-no-other-model"),
        pytest.param(book(A), {("a", "n"): OPEN}, True, id="what-callers-think-of-is-not-in-its-map"),
        pytest.param(book(B), {("b", "m"): OPEN, ("b", "n"): ELAPSED}, True, id="another-model-elapsed"),
        pytest.param(book(A, B), {("a",): OPEN}, True, id="another-provider"),
        pytest.param(book(A, B), {("a",): OPEN, ("b", "m"): OPEN}, False, id="every-provider"),
        # what callers name is no circuit of the provider's own
        pytest.param(
            book(A), {("a", "http://gpu", "ada"): OPEN, ("a", "http://gpu", "ada", "m"): OPEN}, True, id="named"
        ),
        pytest.param(book(NAMED_BY_CALLERS), {("vllm", "http://gpu", ""): OPEN}, True, id="named-by-callers-alone"),
        pytest.param(book(A, NOWHERE), {("a",): OPEN}, False, id="nobody-can-reach-it"),
        # the operator's sequence
        pytest.param(book(A, B, sequence=(TargetName("a"),)), {("a",): OPEN}, False, id="b-is-not-in-the-sequence"),
        pytest.param(
            book(A, B, sequence=(TargetName("a"), TargetName("b", "m"))),
            {("a",): OPEN, ("b", "m"): OPEN, ("b", "n"): CLOSED},
            False,
            id="the-models-of-the-sequence-alone",
        ),
        pytest.param(book(A, sequence=(TargetName("a", "fast"),)), {("a", "mini"): OPEN}, False, id="as-it-is-served"),
        pytest.param(
            book(A, sequence=(TargetName("a", "fast"),)), {("a", "fast"): OPEN}, True, id="not-as-it-is-asked"
        ),
    ],
)
def test_it_is_ready_while_one_target_may_be_tried(catalogue: Catalogue, circuits: Circuits, expected: bool) -> None:
    assert may_be_tried(catalogue, circuits, 2.0) is expected


def test_models_that_settings_list_speak_for_a_provider_without_a_map() -> None:
    circuits: Circuits = {("b", "invented"): OPEN, ("a", "n"): OPEN}
    assert not may_be_tried(book(B), circuits, 2.0)
    assert may_be_tried(book(B), circuits, 2.0, listed=["gpt-4o"])
    assert not may_be_tried(book(B), {("b", "gpt-4o"): OPEN}, 2.0, listed=["gpt-4o"])
    assert not may_be_tried(book(A), {("a", "mini"): OPEN}, 2.0, listed=["gpt-4o"]), "its map is the nearer word"


def test_a_clock_that_goes_back_keeps_nobody_out_for_longer() -> None:
    later = Circuit(phase="open", seen_s=1000.0, since_s=1000.0, open_s=5.0)
    assert not may_be_tried(book(A), {("a",): later}, 1004.0)
    assert may_be_tried(book(A), {("a",): later}, 1005.0)
    assert not may_be_tried(book(A), {("a",): later}, 0.0)
    assert may_be_tried(book(A), {("a",): Circuit("open", seen_s=1006.0, since_s=1000.0, open_s=5.0)}, 3.0)


@given(
    st.dictionaries(
        st.sampled_from([("a",), ("a", "m"), ("a", "mini"), ("b",), ("b", "m"), ("a", "http://gpu", "")]),
        st.builds(
            Circuit,
            phase=st.sampled_from(["closed", "open", "half_open"]),
            seen_s=st.floats(0, 100),
            since_s=st.floats(0, 100),
            open_s=st.floats(0, 300),
        ),
    ),
    st.floats(0, 200),
    st.sampled_from([None, (TargetName("a"),), (TargetName("b", "m"), TargetName("a", "fast"))]),
)
def test_whatever_is_open_its_time_runs_out_and_then_it_is_ready(
    circuits: Circuits, now_s: float, sequence: tuple[TargetName, ...] | None
) -> None:
    catalogue = book(A, B, sequence=sequence)
    may_be_tried(catalogue, circuits, now_s)
    assert may_be_tried(catalogue, circuits, now_s + 500.0)
    assert may_be_tried(catalogue, {}, now_s)
