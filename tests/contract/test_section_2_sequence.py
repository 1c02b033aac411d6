"""Section 2: who is asked, in what order, for which model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ogw_asgi import Limits
from ogw_asgi.testing import ScriptedUpstream, chat, error

from .checks import SEQUENCE, asked, refusal, sequence
from .harness import gateway_of, using

pytestmark = pytest.mark.anyio


def down() -> ScriptedUpstream:
    return ScriptedUpstream(error(503))


def up() -> ScriptedUpstream:
    return ScriptedUpstream(chat())


@pytest.mark.contract("2.sequence.order")
@pytest.mark.parametrize(
    "order",
    [["openai", "azure", "groq"], ["groq", "openai", "azure"], ["azure", "groq"], ["groq"]],
    ids="-".join,
)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_targets_are_tried_in_the_order_of_the_header(order: list[str], stream: bool) -> None:
    async with gateway_of(openai=down(), azure=down(), groq=down()) as world:
        world.upstreams[order[-1]].script(chat("Here I am"))
        reply = await world.post(headers=sequence(*order), stream=stream)
        assert reply.status_code == 201
        assert reply.headers["x-opengateway-provider"] == order[-1]
        assert asked(world) == order


@pytest.mark.contract("2.sequence.order")
async def test_a_target_behind_the_one_that_answers_is_not_asked() -> None:
    async with gateway_of(openai=up(), azure=up()) as world:
        assert (await world.post(headers=sequence("azure", "openai"))).status_code == 201
        assert asked(world) == ["azure"]


@pytest.mark.contract("2.sequence.target-model")
async def test_a_target_with_a_model_is_asked_for_that_model_split_at_the_first_slash() -> None:
    async with gateway_of(openai=ScriptedUpstream(error(503), error(503), chat())) as world:
        reply = await world.post(headers=sequence("openai/gpt-9", "openai/meta/llama/3", "openai"), model="mine")
        assert reply.status_code == 201
        assert [request.json["model"] for request in world.upstreams["openai"].requests] == [
            "gpt-9",
            "meta/llama/3",
            "mine",
        ]


@pytest.mark.contract("2.sequence.model-map")
@pytest.mark.parametrize(
    ("target", "model", "served"),
    [
        ("openai", "small", "gpt-small-2"),
        ("openai", "other", "gpt-rest"),
        ("openai/small", "other", "gpt-small-2"),
        ("openai/odd/name", "small", "gpt-rest"),
        ("openai/gpt-small-2", "small", "gpt-rest"),
        ("groq", "small", "small"),
        ("groq/big", "small", "big"),
    ],
)
async def test_a_model_map_applies_to_the_body_s_model_and_to_a_target_s(target: str, model: str, served: str) -> None:
    table = {"small": "gpt-small-2", "*": "gpt-rest"}
    async with gateway_of(openai=using(up(), models=table), groq=up()) as world:
        assert (await world.post(headers=sequence(target), model=model)).status_code == 201
        (name,) = world.calls()
        assert world.upstreams[name].requests[0].json["model"] == served


@pytest.mark.contract("2.sequence.model-map")
async def test_a_model_map_without_a_rest_leaves_other_names_alone() -> None:
    async with gateway_of(openai=using(up(), models={"small": "gpt-small-2"})) as world:
        assert (await world.post(headers=sequence("openai"), model="other")).status_code == 201
        assert world.upstreams["openai"].requests[0].json["model"] == "other"


EMPTY = pytest.mark.parametrize("headers", [{}, {SEQUENCE: ""}], ids=["absent", "empty"])


@pytest.mark.contract("2.sequence.default")
@EMPTY
async def test_without_the_header_the_configured_default_is_tried(headers: dict[str, str]) -> None:
    default = ["groq", "azure/gpt-9", "openai"]
    async with gateway_of(openai=up(), azure=down(), groq=down(), failover_sequence=default) as world:
        assert (await world.post(headers=headers, model="mine")).status_code == 201
        assert asked(world) == ["groq", "azure", "openai"]
        assert world.upstreams["azure"].requests[0].json["model"] == "gpt-9"


@pytest.mark.contract("2.sequence.out-of-the-box")
@EMPTY
@pytest.mark.parametrize(
    ("configured", "tried"),
    [
        (["groq", "azure", "openai"], ["openai", "azure"]),
        (["groq", "azure"], ["azure"]),
        (["vllm", "openai", "groq"], ["openai"]),
    ],
    ids=["both", "azure", "openai"],
)
async def test_out_of_the_box_openai_and_azure_are_tried_as_far_as_configured(
    headers: dict[str, str], configured: list[str], tried: list[str]
) -> None:
    upstreams: dict[str, Any] = {name: down() for name in configured}
    async with gateway_of(**upstreams) as world:
        assert (await world.post(headers=headers)).status_code == 502
        assert asked(world) == tried


@pytest.mark.contract("2.sequence.all-providers")
@EMPTY
async def test_with_neither_of_the_two_all_providers_are_tried_in_their_order(headers: dict[str, str]) -> None:
    async with gateway_of(groq=down(), vllm=down(), mistral=up()) as world:
        assert (await world.post(headers=headers)).status_code == 201
        assert asked(world) == ["groq", "vllm", "mistral"]


def each(values: list[str], *ids: str) -> list[object]:
    return [pytest.param(value, marks=pytest.mark.contract(*ids), id=value[:24]) for value in values]


NO_JSON = ["openai", "openai,azure", "['openai']", '["openai",]', '["openai"] x', "[", "NaN"]
NO_NAMES = [
    '"openai"',
    '{"openai":1}',
    "null",
    "[]",
    '["openai",1]',
    '[["openai"]]',
    '["openai",""]',
    '["openai",null]',
]
NO_MODEL = ['["openai/"]', '["/gpt-9"]', '["/"]']


@pytest.mark.parametrize(
    "value",
    [
        *each(NO_JSON, "2.sequence.not-json"),
        *each([*NO_NAMES, *NO_MODEL], "2.sequence.bad-items"),
        *each([json.dumps(["openai"] * 17)], "2.sequence.too-many", "8.attempts"),
        *each(['["openai","nobody"]', '["OpenAI"]', '[" openai"]', '["openai "]'], "2.sequence.unknown-provider"),
    ],
)
async def test_a_sequence_that_cannot_be_followed_is_a_400_that_names_the_header(value: str) -> None:
    async with gateway_of(openai=up(), azure=up()) as world:
        error = refusal(await world.post(headers={SEQUENCE: value}))
        assert error["param"] == SEQUENCE
        assert SEQUENCE in error["message"]
        assert world.calls() == []


@pytest.mark.contract("2.sequence.unknown-provider")
async def test_the_refusal_of_an_unknown_provider_names_those_that_are_configured() -> None:
    async with gateway_of(openai=up(), groq=up()) as world:
        message = refusal(await world.post(headers=sequence("opneai")))["message"]
        assert "openai, groq" in message


@pytest.mark.contract("2.sequence.too-many", "8.attempts")
async def test_16_items_are_not_too_many() -> None:
    async with gateway_of(openai=up()) as world:
        assert (await world.post(headers=sequence(*["openai"] * 16))).status_code == 201


@pytest.mark.contract("2.sequence.max-attempts", "8.attempts")
@pytest.mark.parametrize(("limits", "tried"), [(None, 5), (Limits(attempts=2), 2), (Limits(attempts=16), 8)])
async def test_at_most_so_many_are_tried_whatever_the_list_says(limits: Limits | None, tried: int) -> None:
    async with gateway_of(openai=down(), limits=limits) as world:
        reply = await world.post(headers=sequence(*(f"openai/m{index}" for index in range(8))))
        assert reply.status_code == 502
        assert reply.headers["x-opengateway-attempts"] == str(tried)
        models = [request.json["model"] for request in world.upstreams["openai"].requests]
        assert models == [f"m{index}" for index in range(tried)]
