//! `docs/contract.md`, clause by clause, over real HTTP.
//!
//! Each test is written once; [`contract!`] stamps it for each database, and each run starts a server of its own on a
//! database of its own. With `ENGAGEMENT_TEST_URL` (and `ENGAGEMENT_TEST_API_KEY`) the tests are put to that server
//! instead, once, under the name of the default database; those that need special settings then say that they are skipped.
//!
//! The first words of a test's comment are the clauses that it proves.

mod again;
mod api_keys;
mod assistant;
mod behind;
mod bodies;
mod clauses;
mod control;
mod cors;
mod counting;
mod deletion;
mod documents;
mod durability;
mod edge;
mod errors;
mod events;
mod framing;
mod hosts;
mod inside;
mod json;
mod keys;
mod limits;
mod links;
mod logging;
mod methods;
mod metrics;
mod once;
mod operations;
mod options;
mod overload;
mod owners;
mod paging;
mod problems;
mod proxies;
mod retry;
mod routes;
mod scopes;
mod search;
mod service;
mod shapes;
mod smuggling;
mod stream_limits;
mod streams;
mod throttling;
mod walking;

use std::fmt::{Debug, Display};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::Answer;
use behind::Behind;
use service::{Database, Service};

/// Stamps tests for every database: `contract! { module: test, …; … }`. The compiler complains of a test that is left out,
/// because nothing calls it.
macro_rules! contract {
    ($($module:ident: $($test:ident),+;)+) => {
        mod on_sqlite {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
                async fn $test() {
                    $crate::contract::$module::$test($crate::contract::Database::Sqlite).await;
                })+
            })+
        }

        mod on_postgres {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
                async fn $test() {
                    // Without a server, this has been said.
                    if let Some(on) = $crate::contract::Database::postgres().await {
                        $crate::contract::$module::$test(on).await;
                    }
                })+
            })+
        }
    };
}

contract! {
    again: every_route_that_is_posted_to_takes_the_header_alike,
        a_model_that_went_out_of_the_configuration_is_no_reason_to_refuse_what_was_done,
        who_asks_before_sending_is_answered_again_when_the_conversation_is_gone;
    api_keys: a_key_is_made_shown_used_and_taken_back, keys_are_for_administrators_and_have_one_prefix,
        a_key_is_judged_field_by_field, a_key_that_is_not_there_is_not_found, a_rotated_key_goes_on_for_a_while,
        the_streams_of_a_key_end_with_it;
    assistant: the_first_rule_that_matches_answers, every_user_message_gets_one_answer_placed_after_it,
        an_assistant_message_triggers_nothing, messages_that_arrive_together_get_their_own_answers;
    bodies: required_fields_are_required, only_a_title_may_be_null, a_title_may_be_absent_null_or_empty,
        the_white_space_around_a_string_goes, a_description_and_a_text_may_not_be_blank,
        a_string_is_a_string, nul_and_half_surrogates_are_refused_by_name, every_other_character_is_kept,
        a_role_is_user_or_assistant_and_nothing_else, all_wrong_fields_are_reported_at_once,
        unknown_fields_are_ignored;
    control: messages_of_a_busy_conversation_queue, a_busy_conversation_can_reject_a_message,
        a_message_can_interrupt_what_is_being_written, a_message_says_itself_what_to_do_when_busy,
        the_rules_are_never_busy, cancelling_keeps_what_was_written, cancelling_before_the_first_word_keeps_nothing,
        a_final_reply_cannot_be_cancelled, bodies_of_orders_are_ignored, a_client_that_leaves_cancels_nothing;
    cors: no_origin_is_allowed_unless_it_is_listed, a_listed_origin_is_allowed_by_its_own_name,
        a_preflight_allows_the_methods_and_headers_for_ten_minutes, a_page_may_read_refusals_and_what_they_say;
    counting: requests_are_counted_by_route_and_status, replies_are_counted_when_they_end,
        refusals_and_replays_are_counted, streams_are_counted_while_they_last, a_provider_that_fails_shows,
        a_provider_that_is_left_alone_shows;
    deletion: a_deleted_conversation_is_gone_with_everything_in_it, a_message_is_deleted_once,
        deleting_a_message_whose_reply_is_under_way_leaves_no_orphan,
        deleting_a_conversation_while_replies_are_under_way_is_no_error,
        deleting_an_answered_message_leaves_the_answer, deleting_an_answer_leaves_its_reply_without_one,
        a_message_that_meets_a_deletion_is_stored_or_too_late;
    documents: the_document_describes_the_service_to_everybody, the_document_is_open_where_reads_are_closed,
        whoever_has_the_document_is_told_so, the_page_needs_nothing_from_elsewhere, the_document_names_its_own_places;
    durability: what_was_answered_survives_the_death_of_the_process,
        a_request_that_arrived_whole_is_carried_out_once,
        a_client_that_closes_its_side_still_gets_its_answer;
    edge: every_response_has_the_security_headers, browsers_are_sent_to_tls_where_it_is, every_response_has_a_request_id,
        a_request_id_is_kept_if_it_is_well_formed, a_target_of_more_than_8_kib_is_too_long,
        a_head_has_at_most_64_headers_and_16_kib;
    errors: every_error_has_the_envelope_and_its_sentence, the_message_repeats_the_status_line,
        route_method_size_and_key_are_judged_in_this_order,
        key_existence_content_type_size_and_body_are_judged_in_this_order,
        a_500_tells_a_request_id_and_no_cause,
        a_write_that_cannot_be_made_in_time_is_unavailable_and_reads_go_on,
        more_requests_at_once_than_allowed_are_sent_away;
    events: a_stream_has_its_headers_and_tells_when_to_come_back, an_answer_of_the_rules_is_told_byte_for_byte,
        numbers_belong_to_their_conversation, after_each_event_comes_exactly_the_rest,
        a_cursor_is_a_number_that_the_conversation_has_reached, head_of_a_stream_is_over_at_once,
        two_see_the_same, what_was_deleted_is_not_told_again, a_stream_is_one_line_of_the_log,
        unknown_things_have_no_streams;
    framing: a_content_length_is_one_number,
        transfer_encoding_wins_over_content_length_and_the_connection_closes,
        a_chunked_body_is_as_good_as_any, a_body_that_takes_too_long_is_timed_out,
        a_head_that_takes_too_long_ends_the_connection,
        a_kept_connection_may_be_silent_but_not_stop_in_a_head, a_client_that_asks_first_is_told_to_go_on,
        a_client_that_asks_first_is_refused_at_once,
        an_early_refusal_reaches_a_client_that_is_still_sending, a_connection_too_many_is_closed_at_once;
    hosts: a_host_is_a_name_or_an_address_perhaps_with_a_port, there_is_exactly_one_host,
        allowed_hosts_are_the_only_ones, links_begin_with_the_host_of_the_request,
        links_begin_with_the_address_where_no_host_was_sent, links_begin_with_the_public_url;
    json: what_is_not_json_is_a_parse_error, json_that_is_no_object_is_refused_by_its_kind,
        a_key_that_comes_twice_is_refused, json_goes_by_several_names, another_content_type_is_unsupported,
        a_post_without_a_content_type_is_unsupported, the_body_of_a_delete_is_ignored;
    keys: every_write_needs_a_key, the_key_is_judged_before_anything_else_is_told,
        spaces_around_a_key_do_not_matter_and_its_case_does,
        there_is_one_header_for_the_key_and_it_comes_once, reading_with_a_wrong_key_works,
        reads_can_be_closed, settings_are_read_with_the_key, a_configured_key_is_the_only_key, the_well_known_key_opens_a_fresh_service;
    limits: strings_have_limits_counted_in_code_points, what_counts_is_code_points_after_trimming,
        a_body_of_2_mib_fits_and_one_byte_more_does_not, a_declared_size_is_judged_before_the_body_comes,
        a_chunked_body_is_judged_as_it_comes, json_nests_64_levels_and_no_deeper,
        a_search_term_has_at_most_256_code_points;
    links: any_parameters_survive_the_round_trip_through_the_links, the_links_name_the_neighbouring_pages,
        the_links_keep_the_prefix_of_the_request, the_links_keep_the_path_of_the_request,
        the_links_lead_through_the_whole_list_and_back;
    logging: every_request_is_one_line, the_log_goes_to_the_console_and_to_the_file,
        the_log_file_can_be_moved_or_switched_off, no_id_key_or_text_is_ever_logged, the_log_can_be_json;
    methods: a_method_that_a_path_does_not_have_is_not_allowed, nothing_lists_conversations,
        head_answers_as_get_does_without_a_body, options_answers_without_a_key_and_lists_the_methods;
    metrics: metrics_are_text_that_prometheus_reads, metrics_are_at_the_root_and_only_read,
        metrics_are_for_this_machine_or_for_a_key_that_may_read_them, a_key_needs_the_scope_for_metrics,
        metrics_can_have_a_listener_of_their_own, metrics_can_be_switched_off, metrics_are_told_while_the_service_is_full;
    once: a_request_that_comes_again_is_answered_again_and_not_carried_out_again, without_a_key_every_request_counts,
        a_key_is_a_string_with_or_without_quotes, a_key_belongs_to_one_request, a_request_under_way_is_a_conflict,
        of_many_at_once_one_is_carried_out, a_refusal_is_not_remembered,
        what_was_answered_is_remembered_across_a_crash_and_without_the_text,
        other_methods_take_no_notice_of_the_header;
    operations: the_probes_answer_at_the_root_without_a_key, a_server_tells_its_address_once_it_is_ready,
        sigterm_lets_requests_finish_and_exits_with_0, a_start_that_fails_says_why_by_its_exit_code;
    options: options_are_kept_and_shown_to_those_with_a_key, null_is_as_good_as_nothing,
        wrong_options_are_all_named_at_once, numbers_have_bounds, assistant_messages_take_no_options,
        a_model_that_nobody_offers_is_refused, a_patch_changes_what_it_names, an_empty_patch_changes_nothing,
        a_patch_is_judged_like_any_body;
    overload: a_full_service_refuses_before_the_body_comes, probes_answer_while_the_service_is_full,
        bodies_have_so_much_room_together, who_declares_much_and_sends_little_takes_little,
        control_a_larger_room_holds_them_all, long_answers_have_so_much_room_together,
        control_a_larger_room_holds_all_answers;
    owners: another_key_finds_nothing_on_any_route, reads_without_a_key_and_successors_see_what_is_there,
        keys_share_conversations_by_default, the_same_idempotency_key_of_two_api_keys_is_two_requests,
        a_key_is_made_once_and_shown_again_to_the_same_only, a_key_is_shown_again_however_the_same_is_asked,
        a_key_has_so_many_unfinished_replies,
        the_service_has_so_many_unfinished_replies, a_key_has_so_many_tokens_in_a_day;
    paging: a_page_beyond_any_list_is_invalid_whatever_else_is_asked, pages_close_the_gaps_that_deletions_leave,
        messages_come_oldest_first_ten_to_a_page, a_page_is_a_number_in_ascii_digits_or_last,
        any_other_page_is_invalid, an_empty_list_has_one_empty_page, a_page_size_is_kept_between_1_and_100,
        of_a_repeated_parameter_the_last_one_counts, a_role_keeps_the_messages_of_that_role,
        an_unknown_conversation_is_not_found_whatever_is_asked;
    problems: whoever_names_problem_json_gets_it_for_every_error, whoever_names_something_else_gets_the_envelope;
    proxies: strangers_are_not_believed, a_trusted_proxy_says_how_the_service_is_called,
        allowed_hosts_judge_what_the_client_asked_for, what_a_proxy_garbles_is_not_believed,
        who_cannot_be_told_counts_as_the_proxy_and_not_as_this_machine,
        streams_are_counted_for_the_client_behind_the_proxy;
    retry: a_failed_reply_can_be_retried, a_new_answer_takes_the_place_of_the_old_one,
        a_retry_that_fails_leaves_the_old_answer, a_reply_under_way_cannot_be_retried;
    routes: every_route_answers_under_both_prefixes_and_with_or_without_a_slash,
        an_id_is_understood_in_either_case, an_id_in_another_spelling_is_not_found,
        a_path_is_cut_into_segments_before_it_is_decoded, an_unknown_path_is_not_found_in_the_envelope,
        creating_tells_where_the_new_thing_is, a_message_is_not_reached_through_another_conversation,
        every_body_is_json_whatever_was_asked_for;
    scopes: a_key_may_do_what_its_scopes_say, closed_reads_take_their_scope, whatever_is_wrong_with_a_key_the_answer_is_the_same;
    search: a_conversation_is_found_by_its_title_or_its_description, a_list_is_filtered_by_text,
        case_does_not_matter_in_any_script, composed_and_decomposed_letters_are_different,
        no_character_is_a_wildcard, a_term_is_taken_as_it_is, what_cannot_be_decoded_stands_for_itself,
        a_term_with_nul_is_refused;
    shapes: a_conversation_has_its_five_fields_in_order, a_message_has_its_six_fields_in_order,
        a_reply_has_its_fields_in_order, an_assistant_message_has_no_reply,
        adding_and_deleting_a_message_moves_the_date_of_the_conversation,
        ids_are_lower_case_uuids_of_their_versions, messages_are_in_the_order_in_which_they_were_stored,
        reading_gives_the_bytes_that_creating_gave, a_page_has_its_four_fields_in_order;
    smuggling: what_is_framed_oddly_is_refused_and_nothing_after_it_is_answered,
        what_is_framed_plainly_is_answered_and_so_is_what_follows,
        nothing_that_a_client_names_a_request_breaks_a_line;
    stream_limits: silence_is_filled_with_comments_and_takes_no_place, there_are_so_many_streams_in_all,
        there_are_so_many_streams_of_a_conversation, there_are_so_many_streams_to_an_address,
        a_stop_ends_streams_at_once, a_stop_does_not_wait_for_who_does_not_read, a_client_that_closes_its_side_ends_its_stream,
        who_does_not_read_misses_nothing;
    streams: a_reply_is_told_as_it_is_written, a_reply_that_starts_anew_is_told_anew,
        forgotten_pieces_come_as_one, a_reply_has_a_stream_of_its_own, the_latest_try_is_what_a_stream_begins_with,
        a_reply_that_was_seen_to_its_end_has_no_more, a_stream_is_asked_for_by_its_type,
        a_deleted_conversation_ends_its_streams, a_failure_is_told_with_its_reason;
    throttling: an_address_reads_so_often_in_a_second, who_has_a_key_or_is_on_this_machine_reads_on,
        an_address_that_gets_too_many_401s_is_not_heard, an_address_that_gets_too_many_404s_is_not_heard,
        a_limit_of_zero_is_none, a_refusal_comes_before_the_body, each_answer_tells_what_is_left,
        a_key_asks_so_often_in_a_second, a_key_creates_so_many_messages_in_a_minute,
        a_key_has_limits_of_its_own_and_hands_them_on;
    walking: a_count_agrees_with_its_page_while_others_write,
        a_walk_through_the_pages_sees_each_message_once_while_others_add,
        a_deletion_moves_the_later_messages_up;
}

/// An id that is well formed and names nothing.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// The bytes of a request head.
fn head(lines: &[&str]) -> String {
    lines.join("\r\n") + "\r\n\r\n"
}

fn not_found() -> Value {
    json!({ "detail": ["Not found."] })
}

/// What is wrong with an answer that should be this error, if anything is.
fn fault(answer: &Answer, code: u16, details: &Value) -> Option<String> {
    let message = match code {
        400 => "Validation or Client Error",
        401 => "Invalid or missing API key",
        404 => "Resource not found",
        500 => "Server error",
        other => StatusCode::from_u16(other)
            .ok()
            .and_then(|code| code.canonical_reason())
            .expect("a reason phrase"),
    };
    let opening = format!(r#"{{"status":"error","code":{code},"message":"{message}","details":{{"#);
    let right = answer.status == code
        && answer.header("content-type") == "application/json"
        && answer.text().starts_with(&opening)
        && answer.json()["details"] == *details;
    (!right).then(|| {
        let (status, kind) = (answer.status, answer.header("content-type"));
        format!(
            "wanted {code} {details}\n     got {status} {kind:?} {:.500}",
            answer.text()
        )
    })
}

#[track_caller]
fn assert_error(answer: &Answer, code: u16, details: &Value) {
    if let Some(fault) = fault(answer, code, details) {
        panic!("{fault}");
    }
}

/// Judges a table and, at its end, names every row that is wrong, not only the first.
#[derive(Default)]
struct Rows {
    wrong: Vec<String>,
}

impl Rows {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a row reads better without ampersands"
    )]
    fn equal<T: PartialEq<U> + Debug, U: Debug>(&mut self, row: impl Display, got: T, wanted: U) {
        if got != wanted {
            self.wrong
                .push(format!("{row}\n  wanted {wanted:?}\n     got {got:?}"));
        }
    }

    fn error(&mut self, row: impl Display, answer: &Answer, code: u16, details: &Value) {
        self.wrong
            .extend(fault(answer, code, details).map(|fault| format!("{row}\n  {fault}")));
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(
                self.wrong.is_empty(),
                "{} rows are wrong:\n{}",
                self.wrong.len(),
                self.wrong.join("\n")
            );
        }
    }
}
