//! Which primary owns which slot.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ::redis::{Value, from_redis_value};
use tokio::time::Instant;

use crate::{
    Error, ErrorKind, Result,
    redis::{link::Link, slot::SLOTS, url::Address},
};

/// Slots to links. Replaced as a whole when the cluster changes.
#[derive(Clone, Default)]
pub(super) struct SlotMap {
    /// The index of the owner in `primaries`, one for each slot; empty before the first look at the cluster.
    owners: Box<[Option<u16>]>,
    primaries: Vec<(Address, Arc<Link>)>,
    guests: Vec<Guest>,
}

/// A primary that has no slot yet, and keys of the first that it is given: those that still have the slot send on to it.
#[derive(Clone)]
struct Guest {
    address: Address,
    link: Arc<Link>,
    until: Instant,
}

/// How long a guest is kept that gets no slot. One that is sent on to after that is a guest again.
const GUEST_FOR: Duration = Duration::from_secs(10 * 60);

/// A cluster is not given so many new primaries at once.
const MAX_GUESTS: usize = 16;

impl SlotMap {
    /// Builds the map, with `link_to` making or reusing the link to an address.
    pub(super) fn build(ranges: &[Range], mut link_to: impl FnMut(&Address) -> Arc<Link>) -> Self {
        let mut owners = vec![None; usize::from(SLOTS)].into_boxed_slice();
        let mut primaries: Vec<(Address, Arc<Link>)> = Vec::new();
        let mut index_of = HashMap::new();
        for range in ranges {
            let index = *index_of.entry(&range.primary).or_insert_with(|| {
                primaries.push((range.primary.clone(), link_to(&range.primary)));
                primaries.len() as u16 - 1
            });
            owners[usize::from(range.first)..=usize::from(range.last)].fill(Some(index));
        }
        Self { owners, primaries, guests: Vec::new() }
    }

    /// Whether it does not know this address, and may have one guest more.
    pub(super) fn has_room_for(&self, address: &Address) -> bool {
        self.at(address).is_none() && self.guests.len() < MAX_GUESTS
    }

    /// The same with one guest more, if there is room for it.
    pub(super) fn with_guest(&self, address: &Address, link: &Arc<Link>) -> Self {
        let mut map = self.clone();
        if self.has_room_for(address) {
            let (address, link) = (address.clone(), Arc::clone(link));
            map.guests.push(Guest { address, link, until: Instant::now() + GUEST_FOR });
        }
        map
    }

    /// The same with those guests of `other` that are still welcome, and have no slot by now.
    pub(super) fn with_guests_of(&self, other: &Self) -> Self {
        let now = Instant::now();
        let is_welcome = |guest: &&Guest| guest.until > now && self.primary_at(&guest.address).is_none();
        Self { guests: other.guests.iter().filter(is_welcome).cloned().collect(), ..self.clone() }
    }

    pub(super) fn owner(&self, slot: u16) -> Option<&Arc<Link>> {
        let index = (*self.owners.get(usize::from(slot))?)?;
        Some(&self.primaries[usize::from(index)].1)
    }

    pub(super) fn guests(&self) -> usize {
        self.guests.len()
    }

    /// The link to a primary or a guest.
    pub(super) fn at(&self, address: &Address) -> Option<&Arc<Link>> {
        let guest = || self.guests.iter().find(|guest| guest.address == *address).map(|guest| &guest.link);
        self.primary_at(address).or_else(guest)
    }

    pub(super) fn primary_at(&self, address: &Address) -> Option<&Arc<Link>> {
        self.primaries.iter().find(|(at, _)| at == address).map(|(_, link)| link)
    }

    /// To every primary that has slots.
    pub(super) fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.primaries.iter().map(|(_, link)| link)
    }

    pub(super) fn same_primaries(&self, other: &Self) -> bool {
        self.owners == other.owners
            && self.primaries.iter().map(|(at, _)| at).eq(other.primaries.iter().map(|(at, _)| at))
    }

    /// # Errors
    /// `Unavailable` if a slot has no primary.
    pub(super) fn check_complete(&self) -> Result<()> {
        match self.owners.iter().position(Option::is_none) {
            None if !self.owners.is_empty() => Ok(()),
            uncovered => Err(Error::new(
                ErrorKind::Unavailable,
                format!("no primary of the cluster serves slot {}", uncovered.unwrap_or_default()),
            )),
        }
    }
}

/// A run of slots and its primary, one row of `CLUSTER SLOTS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::redis) struct Range {
    pub(in crate::redis) first: u16,
    pub(in crate::redis) last: u16,
    pub(in crate::redis) primary: Address,
}

/// Reads the reply to `CLUSTER SLOTS`. A node that does not know its own host name is at `asked`. Rows that make no
/// sense are left out: their slots count as uncovered.
pub(in crate::redis) fn read_slots(reply: Value, asked: &Address) -> Vec<Range> {
    let Value::Array(rows) = reply else { return Vec::new() };
    let mut ranges: Vec<_> = rows.into_iter().filter_map(|row| read_row(row, asked)).collect();
    // Nodes answer in different orders, which is no change of the layout.
    ranges.sort_by_key(|range| range.first);
    ranges
}

fn read_row(row: Value, asked: &Address) -> Option<Range> {
    let Value::Array(row) = row else { return None };
    let mut row = row.into_iter();
    let first: u16 = from_redis_value(row.next()?).ok()?;
    let last: u16 = from_redis_value(row.next()?).ok()?;
    let Value::Array(primary) = row.next()? else { return None };
    let mut primary = primary.into_iter();
    let host: Option<String> = from_redis_value(primary.next()?).ok()?;
    let port: u16 = from_redis_value(primary.next()?).ok()?;
    if first > last || last >= SLOTS || host.as_deref() == Some("?") {
        return None;
    }
    let host = host.filter(|host| !host.is_empty()).unwrap_or_else(|| asked.host.clone());
    Some(Range { first, last, primary: Address { host, port } })
}

/// Where a node sent us on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::redis) struct Redirect {
    pub(in crate::redis) to: Address,
    /// For this call only (`ASK`), not from now on (`MOVED`).
    pub(in crate::redis) asking: bool,
}

impl Redirect {
    pub(in crate::redis) fn in_reply(reply: &Value) -> Option<Self> {
        let Value::ServerError(refusal) = reply else { return None };
        let asking = match refusal.code() {
            "ASK" => true,
            "MOVED" => false,
            _ => return None,
        };
        // `MOVED 3999 127.0.0.1:6381`; an IPv6 address stands there without brackets.
        let (_slot, address) = refusal.details()?.split_once(' ')?;
        let (host, port) = address.rsplit_once(':')?;
        Some(Self { to: Address { host: host.to_owned(), port: port.parse().ok()? }, asking })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Value {
        ::redis::parse_redis_value(text.as_bytes()).unwrap()
    }

    #[test]
    fn redirections_are_read() {
        let at = |reply: &str| Redirect::in_reply(&parsed(reply)).map(|it| (it.to.to_string(), it.asking));
        assert_eq!(at("-MOVED 3999 10.0.0.1:6381\r\n"), Some(("10.0.0.1:6381".to_owned(), false)));
        assert_eq!(at("-ASK 3999 ::1:6381\r\n"), Some(("[::1]:6381".to_owned(), true)));
        assert_eq!(at("-MOVED nonsense\r\n"), None);
        assert_eq!(at("+OK\r\n"), None);
    }

    #[test]
    fn rows_of_slots_are_read_and_broken_ones_left_out() {
        let reply = parsed(
            "*4\r\n\
             *3\r\n:0\r\n:99\r\n*2\r\n$1\r\na\r\n:1\r\n\
             *3\r\n:100\r\n:200\r\n*2\r\n$0\r\n\r\n:2\r\n\
             *3\r\n:9\r\n:3\r\n*2\r\n$1\r\nb\r\n:3\r\n\
             *3\r\n:300\r\n:16384\r\n*2\r\n$1\r\nb\r\n:3\r\n",
        );
        let asked = Address { host: "seed".to_owned(), port: 9 };
        let rows: Vec<_> = read_slots(reply, &asked)
            .iter()
            .map(|row| (row.first, row.last, row.primary.to_string()))
            .collect();
        assert_eq!(rows, [(0, 99, "a:1".to_owned()), (100, 200, "seed:2".to_owned())]);
    }
}
