//! Who acknowledges an event (`ack`, an extension: daprd has no such setting): the app when it is done with it, or the broker before it
//! delivers it.

/// The name of the setting, in a component and in a subscription.
pub const ACK: &str = "ack";

/// When an event counts as delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// When the app is done with it; until then it is delivered again: at least once (D1).
    #[default]
    Explicit,
    /// Before the app gets it: at most once.
    None,
}

impl Ack {
    /// Read a value.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "explicit" => Ok(Self::Explicit),
            "none" => Ok(Self::None),
            _ => Err(format!("ack {text:?} is neither \"explicit\" nor \"none\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_in_any_case() {
        #[track_caller]
        fn check(value: &str, expected: Result<Ack, &str>) {
            assert_eq!(Ack::read(value), expected.map_err(str::to_owned), "{value}");
        }
        check("none", Ok(Ack::None));
        check(" None ", Ok(Ack::None));
        check("explicit", Ok(Ack::Explicit));
        check("", Err("ack \"\" is neither \"explicit\" nor \"none\""));
        check("no", Err("ack \"no\" is neither \"explicit\" nor \"none\""));
    }
}
