"""Everything public in `_wire` and `_rules` has a property that is tried with any input, and this table says which.

A new function stands in no line of it, and the test fails until it does. `fuzz:NAME` is a target of `tests.fuzz`; all
else is a test with hypothesis, or a state machine.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from .fuzz.all import TARGETS

ROOT = Path(__file__).parent

VALUE = "value"
"""A record or an exception: it does nothing, so there is nothing to try."""

PROPERTIES = {
    "_wire.accept": {
        "preferred": "wire/test_accept.py::test_whatever_the_header_says_the_answer_is_one_of_those_offered_or_none"
    },
    "_wire.answer": {
        "Answer": VALUE,
        "read_answer": "fuzz:answer",
        "surrogates_paired": "wire/test_answer.py::test_surrogates_are_paired_or_not_wherever_the_text_is_cut",
        "media": "wire/test_properties.py::test_what_headers_say_of_a_body_is_one_of_five_and_a_yes_or_no",
        "encoded": "wire/test_properties.py::test_what_headers_say_of_a_body_is_one_of_five_and_a_yes_or_no",
    },
    "_wire.body": {
        "read_body": "fuzz:body",
        "body_for": "fuzz:body",
        "elements": "wire/test_properties.py::test_elements_are_where_the_values_of_an_array_stand",
    },
    "_wire.chunks": {
        "Chunk": VALUE,
        "glance": "fuzz:chunk",
        "unflagged": "fuzz:unflagged",
        "read_chunk": "fuzz:chunk",
        "object_choices": "wire/test_properties.py::test_looking_at_any_object_never_fails",
        "is_error": "wire/test_properties.py::test_looking_at_any_object_never_fails",
    },
    "_wire.endpoint": {"read_endpoint": "fuzz:urls"},
    "_wire.envelope": {
        "read_error": "fuzz:error",
        "read_error_value": "wire/test_envelope.py::test_reading_is_total_and_what_was_read_can_be_written",
        "render_error": "wire/test_envelope.py::test_any_text_becomes_one_line_of_ascii_with_strings_and_nulls",
        "interruption": "fuzz:error",
        "without_null_error": "wire/test_envelope.py::test_cutting_null_errors_leaves_every_other_member_as_it_was",
    },
    "_wire.fields": {
        "missing": "wire/test_properties.py::test_a_refusal_says_where_and_what_and_no_more",
        "wrong_type": "wire/test_properties.py::test_a_refusal_says_where_and_what_and_no_more",
        "wrong_value": "wire/test_properties.py::test_a_refusal_says_where_and_what_and_no_more",
        "is_model": "wire/test_properties.py::test_what_may_be_a_models_name_can_be_sent",
        "check_fields": "wire/test_properties.py::test_fields_are_good_or_a_400_that_names_one_and_repeats_no_value",
        "calls_are_text": "wire/test_properties.py::test_looking_at_any_object_never_fails",
    },
    "_wire.forwarding": {
        "upstream_headers": "fuzz:headers",
        "downstream_headers": "fuzz:retry_after",
        "server_timing": "wire/test_properties.py::test_a_timing_has_one_entry_an_attempt_and_shows_no_model",
        "traceparent": "wire/test_properties.py::test_a_traceparent_reads_back",
    },
    "_wire.headers": {
        "header_values": "fuzz:headers",
        "refuse_repeats": "fuzz:headers",
        "refuse_two_lengths": "fuzz:headers",
        "refuse_two_tokens": "fuzz:headers",
        "refuse_media": "fuzz:headers",
        "announced_length": "fuzz:headers",
        "read_request_id": "fuzz:headers",
        "read_options": "fuzz:headers",
    },
    "_wire.masking": {"Mask": "wire/test_masking.py::test_nothing_masked_is_left_wherever_it_stood"},
    "_wire.members": {
        "InvalidJSON": VALUE,
        "Member": VALUE,
        "read_value": "wire/test_properties.py::test_members_are_what_stands_there_and_where",
        "read_document": "wire/test_properties.py::test_any_text_is_json_for_the_standard_library_too_or_invalid",
        "read_members": "wire/test_properties.py::test_members_are_what_stands_there_and_where",
    },
    "_wire.onepass": {"Cut": VALUE, "cut_at_quotes": "fuzz:at_once", "read_at_once": "fuzz:at_once"},
    "_wire.patient": {"Patient": "fuzz:patient"},
    "_wire.prefill": {
        "can_be_continued": "wire/test_properties.py::test_nothing_but_one_plain_text_can_be_continued",
        "prefilled": "fuzz:prefill",
    },
    "_wire.report": {
        "Report": "wire/test_report.py::test_no_answer_makes_a_report_fail",
        "read_usage": "wire/test_report.py::test_no_answer_makes_a_report_fail",
    },
    "_wire.retry_after": {"read_retry_after": "fuzz:retry_after"},
    "_wire.spellings": {
        **dict.fromkeys(["odd", "unescaped"], "wire/test_spellings.py::test_a_text_without_odd_marks_is_not_escaped"),
        **dict.fromkeys(
            ["codes", "shortest_code"],
            "wire/test_spellings.py::test_every_code_is_in_the_base64_of_whatever_holds_the_secret",
        ),
        **dict.fromkeys(
            ["without_codes", "without_cut", "without_hints"],
            "wire/test_spellings.py::test_what_is_taken_out_is_out_and_the_rest_stays",
        ),
    },
    "_wire.sse": {
        "EventTooLarge": VALUE,
        "Event": VALUE,
        "Comment": VALUE,
        "frame": "wire/test_sse.py::test_what_we_frame_we_read_back",
        "frame_comment": "wire/test_sse.py::test_a_framed_comment_is_one_comment_in_valid_utf_8",
        "is_done": "wire/test_properties.py::test_an_end_is_an_end_whatever_stands_around_it",
        "SSEDecoder": "fuzz:sse",
    },
    "_wire.structure": {
        "refuse_structure": "fuzz:structure",
        "refuse_width": "fuzz:structure",
        "takes_long": "wire/test_structure.py::test_what_takes_long_is_found_by_its_commas_escapes_and_digits",
        "has_more_structure": "wire/test_structure.py::test_the_measure_agrees_with_the_parsed_value",
        "too_many_members": "wire/test_properties.py::test_a_refusal_says_where_and_what_and_no_more",
    },
    "_wire.transcript": {
        "Transcript": "fuzz:transcript",
        "delta_of": "wire/test_properties.py::test_looking_at_any_object_never_fails",
        "has_more_than_text": "wire/test_properties.py::test_looking_at_any_object_never_fails",
        "is_other": "wire/test_properties.py::test_looking_at_any_object_never_fails",
        "text_of": "fuzz:transcript",
        "with_text": "fuzz:transcript",
    },
    "_rules.addresses": {
        "Place": VALUE,
        "place_of": "rules/test_addresses.py::test_any_address_has_a_kind_and_lies_where_it_says",
        "lies_within": "rules/test_addresses.py::test_a_network_lies_in_another_when_all_of_it_does",
        "is_never": "rules/test_addresses.py::test_a_network_lies_in_another_when_all_of_it_does",
    },
    "_rules.budget": {
        "Rate": VALUE,
        "Bucket": "rules/test_properties.py::test_a_bucket_holds_no_more_than_it_may_though_its_clock_goes_back",
    },
    "_rules.charge": {
        "Charge": VALUE,
        "charge": "rules/test_properties.py::test_a_charge_never_blames_two_and_its_times_are_within_bounds",
    },
    "_rules.circuit": {
        **dict.fromkeys(["Result", "Lease", "Circuit"], VALUE),
        **dict.fromkeys(["Admitted", "Succeeded", "Failed", "Late", "Released", "Outrun", "Cooled"], VALUE),
        "transition": "rules/test_circuit_model.py::Lives",
        "anchored": "rules/test_properties.py::test_a_clock_that_goes_back_makes_nothing_longer",
    },
    "_rules.classify": {"classify": "rules/test_classify.py::test_every_outcome_has_a_verdict_that_makes_sense"},
    "_rules.conclude": {
        "Ended": VALUE,
        "conclude": "rules/test_properties.py::test_the_last_word_is_a_status_of_the_contract",
    },
    "_rules.continuation": {
        "Stitch": "fuzz:stitch",
        "shown": "rules/test_properties.py::test_only_what_is_shown_is_prefilled",
        "may_go_on": "rules/test_properties.py::test_nobody_goes_on_with_more_than_text_nor_for_ever",
        "mode_of": "rules/test_properties.py::test_only_what_is_shown_is_prefilled",
        "asks_again": "rules/test_properties.py::test_only_whoever_was_shown_the_text_is_asked_again",
        "tokens_of": "rules/test_properties.py::test_tokens_are_never_fewer_than_none_nor_more_than_reported",
    },
    "_rules.cooldown": {
        "cooldown_s": "rules/test_cooldown.py::test_it_is_never_shorter_than_a_second_nor_longer_than_five_minutes",
    },
    "_rules.denials": {
        "Denials": "rules/test_denials.py::test_nobody_is_denied_more_than_ten_times_and_one_every_six_seconds"
    },
    "_rules.egress": {
        "AllowList": "rules/test_properties.py::test_a_list_of_origins_allows_those_and_no_others",
        "Entry": "rules/test_egress.py::test_no_entry_permits_what_nobody_may_name_or_what_it_does_not_say",
        "Guard": "rules/test_egress.py::test_no_entry_permits_what_nobody_may_name_or_what_it_does_not_say",
    },
    "_rules.failover": {"Failover": "rules/test_failover_model.py::Requests"},
    "_rules.first_chunks": {
        "FirstChunks": "rules/test_first_chunks.py::test_it_is_the_quantile_of_the_last_hundred_whatever_came_before",
    },
    "_rules.outlook": {
        "Outlook": VALUE,
        "outlook": "rules/test_outlook.py::"
        "test_every_position_is_asked_once_or_left_out_and_the_first_is_whom_a_request_asks",
    },
    "_rules.overhead": {"own_time_s": "rules/test_overhead.py::test_it_is_what_a_count_of_seconds_says"},
    "_rules.plan": {
        "ProviderFacts": VALUE,
        "GuardFor": VALUE,
        "Catalogue": "rules/test_properties.py::test_a_plan_asks_whom_it_may_as_it_was_told_or_is_refused",
        "make_plan": "rules/test_properties.py::test_a_plan_asks_whom_it_may_as_it_was_told_or_is_refused",
    },
    "_rules.ready": {
        "may_be_tried": "rules/test_ready.py::test_whatever_is_open_its_time_runs_out_and_then_it_is_ready",
    },
    "_rules.shared": {
        **dict.fromkeys(["Word", "News"], VALUE),
        "news": "rules/test_shared.py::test_what_is_no_news_changes_nothing_that_could_be_said",
        "word_of": "rules/test_shared.py::test_whoever_knew_nothing_is_as_well_told_as_whoever_saw_it",
        "aged": "rules/test_shared.py::test_a_word_ages_as_what_it_says_does",
        "longest_s": "rules/test_shared.py::test_nothing_gets_longer_by_a_word_than_it_could_have_got_here",
        "heard": "rules/test_shared.py::test_nothing_gets_longer_by_a_word_than_it_could_have_got_here",
    },
    "_rules.shares": {
        "Share": VALUE,
        "Shares": "rules/test_properties.py::test_a_share_is_some_time_within_the_total_and_leaves_some_to_others",
    },
    "_rules.standing": {
        "Standing": VALUE,
        "standing": "rules/test_standing.py::test_a_second_circuit_never_makes_it_better",
        "reason": "rules/test_outlook.py::test_whoever_is_not_ready_has_a_reason_and_nobody_else",
        "uncooled": "rules/test_properties.py::test_without_its_cooldown_a_target_waits_for_nothing",
    },
    "_rules.steps": {"Try": VALUE, "GiveUp": VALUE},
    "_rules.table": {
        "Verdict": VALUE,
        "Row": VALUE,
        "blames_the_key": "rules/test_properties.py::test_the_key_is_blamed_by_a_word_or_its_name_and_by_no_parameter",
        "blames_the_request": "rules/test_properties.py::test_the_request_is_blamed_by_a_word_and_not_by_a_text",
    },
    "_rules.trail": {"line_of": "rules/test_properties.py::test_a_line_of_the_trail_shows_no_sentence"},
}


def public() -> Iterator[tuple[str, str]]:
    """Module and name of every public function and class that is defined there."""
    for room in ("_wire", "_rules"):
        package = import_module(f"ogw_asgi.{room}")
        for found in iter_modules(package.__path__):
            module = import_module(f"{package.__name__}.{found.name}")
            for name, one in vars(module).items():
                here = getattr(one, "__module__", None) == module.__name__
                if here and not name.startswith("_") and (inspect.isfunction(one) or inspect.isclass(one)):
                    yield f"{room}.{found.name}", name


def tried_with_any_input(path: Path) -> set[str]:
    """The tests of a file that hypothesis feeds."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef) and "RuleBasedStateMachine" in map(ast.unparse, node.bases):
            names.add(node.name)
        if isinstance(node, ast.FunctionDef):
            decorators = map(ast.unparse, node.decorator_list)
            if any(decorator.startswith("given(") for decorator in decorators):
                names.add(node.name)
    return names


def test_every_public_callable_stands_in_the_table_and_nothing_else_does() -> None:
    listed = {(module, name) for module, names in PROPERTIES.items() for name in names}
    assert set(public()) - listed == set(), "name the property that covers it"
    assert listed - set(public()) == set()


@pytest.mark.parametrize("module", PROPERTIES)
def test_the_properties_of_the_table_are_there_and_use_what_they_cover(module: str) -> None:
    for name, covered_by in PROPERTIES[module].items():
        if covered_by == VALUE:
            one = vars(import_module(f"ogw_asgi.{module}"))[name]
            assert inspect.isclass(one), name
            continue
        if covered_by.startswith("fuzz:"):
            judge = TARGETS[covered_by.removeprefix("fuzz:")].judge
            source = inspect.getsource(import_module(judge.__module__))
        else:
            path, _, test = covered_by.partition("::")
            assert test in tried_with_any_input(ROOT / path), covered_by
            source = (ROOT / path).read_text("utf-8")
        uses = sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(ast.parse(source)))
        assert uses >= 1, f"{covered_by} does not use {name}"
