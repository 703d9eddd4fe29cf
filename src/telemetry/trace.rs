//! W3C trace context: parsing, new spans, headers (tests/spec/http-api.md, "12. Trace headers"; tests/spec/delivery.md,
//! "A7. Metadata overrides and trace values", "B20. Trace context at delivery"). Nothing is exported.
//!
//! The API creates a [`TraceContext`] for each request, the event carries it, a delivery continues it.

pub mod baggage;
mod state;

/// The `traceparent` header that means: no trace.
pub const NO_TRACE: &str = "00-00000000000000000000000000000000-0000000000000000-00";

/// Used when `samplingRate` is not a number, as in daprd.
const RATE_OF_NONSENSE: f64 = 0.0001;

/// The longest `tracestate` that is sent back to the client.
const LONGEST_ANSWERED_STATE: usize = 512;

/// The mode of tracing, from `spec.tracing.samplingRate`.
#[derive(Clone, Debug, PartialEq)]
pub enum Tracing {
    /// `samplingRate` unset: contexts are passed on, no spans are created.
    PassOn,
    /// `samplingRate` 0: nothing is read or written.
    Off,
    /// Every request and delivery is a span. Traces that begin here are sampled by this ratio.
    Spans {
        /// 0 to 1.
        ratio: f64,
    },
}

/// The trace of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    parent: Option<TraceParent>,
    state: String,
    is_answered: bool,
}

/// A valid `traceparent`, written as version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TraceParent([u8; 55]);

impl Tracing {
    /// The mode for this text of `samplingRate`.
    pub fn from_rate(rate: Option<&str>) -> Self {
        match rate.unwrap_or_default() {
            "" => Self::PassOn,
            text => match text.parse::<f64>().unwrap_or(RATE_OF_NONSENSE) {
                0.0 => Self::Off,
                ratio => Self::Spans { ratio },
            },
        }
    }

    /// The sampler of traces without a parent, in the words of the SDK that daprd uses.
    pub fn sampler(&self) -> String {
        match self {
            Self::Spans { ratio } if *ratio >= 1.0 => "AlwaysOnSampler".to_owned(),
            Self::Spans { ratio } => format!("TraceIDRatioBased{{{}}}", ratio.max(0.0)),
            Self::PassOn => format!("TraceIDRatioBased{{{RATE_OF_NONSENSE}}}"),
            Self::Off => "TraceIDRatioBased{0}".to_owned(),
        }
    }

    /// The trace of a request with these headers.
    pub fn begin(&self, parent: Option<&[u8]>, state: Option<&[u8]>) -> TraceContext {
        if *self == Self::Off {
            return TraceContext::default();
        }
        let caller = parent.and_then(TraceParent::parse);
        let state = match (caller, state) {
            (Some(_), Some(state)) => state::normalized(state).unwrap_or_default(),
            _ => String::new(),
        };
        TraceContext { parent: self.next_span(caller), state, is_answered: true }
    }

    /// The trace of one event of a bulk publish: in mode `Spans`, a span of its own.
    pub fn of_entry(&self, request: &TraceContext) -> TraceContext {
        TraceContext {
            // A request without a parent is not traced.
            parent: request.parent.and_then(|parent| self.next_span(Some(parent))),
            ..request.clone()
        }
    }

    /// The `traceparent` header of a delivery. `of_event`: the event's attribute `traceparent`, else `traceid`, if it
    /// is a string (tests/spec/delivery.md, "B20. Trace context at delivery").
    pub fn at_delivery(&self, of_event: Option<&str>) -> Option<String> {
        if *self == Self::Off {
            return None;
        }
        let span = self.next_span(TraceParent::parse(of_event?.as_bytes()));
        Some(span.as_ref().map_or(NO_TRACE, TraceParent::as_str).to_owned())
    }

    /// The span after the caller's: a new one in mode `Spans`, else the caller's.
    fn next_span(&self, caller: Option<TraceParent>) -> Option<TraceParent> {
        match self {
            Self::Off => None,
            Self::PassOn => caller,
            Self::Spans { ratio } => Some(match caller {
                Some(caller) => caller.child(),
                None => TraceParent::root(fastrand::f64() < *ratio),
            }),
        }
    }
}

impl TraceContext {
    /// `traceparent` for events; empty if there is no trace.
    pub fn parent(&self) -> &str {
        self.parent.as_ref().map_or("", TraceParent::as_str)
    }

    /// `tracestate` for events; may be empty.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// The `traceparent` header of the answer, if it has one.
    pub fn answered_parent(&self) -> Option<&str> {
        self.is_answered.then(|| self.parent.as_ref().map_or(NO_TRACE, TraceParent::as_str))
    }

    /// The `tracestate` header of the answer, if it has one.
    pub fn answered_state(&self) -> Option<&str> {
        (1..=LONGEST_ANSWERED_STATE).contains(&self.state.len()).then_some(&*self.state)
    }
}

impl TraceParent {
    /// Parse any version up to `fe`. Ids must be in small letters and not all zero; of the flags the first byte counts.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = text.split(|byte| *byte == b'-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |part: &[u8]| part.iter().all(u8::is_ascii_hexdigit);
        let is_id = |part: &[u8], length: usize| {
            part.len() == length
                && part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
                && part.iter().any(|byte| *byte != b'0')
        };
        let is_valid = version.len() == 2
            && is_hex(version)
            && !version.eq_ignore_ascii_case(b"ff")
            && (version != b"00" || parts.next().is_none())
            && is_id(trace, 32)
            && is_id(span, 16)
            && flags.len() >= 2
            && flags.len() % 2 == 0
            && is_hex(flags);
        is_valid.then(|| Self::of(trace, span, &flags[..2].to_ascii_lowercase()))
    }

    fn root(is_sampled: bool) -> Self {
        let trace = format!("{:032x}", fastrand::u128(1..));
        let flags = if is_sampled { b"01" } else { b"00" };
        Self::of(trace.as_bytes(), &new_span(), flags)
    }

    /// A new span of this trace, with all flags of the parent.
    fn child(&self) -> Self {
        Self::of(&self.0[3..35], &new_span(), &self.0[53..])
    }

    fn of(trace: &[u8], span: &[u8], flags: &[u8]) -> Self {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(trace);
        text[36..52].copy_from_slice(span);
        text[53..].copy_from_slice(flags);
        Self(text)
    }

    fn as_str(&self) -> &str {
        // Only hexadecimal digits and dashes.
        std::str::from_utf8(&self.0).unwrap_or(NO_TRACE)
    }
}

fn new_span() -> [u8; 16] {
    let mut id = [0; 16];
    let mut rest = fastrand::u64(1..);
    for digit in &mut id {
        *digit = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
    }
    id
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const IDS: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

    fn passed_on(parent: &str) -> TraceContext {
        Tracing::PassOn.begin(Some(parent.as_bytes()), Some(b"k=v"))
    }

    #[test]
    fn rates_say_what_tracing_does() {
        let check = |rate: Option<&str>, expected: Tracing| assert_eq!(Tracing::from_rate(rate), expected, "{rate:?}");
        check(None, Tracing::PassOn);
        check(Some(""), Tracing::PassOn);
        check(Some("0"), Tracing::Off);
        check(Some("0.0"), Tracing::Off);
        check(Some("1"), Tracing::Spans { ratio: 1.0 });
        check(Some("-1"), Tracing::Spans { ratio: -1.0 });
        check(Some("abc"), Tracing::Spans { ratio: RATE_OF_NONSENSE });
    }

    #[test]
    fn valid_parents_are_passed_on() {
        let check = |parent: &str, flags: &str| {
            let context = passed_on(parent);
            assert_eq!(context.parent(), format!("00-{IDS}-{flags}"), "{parent}");
            assert_eq!(context.answered_parent(), Some(context.parent()));
            assert_eq!(context.answered_state(), Some("k=v"));
        };
        for flags in ["00", "01", "02", "ff"] {
            check(&format!("00-{IDS}-{flags}"), flags);
        }
        check(&format!("00-{IDS}-0F"), "0f");
        check(&format!("00-{IDS}-0102"), "01");
        check(&format!("01-{IDS}-01-more"), "01");
        check(&format!("cc-{IDS}-01"), "01");
        check(&format!("0A-{IDS}-01"), "01");
    }

    #[test]
    fn invalid_parents_are_none() {
        let zeros = "0".repeat(32);
        for parent in [
            "",
            "nonsense",
            &PARENT.to_uppercase(),
            &format!("00-{zeros}-00f067aa0ba902b7-01"),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            &format!("ff-{IDS}-01"),
            &format!("FF-{IDS}-01"),
            &format!("0-{IDS}-01"),
            &format!("0x-{IDS}-01"),
            &format!("{PARENT}-more"),
            &format!("00-{IDS}"),
            &format!("00-{IDS}-1"),
            &format!("00-{IDS}-011"),
            &format!("00-{IDS}-zz"),
            &format!("00-{}-01", &IDS[1..]),
            &format!("00-x{}-01", &IDS[1..]),
        ] {
            let context = passed_on(parent);
            assert_eq!(context.parent(), "", "{parent}");
            assert_eq!(context.answered_parent(), Some(NO_TRACE), "{parent}");
            assert_eq!(context.answered_state(), None, "{parent}");
        }
    }

    #[test]
    fn a_long_state_is_for_the_event_only() {
        let state = format!("a={},b={},c={}", "v".repeat(200), "v".repeat(200), "v".repeat(200));
        let context = Tracing::PassOn.begin(Some(PARENT.as_bytes()), Some(state.as_bytes()));
        assert_eq!(context.state(), state);
        assert_eq!(context.answered_state(), None);
    }

    #[test]
    fn spans_continue_the_trace_under_a_new_id() {
        let tracing = Tracing::Spans { ratio: 1.0 };
        for flags in ["00", "01", "03"] {
            let parent = format!("00-{IDS}-{flags}");
            let context = tracing.begin(Some(parent.as_bytes()), None);
            assert_eq!(context.parent()[..36], parent[..36]);
            assert_ne!(context.parent()[36..52], parent[36..52]);
            assert_eq!(context.parent()[52..], parent[52..]);
        }
    }

    #[test]
    fn every_entry_is_a_span_if_there_are_spans() {
        let request = passed_on(PARENT);
        assert_eq!(Tracing::PassOn.of_entry(&request), request);
        let tracing = Tracing::Spans { ratio: 1.0 };
        let (first, second) = (tracing.of_entry(&request), tracing.of_entry(&request));
        assert_eq!(first.parent()[..36], PARENT[..36]);
        assert_ne!(first.parent(), second.parent());
        let untraced = TraceContext::default();
        assert_eq!(tracing.of_entry(&untraced), untraced);
    }

    #[test]
    fn roots_are_sampled_by_the_ratio() {
        for (ratio, flags) in [(1.0, "01"), (5.0, "01"), (-1.0, "00"), (1e-300, "00")] {
            let context = Tracing::Spans { ratio }.begin(None, None);
            assert!(context.parent().ends_with(flags), "{ratio}");
            assert_ne!(context.parent()[..52], NO_TRACE[..52]);
            assert!(TraceParent::parse(context.parent().as_bytes()).is_some());
        }
    }

    #[test]
    fn switched_off_means_nothing_at_all() {
        let context = Tracing::Off.begin(Some(PARENT.as_bytes()), Some(b"k=v"));
        assert_eq!(context, TraceContext::default());
        assert_eq!((context.answered_parent(), context.answered_state()), (None, None));
        assert_eq!(Tracing::Off.at_delivery(Some(PARENT)), None);
    }

    #[test]
    fn a_delivery_continues_the_trace_of_the_event() {
        let check = |of_event: Option<&str>, expected: Option<&str>| {
            assert_eq!(Tracing::PassOn.at_delivery(of_event).as_deref(), expected, "{of_event:?}");
        };
        check(Some(PARENT), Some(PARENT));
        check(Some(""), Some(NO_TRACE));
        check(Some("mine"), Some(NO_TRACE));
        check(None, None);
        let tracing = Tracing::Spans { ratio: 1.0 };
        assert_eq!(tracing.at_delivery(Some(PARENT)).unwrap()[..36], PARENT[..36]);
        assert!(tracing.at_delivery(Some("")).unwrap().ends_with("-01"));
        assert_eq!(tracing.at_delivery(None), None);
    }
}
