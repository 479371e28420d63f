"""SECURITY.md says nothing that no test holds: each sentence of its lists is mapped to tests, and these exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

# The beginning of a sentence -> tests that hold it.
HELD = {
    "Parameters and training state": (
        "tests/packaging/test_source.py::test_nothing_is_evaluated_unpickled_or_seeded_globally",
        "tests/trainers/test_checkpoint.py::test_the_newest_checkpoint_comes_back_with_its_state",
    ),
    "A checkpoint is used only": (
        "tests/trainers/test_checkpoint.py::test_any_single_changed_byte_is_found",
        "tests/trainers/test_drill_controls.py::test_damaged_files_are_found_and_so_is_a_reader_that_believes_them",
    ),
    "A model's own code": (
        "tests/agents/test_model_files.py::test_code_of_a_model_folder_never_runs_and_nobody_is_asked",
        "tests/agents/test_model_files.py::test_pickled_parameters_are_not_opened",
        "tests/packaging/test_source.py::test_a_models_own_code_is_never_trusted_by_default",
    ),
    "YAML is read": (
        "tests/packaging/test_source.py::test_nothing_is_evaluated_unpickled_or_seeded_globally",
        "tests/trainers/test_config.py::test_an_unknown_key_fails_and_names_the_nearest_and_the_file",
    ),
    "Archives and JSON": (
        "tests/envs/test_bounded_files.py::test_many_small_values_are_refused_before_they_take_memory",
        "tests/envs/test_bounded_files.py::test_a_gzipped_file_unpacks_to_what_its_size_allows",
        "tests/trainers/test_study_archive.py::test_a_small_file_takes_little_memory_and_no_stack",
    ),
    "No member of an archive": (
        "tests/envs/test_bounded_files.py::test_a_zip_file_unpacks_within_its_bounds_and_its_folder",
        "tests/trainers/test_study_archive.py::test_a_damaged_or_hostile_file_is_refused_with_its_name",
    ),
    "Game files are parsed": (
        "tests/envs/test_household_grammar.py::test_no_expression_text_does_anything_but_compile_or_be_refused",
        "tests/envs/test_household_grammar.py::test_a_malformed_grammar_says_what_was_expected",
    ),
    "Evaluation sets, configurations": (
        "tests/trainers/test_run_checks.py::test_what_was_changed_is_said_by_report_and_by_recorded_evaluations",
        "tests/trainers/test_study_archive.py::test_a_result_that_was_changed_is_refused_in_the_folder_and_in_the_file",
    ),
    "An action is cut": (
        "tests/envs/test_core.py::test_any_text_is_cleaned_to_one_bounded_encodable_printable_line",
        "tests/envs/test_household_hostile.py::test_five_thousand_hostile_texts_leave_the_native_game_as_it_is",
        "tests/trainers/test_drills.py::test_hostile_text_is_a_step_and_no_more",
    ),
    "Text inside an observation": (
        "tests/trainers/test_drills.py::test_hostile_text_is_a_step_and_no_more",
        "tests/trainers/test_drill_controls.py::test_a_text_that_becomes_a_control_token_and_one_that_raises_are_found",
    ),
    "What an environment returns": (
        "tests/trainers/test_replies.py::test_what_no_episode_can_be_made_of_is_refused_and_named",
        "tests/trainers/test_workers.py::test_every_kind_of_fault_costs_one_episode_at_most_and_is_named",
    ),
    "Worker processes end": (
        "tests/trainers/test_workers.py::test_workers_end_with_the_trainer_even_when_it_is_killed_in_the_middle_of_a_step",
    ),
    "No prompt of a student": (
        "tests/agents/test_teacher.py::test_the_canary_is_whole_in_every_teacher_reading_and_in_no_students",
        "tests/trainers/test_drills.py::test_planted_secrets_stay_where_they_belong",
        "tests/trainers/test_report_security.py::test_privileged_text_is_in_a_report_only_when_asked_for_and_the_page_says_so",
    ),
    "Privileged text is logged": (
        "tests/trainers/test_run_directory.py::test_the_privileged_log_exists_only_when_asked_for",
        "tests/trainers/test_run_directory.py::test_the_privileged_log_is_for_its_owner_alone",
    ),
    "Of an exception": (
        "tests/trainers/test_replies.py::"
        "test_an_exceptions_text_goes_to_standard_error_once_and_into_no_log_but_the_privileged_one",
    ),
    "A run opens no connection": (
        "tests/integration/test_trainer.py::test_a_run_opens_no_connection_and_listens_nowhere",
    ),
    "A model is sent to the Hub": (
        "tests/trainers/test_model_card.py::test_one_file_speaks_to_the_hub_and_only_the_two_words_call_it",
        "tests/trainers/test_model_card.py::test_a_folder_is_sent_to_a_private_repository_and_only_files_of_a_model",
    ),
    "`sdar serve-store` listens": ("tests/envs/test_patient_http.py::test_the_store_listens_on_this_machine_alone",),
    "`sdar serve-retrieval` listens": (
        "tests/envs/test_patient_http.py::test_retrieval_listens_on_this_machine_unless_it_is_told_otherwise",
    ),
    "Both refuse foreign": (
        "tests/envs/test_webshop_server.py::test_a_foreign_host_name_is_refused",
        "tests/envs/test_searchqa_server.py::test_a_foreign_host_name_is_refused",
    ),
    "The store refuses forms": (
        "tests/envs/test_webshop_server.py::test_forms_of_other_sites_are_refused",
        "tests/envs/test_webshop_server.py::test_a_form_that_does_not_say_where_it_is_from_is_refused",
    ),
    "No address of the store": (
        "tests/envs/test_webshop_server.py::test_there_is_no_address_but_the_stores_own",
        "tests/envs/test_webshop_server.py::test_ids_of_visits_are_long_random_and_all_different",
        "tests/envs/test_webshop_server.py::test_a_visit_ends_when_it_rests_too_long_and_asking_for_it_is_no_rest",
    ),
    "Clients that send or read slowly": (
        "tests/envs/test_searchqa_server.py::"
        "test_half_sent_heads_keep_nobody_out_and_end_on_a_fresh_connection_and_on_a_used_one",
        "tests/integration/test_cli_serve_store.py::test_half_sent_heads_keep_nobody_out_of_the_store",
    ),
    "Bodies and answers under way": (
        "tests/envs/test_searchqa_server.py::"
        "test_who_does_not_read_an_answer_is_dropped_and_answers_under_way_are_bounded_in_bytes",
        "tests/envs/test_patient_http.py::test_bodies_that_would_take_too_much_together_are_told_to_come_back",
    ),
    "The store's pages and answers": (
        "tests/envs/test_webshop_server.py::test_every_answer_forbids_scripts_frames_and_foreign_sources",
    ),
    "A report requests nothing": (
        "tests/trainers/test_report_security.py::"
        "test_hostile_text_gives_the_elements_and_attributes_that_harmless_text_gives",
        "tests/trainers/test_report_security.py::test_the_policy_allows_this_style_and_this_script_and_nothing_else",
    ),
}


def sentences() -> list[str]:
    """The items of the page's lists."""
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    items = re.findall(r"^- (.*(?:\n  .*)*)", page, re.MULTILINE)
    return [" ".join(item.split()) for item in items]


def test_each_sentence_has_its_tests_and_each_test_its_sentence() -> None:
    found = sentences()
    assert len(found) == len(HELD)
    for sentence, beginning in zip(found, HELD, strict=True):
        assert sentence.startswith(beginning), (sentence, beginning)


def test_the_tests_exist() -> None:
    missing = []
    for tests in HELD.values():
        for test in tests:
            file, _, name = test.partition("::")
            source = (ROOT / file).read_text(encoding="utf-8") if (ROOT / file).is_file() else ""
            if f"def {name}(" not in source:
                missing.append(test)
    assert not missing
