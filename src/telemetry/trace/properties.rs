//! Properties of all trace headers that a client may send.

use proptest::prelude::*;

use super::*;
use crate::json::arbitrary::{cases, in_time, text, wounded};

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_trace_context_is_passed_on_or_is_none(
        parent in wounded("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2,4}(-[a-z]{2})?"),
        state in wounded("([a-z@]{1,9}=[ -~]{0,9},){0,40}"),
        ratio in proptest::option::of(text()),
    ) {
        let tracing = Tracing::from_rate(ratio.as_deref());
        let context = in_time(|| tracing.begin(Some(&parent), Some(&state)));
        for parent in [Some(context.parent()), context.answered_parent()].into_iter().flatten() {
            prop_assert!(parent.is_empty() || parent.len() == 55, "{}", parent);
        }
        prop_assert!(context.answered_state().is_none_or(|state| state.len() <= 512));
        let _ = (tracing.of_entry(&context), tracing.at_delivery(std::str::from_utf8(&parent).ok()), tracing.sampler());
    }

    #[test]
    fn any_baggage_is_valid_or_not(baggage in wounded("([a-z]{0,5}=[!-~]{0,5}(;[a-z]{1,3}=[a-z%0-9]{0,5})?,?){0,70}"), other in text()) {
        in_time(|| {
            let _ = (baggage::check(&String::from_utf8_lossy(&baggage)), baggage::check(&other));
        });
    }
}
