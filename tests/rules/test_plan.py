"""Who is asked, in what order, and who is refused before anybody is."""

from __future__ import annotations

from typing import Any

import pytest

from ogw_asgi._rules.egress import AllowList
from ogw_asgi._rules.plan import REMEMBERED, Catalogue, ProviderFacts, make_plan
from ogw_asgi._values import CallOptions, Endpoint, Plan, Principal, Target, TargetName
from ogw_asgi._wire.endpoint import read_endpoint
from ogw_asgi.exceptions import ConfigurationError, RequestRejected

ENDPOINT = Endpoint("http", "10.0.0.9", 8000)
LISTED = AllowList.parse(["http://10.0.0.9:8000"], read_endpoint)


def facts(name: str, **more: Any) -> ProviderFacts:
    return ProviderFacts(name, name if name in ("openai", "azure", "vllm") else "compatible", **more)


OPENAI = facts("openai")
AZURE = facts("azure", models={"gpt-4o": "prod-gpt4o"})
VLLM = facts("vllm", takes_endpoint=True)
BARE_VLLM = facts("vllm", takes_endpoint=True, has_endpoint=False)
GROQ = facts("groq", models={"*": "llama-3.3-70b"})


def catalogue(*providers: ProviderFacts, default: tuple[TargetName, ...] | None = None) -> Catalogue:
    return Catalogue({p.name: p for p in providers}, default)


def items(*names: str) -> tuple[TargetName, ...]:
    """As the header's reader gives them: split at the first slash."""
    return tuple(TargetName(provider, model or None) for provider, _, model in (n.partition("/") for n in names))


def plan(
    sequence: tuple[TargetName, ...] | None,
    *providers: ProviderFacts,
    default: tuple[TargetName, ...] | None = None,
    model: str = "gpt-4o",
    stream: bool = False,
    principal: Principal | None = None,
    total_s: float | None = None,
    **options: Any,
) -> Plan:
    return make_plan(
        model,
        stream,
        CallOptions("req-1", sequence, **options),
        catalogue(*providers, default=default),
        principal=principal,
        guard_for=LISTED.guard,
        total_s=total_s,
    )


def refused(*args: Any, **kwargs: Any) -> RequestRejected:
    with pytest.raises(RequestRejected) as caught:
        plan(*args, **kwargs)
    return caught.value


def names(made: Plan) -> list[str]:
    return [target.provider for target in made.targets]


@pytest.mark.contract("2.sequence.order", "2.retry.in-place")
def test_the_headers_order_is_the_plans_repeats_included() -> None:
    made = plan(items("vllm", "openai", "openai", "azure"), OPENAI, AZURE, VLLM)
    assert names(made) == ["vllm", "openai", "openai", "azure"]


@pytest.mark.contract("2.sequence.default")
def test_the_configured_default_beats_the_one_out_of_the_box() -> None:
    made = plan(None, OPENAI, AZURE, GROQ, default=items("groq/x", "openai"))
    assert made.targets == (Target("groq", "x", "llama-3.3-70b"), Target("openai", "gpt-4o", "gpt-4o"))


@pytest.mark.parametrize(
    ("providers", "expected"),
    [
        pytest.param(
            (GROQ, AZURE, OPENAI),
            ["openai", "azure"],
            marks=pytest.mark.contract("2.sequence.out-of-the-box"),
        ),
        pytest.param((GROQ, AZURE), ["azure"], marks=pytest.mark.contract("2.sequence.out-of-the-box")),
        pytest.param((GROQ, VLLM), ["groq", "vllm"], marks=pytest.mark.contract("2.sequence.all-providers")),
        pytest.param((BARE_VLLM, GROQ), ["groq"], id="a default leaves out who has no endpoint"),
    ],
)
def test_without_a_header_the_configured_ones_are_asked(
    providers: tuple[ProviderFacts, ...], expected: list[str]
) -> None:
    assert names(plan(None, *providers)) == expected


@pytest.mark.contract("2.sequence.target-model", "2.sequence.model-map")
@pytest.mark.parametrize(
    ("item", "asked", "served"),
    [
        ("openai", "gpt-4o", "gpt-4o"),
        ("openai/o5", "o5", "o5"),
        ("openai/org/o5", "org/o5", "org/o5"),
        ("azure", "gpt-4o", "prod-gpt4o"),
        ("azure/gpt-4o", "gpt-4o", "prod-gpt4o"),
        ("azure/other", "other", "other"),
        ("groq", "gpt-4o", "llama-3.3-70b"),
        ("groq/anything", "anything", "llama-3.3-70b"),
    ],
)
def test_the_model_map_applies_to_the_body_and_to_a_target(item: str, asked: str, served: str) -> None:
    made = plan(items(item), OPENAI, AZURE, GROQ)
    assert made.targets == (Target(made.targets[0].provider, asked, served),)
    assert made.targets[0].mapped is (asked != served)


@pytest.mark.contract("2.endpoint.used")
@pytest.mark.parametrize("vllm", [VLLM, BARE_VLLM])
def test_the_callers_endpoint_goes_to_vllm_alone(vllm: ProviderFacts) -> None:
    made = plan(items("vllm", "openai"), OPENAI, vllm, vllm_endpoint=ENDPOINT)
    assert [target.endpoint for target in made.targets] == [ENDPOINT, None]


@pytest.mark.contract("2.endpoint.configured")
def test_without_the_header_vllm_is_asked_at_its_own_endpoint() -> None:
    assert plan(items("vllm"), VLLM).targets == (Target("vllm", "gpt-4o", "gpt-4o"),)


@pytest.mark.contract("2.sequence.unknown-provider")
def test_an_unknown_provider_is_a_400_that_names_the_header_and_the_configured_ones() -> None:
    refusal = refused(items("openai", "sk-c4n4ry-secret"), OPENAI, AZURE)
    assert (refusal.status, refusal.param) == (400, "x-opengateway-failover-sequence")
    assert "openai, azure" in refusal.message
    assert "sk-c4n4ry-secret" not in refusal.message


@pytest.mark.contract("2.endpoint.missing")
@pytest.mark.parametrize("sequence", [items("openai", "vllm"), items("vllm")])
def test_a_named_vllm_without_any_endpoint_is_a_400(sequence: tuple[TargetName, ...]) -> None:
    refusal = refused(sequence, OPENAI, BARE_VLLM)
    assert (refusal.status, refusal.param) == (400, "x-opengateway-vllm-endpoint")


@pytest.mark.contract("2.endpoint.missing")
def test_a_default_of_nobody_but_an_endpointless_vllm_asks_for_the_header() -> None:
    refusal = refused(None, BARE_VLLM)
    assert (refusal.status, refusal.param) == (400, "x-opengateway-vllm-endpoint")
    assert names(plan(None, BARE_VLLM, vllm_endpoint=ENDPOINT)) == ["vllm"]


@pytest.mark.contract("2.endpoint.not-allowed", "1.forbidden.endpoint")
@pytest.mark.parametrize(
    ("providers", "endpoint", "principal"),
    [
        pytest.param((OPENAI, VLLM), Endpoint("http", "10.0.0.9", 8001), None, id="not listed"),
        pytest.param((OPENAI, VLLM), ENDPOINT, Principal("a", endpoints=False), id="not this caller"),
        pytest.param((OPENAI,), ENDPOINT, None, id="nobody takes one"),
    ],
)
def test_an_endpoint_that_may_not_be_called_is_the_same_403(
    providers: tuple[ProviderFacts, ...], endpoint: Endpoint, principal: Principal | None
) -> None:
    refusal = refused(items("openai"), *providers, vllm_endpoint=endpoint, principal=principal)
    assert (refusal.status, refusal.code) == (403, "endpoint_not_allowed")
    assert refusal.message == "The endpoint named by x-opengateway-vllm-endpoint is not allowed."


@pytest.mark.contract("1.forbidden.provider")
def test_a_named_provider_that_the_caller_may_not_use_is_a_403() -> None:
    refusal = refused(
        items("openai", "azure"), OPENAI, AZURE, principal=Principal("a", providers=frozenset({"openai"}))
    )
    assert (refusal.status, refusal.code) == (403, "provider_not_allowed")


@pytest.mark.contract("1.forbidden.model")
@pytest.mark.parametrize(
    ("sequence", "model", "param"),
    [
        (items("openai"), "o5", "model"),
        (None, "o5", "model"),
        (items("openai", "azure/o5"), "gpt-4o", "x-opengateway-failover-sequence"),
    ],
)
def test_a_model_that_the_caller_may_not_use_is_a_403(
    sequence: tuple[TargetName, ...] | None, model: str, param: str
) -> None:
    principal = Principal("a", models=frozenset({"gpt-4o"}))
    refusal = refused(sequence, OPENAI, AZURE, model=model, principal=principal)
    assert (refusal.status, refusal.code, refusal.param) == (403, "model_not_allowed", param)


def test_the_bodys_model_needs_no_permission_where_no_target_is_asked_for_it() -> None:
    principal = Principal("a", models=frozenset({"gpt-4o"}))
    assert names(plan(items("openai/gpt-4o"), OPENAI, model="o5", principal=principal)) == ["openai"]
    made = plan(None, OPENAI, default=items("openai/gpt-4o"), model="o5", principal=principal)
    assert names(made) == ["openai"]


def test_a_default_leaves_out_what_the_caller_may_not_use() -> None:
    principal = Principal("a", providers=frozenset({"azure", "groq"}), models=frozenset({"gpt-4o"}))
    made = plan(None, OPENAI, AZURE, GROQ, default=items("openai", "groq/secret", "azure"), principal=principal)
    assert names(made) == ["azure"]


@pytest.mark.contract("1.unavailable.no-provider")
@pytest.mark.parametrize(
    ("providers", "sequence", "principal"),
    [
        ((), None, None),
        ((), items("openai"), None),
        ((OPENAI, AZURE), None, Principal("a", providers=frozenset({"groq"}))),
        ((OPENAI, BARE_VLLM), None, Principal("a", providers=frozenset())),
    ],
)
def test_nobody_configured_or_permitted_is_a_503(
    providers: tuple[ProviderFacts, ...],
    sequence: tuple[TargetName, ...] | None,
    principal: Principal | None,
) -> None:
    refusal = refused(sequence, *providers, principal=principal)
    assert (refusal.status, refusal.code) == (503, "no_provider")
    assert refusal.retry_after_s == 60
    assert refusal.should_retry is False


@pytest.mark.contract("2.limits.caller", "2.limits.total")
@pytest.mark.parametrize(
    ("configured", "callers", "total"),
    [(None, None, None), (60.0, None, 60.0), (None, 6.0, 6.0), (60.0, 6.0, 6.0), (6.0, 60.0, 6.0)],
)
def test_the_shorter_of_both_totals_holds(configured: float | None, callers: float | None, total: float | None) -> None:
    made = plan(None, OPENAI, total_s=configured, caller_limit_s=callers)
    assert made.total_s == total


def test_stream_and_first_chunk_limit_are_the_callers() -> None:
    made = plan(None, OPENAI, stream=True, first_chunk_s=0.25)
    assert (made.stream, made.first_chunk_s) == (True, 0.25)
    assert plan(None, OPENAI).first_chunk_s is None


@pytest.mark.parametrize(
    ("providers", "default", "match"),
    [
        ((OPENAI,), items("openai", "azure"), "no provider is named azure; configured are openai"),
        ((), items("openai"), "configured are none"),
        ((OPENAI,), (), "at least one"),
    ],
)
def test_a_default_that_cannot_work_is_a_configuration_error(
    providers: tuple[ProviderFacts, ...], default: tuple[TargetName, ...], match: str
) -> None:
    with pytest.raises(ConfigurationError, match=match):
        catalogue(*providers, default=default)


def test_what_is_remembered_of_a_sequence_is_the_same_bounded_and_nobody_elses() -> None:
    book = catalogue(OPENAI, AZURE, VLLM)

    def ask(model: str, principal: Principal | None = None, **options: Any) -> Plan:
        return make_plan(
            model,
            False,
            CallOptions("req-1", **options),
            book,
            principal=principal,
            guard_for=LISTED.guard,
            total_s=None,
        )

    for number in (*range(2 * REMEMBERED), 0):
        assert (
            ask(f"m-{number}")
            == ask(f"m-{number}")
            == Plan(
                (Target("openai", f"m-{number}", f"m-{number}"), Target("azure", f"m-{number}", f"m-{number}")), False
            )
        )
        assert len(book.remembered) <= REMEMBERED
    assert [target.provider for target in ask("m-0", Principal("p", frozenset({"azure"}))).targets] == ["azure"]
    assert ask("m-0", sequence=items("vllm"), vllm_endpoint=ENDPOINT).targets[0].endpoint == ENDPOINT
    assert ask("m-0", sequence=items("vllm")).targets[0].endpoint is None
    with pytest.raises(RequestRejected):
        ask("m-0", Principal("p", models=frozenset({"other"})))
