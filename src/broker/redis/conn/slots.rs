//! Slots of a cluster: the slot of a key, and the owner of a slot. No I/O.

use deadpool_redis::redis::{Arg, Cmd, Value};

use super::super::address::Address;
use super::super::reply;

/// The number of slots of a cluster.
const SLOTS: u16 = 16_384;

/// The slot of a key. Of a key with a hash tag (`{...}`) only the tag counts.
pub(in crate::broker::redis) fn slot_of(key: &[u8]) -> u16 {
    crc16(tag(key).unwrap_or(key)) % SLOTS
}

/// The slot of the key of a command; `None` if the command has none. Commands of this component have one key: the first argument, of XGROUP
/// the second, of XREADGROUP the first stream.
pub(super) fn slot_of_command(command: &Cmd) -> Option<u16> {
    let mut words = command.args_iter().map(|word| match word {
        Arg::Simple(word) => word,
        _ => b"0",
    });
    let name = words.next()?;
    let key = match name {
        b"PING" | b"CLIENT" | b"CLUSTER" | b"ASKING" => None,
        b"XGROUP" => words.nth(1),
        b"XREADGROUP" => {
            words.find(|word| word == b"STREAMS")?;
            words.next()
        }
        _ => words.next(),
    };
    key.map(slot_of)
}

/// A range of slots, both ends included, and the server that owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) master: Address,
}

/// The ranges in a reply to CLUSTER SLOTS, in the order of the slots. `asked` is the server that gave the reply.
pub(super) fn ranges_of(answer: Value, asked: &Address) -> Vec<Range> {
    let Value::Array(rows) = answer else {
        return Vec::new();
    };
    let mut ranges: Vec<_> = rows.into_iter().filter_map(|row| range_of(row, asked)).collect();
    ranges.sort_by_key(|range| range.first);
    ranges
}

fn range_of(row: Value, asked: &Address) -> Option<Range> {
    let Value::Array(columns) = row else {
        return None;
    };
    let mut columns = columns.into_iter();
    let (first, last) = (number(&columns.next()?)?, number(&columns.next()?)?);
    let Value::Array(master) = columns.next()? else {
        return None;
    };
    let mut master = master.into_iter();
    let host = reply::text(master.next()?).unwrap_or_default();
    let port = number(&master.next()?)?;
    Some(Range { first, last, master: address_seen_from(asked, &host, port) })
}

/// The address of a server as `asked` names it. An empty or unknown host is that of `asked` itself.
fn address_seen_from(asked: &Address, host: &str, port: u16) -> Address {
    match asked {
        Address::Tcp(own, _) if host.is_empty() || host == "?" => Address::Tcp(own.clone(), port),
        _ => Address::Tcp(host.to_owned(), port),
    }
}

/// The address in a MOVED or ASK reply of `asked`.
pub(super) fn address_of(redirect: &str, asked: &Address) -> Option<Address> {
    let (host, port) = redirect.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some(address_seen_from(asked, host, port.parse().ok()?))
}

fn number(value: &Value) -> Option<u16> {
    match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    }
}

fn tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|byte| *byte == b'{')? + 1;
    let length = key[open..].iter().position(|byte| *byte == b'}')?;
    (length > 0).then(|| &key[open..open + length])
}

/// CRC-16/XMODEM, which the cluster specification prescribes.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        let [high, _] = crc.to_be_bytes();
        (crc << 8) ^ CRC_OF_BYTE[usize::from(high ^ byte)]
    })
}

/// The checksum of each byte: a table, because every command needs a slot, and each read of a cluster one for every topic.
const CRC_OF_BYTE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte: u16 = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte << 8, 0);
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use deadpool_redis::redis::cmd;

    use super::*;

    #[test]
    fn a_key_has_the_slot_that_redis_gives_it() {
        // Expected slots are those of CLUSTER KEYSLOT.
        for (key, slot) in [
            ("123456789", 12739),
            ("orders", 105),
            ("foo", 12182),
            ("{user1000}.following", 3443),
            ("{user1000}.followers", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("", 0),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn the_key_of_a_command_is_found() {
        let slot = |words: &[&str]| {
            let mut command = cmd(words[0]);
            for word in &words[1..] {
                command.arg(*word);
            }
            slot_of_command(&command)
        };
        let orders = Some(slot_of(b"orders"));
        assert_eq!(slot(&["XADD", "orders", "*", "data", "x"]), orders);
        assert_eq!(slot(&["XGROUP", "CREATE", "orders", "g", "0"]), orders);
        assert_eq!(slot(&["XREADGROUP", "GROUP", "g", "c", "STREAMS", "orders", ">"]), orders);
        assert_eq!(slot(&["PING"]), None);
    }

    #[test]
    fn servers_without_a_name_are_the_one_that_was_asked() {
        let asked = Address::Tcp("10.0.0.1".to_owned(), 1);
        let row = |first, last, host: Value, port| {
            let id = Value::BulkString(b"id".to_vec());
            Value::Array(vec![Value::Int(first), Value::Int(last), Value::Array(vec![host, Value::Int(port), id])])
        };
        let named = Value::BulkString(b"10.0.0.2".to_vec());
        let answer = Value::Array(vec![row(100, 200, named, 7), row(0, 99, Value::Nil, 6)]);
        let range = |first, last, host: &str, port| Range { first, last, master: Address::Tcp(host.to_owned(), port) };
        assert_eq!(ranges_of(answer, &asked), [range(0, 99, "10.0.0.1", 6), range(100, 200, "10.0.0.2", 7)]);
        assert_eq!(address_of(":7001", &asked), Some(Address::Tcp("10.0.0.1".to_owned(), 7001)));
        assert_eq!(address_of("::1:7001", &asked), Some(Address::Tcp("::1".to_owned(), 7001)));
    }
}
