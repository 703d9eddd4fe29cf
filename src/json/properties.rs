//! Properties of all texts, JSON or not.

use proptest::collection::vec;
use proptest::prelude::*;

use super::arbitrary::{blank, cases, in_time, object, string, value, wounded};
use super::*;

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn bytes_as_text_come_back(bytes in vec(any::<u8>(), 0..64)) {
        let mut json = Vec::new();
        push_text(&mut json, &bytes);
        let json = String::from_utf8(json).unwrap();
        prop_assert_eq!(text_of(&json).unwrap(), valid_text(&bytes));
        prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), valid_text(&bytes));
    }

    #[test]
    fn every_value_passes_as_it_is(value in value(), before in blank(), behind in blank()) {
        let body = format!("{before}{value}{behind}");
        prop_assert_eq!(one_value(&body), Some(&*value));
        let among_others = format!("{body} [");
        prop_assert_eq!(first_value(&among_others).unwrap(), Some(&*value));
    }

    #[test]
    fn strings_are_decoded_as_strict_parsers_do(json in string()) {
        let text = text_of(&json).unwrap().into_owned();
        if let Ok(strict) = serde_json::from_str::<String>(&json) {
            prop_assert_eq!(text, strict);
        }
        let mended = without_lone_surrogates(&json);
        prop_assert_eq!(serde_json::from_str::<String>(&mended).unwrap(), text_of(&json).unwrap());
    }

    #[test]
    fn members_are_those_that_were_written(written in vec((string(), value()), 0..6), blank in blank()) {
        let object = object(&written, blank);
        let fields = fields(&object).unwrap();
        let expected: Vec<_> = written.iter().map(|(name, value)| (text_of(name).unwrap(), &**value)).collect();
        prop_assert_eq!(&fields, &expected);
        prop_assert_eq!(members(&object).unwrap(), fields.into_iter().collect());
    }

    #[test]
    fn what_is_no_json_is_refused_and_nothing_more(bytes in wounded(value())) {
        in_time(|| {
            let text = valid_text(&bytes);
            let whole = one_value(&text);
            let is_strict = serde_json::from_str::<IgnoredAny>(&text).is_ok();
            assert_eq!(whole.is_some(), is_strict, "{text:?}");
            if whole.is_some() {
                without_lone_surrogates(&text);
            }
            let _ = (first_value(&text), members(&text), fields(&text), items(&text), text_of(&text));
        });
    }
}
