//! Free ports of this machine. All are held until the last one is found, so that no two are the same.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};

/// Bound while this value lives.
#[derive(Default)]
pub(super) struct Ports {
    taken: Vec<TcpListener>,
    /// Bound for a later request for exactly this port.
    reserved: BTreeMap<u16, TcpListener>,
}

impl Ports {
    /// Hold a port that is requested later, so that it is not chosen as a free one. If it is taken, that request
    /// reports it.
    pub(super) fn reserve(&mut self, port: i64) {
        let port = u16::try_from(port).ok().filter(|port| *port > 0);
        if let Some((port, listener)) = port.and_then(|port| Some((port, listen(port)?))) {
            self.reserved.insert(port, listener);
        }
    }

    /// The requested port, or a free one for none, 0 and less. `name` is for the error.
    ///
    /// # Errors
    /// A text for the console, if it is not a port or is taken.
    pub(super) fn take(&mut self, asked: Option<&str>, name: &str) -> Result<u16, String> {
        let asked = asked.unwrap_or("0");
        let invalid = |why: &str| {
            let asked = if asked.is_empty() { "\"\"" } else { asked };
            format!("invalid configuration for {name}. Port {asked} is {why}")
        };
        let number: i64 = asked.parse().map_err(|_| invalid("no number: use 1 to 65535, or 0 for any that is free"))?;
        let port = u16::try_from(number.max(0))
            .map_err(|_| invalid("not available: use 1 to 65535, or 0 for any that is free"))?;
        let listener = self.reserved.remove(&port).or_else(|| listen(port));
        let listener = listener.ok_or_else(|| {
            invalid("not available: another program has it. Stop that, or use another port, or 0 for any that is free")
        })?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        self.taken.push(listener);
        Ok(address.port())
    }
}

fn listen(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_cannot_be_had_is_named() {
        let mut holder = Ports::default();
        let taken = holder.take(None, "HTTPPort").unwrap().to_string();
        let check = |asked: &str, expected: &str| {
            let error = Ports::default().take(Some(asked), "HTTPPort").unwrap_err();
            let expected = format!("invalid configuration for HTTPPort. Port {expected}");
            assert_eq!(error, expected);
        };
        let any = ", or 0 for any that is free";
        check(
            &taken,
            &format!("{taken} is not available: another program has it. Stop that, or use another port{any}"),
        );
        check("70000", &format!("70000 is not available: use 1 to 65535{any}"));
        check("abc", &format!("abc is no number: use 1 to 65535{any}"));
        check("", &format!("\"\" is no number: use 1 to 65535{any}"));
    }

    #[test]
    fn what_is_reserved_goes_to_the_one_who_asks_for_it_and_only_once() {
        let mut ports = Ports::default();
        // Outside the range from which the system chooses.
        let free = fastrand::i64(20_000..30_000);
        ports.reserve(free);
        let asked = free.to_string();
        assert_eq!(ports.take(Some(&asked), "HTTPPort").map(i64::from), Ok(free));
        assert!(ports.take(Some(&asked), "GRPCPort").is_err());
        let any = [ports.take(None, "a"), ports.take(Some("-1"), "b")];
        assert!(any[0].is_ok() && any[1].is_ok() && any[0] != any[1]);
        ports.reserve(-1);
        ports.reserve(70_000);
    }
}
