//! Servers that tell clients where others are, and proxies that stand before all of them.

use bytes::BytesMut;

/// A colon and five digits: how Redis writes a port in a redirection, and in a reply that lists the servers of a cluster.
const BYTES: usize = 6;

/// Which proxy's port takes the place of which server's, in what servers say.
#[derive(Debug)]
pub(crate) struct Ports(Vec<([u8; BYTES], [u8; BYTES])>);

impl Ports {
    /// # Panics
    /// If a port has other than five digits, so that the replies would change their length.
    pub(crate) fn new(ports: &[(u16, u16)]) -> Self {
        let text = |port: u16| -> [u8; BYTES] {
            format!(":{port}").into_bytes().try_into().expect("a free port has five digits")
        };
        Self(ports.iter().map(|&(server, proxy)| (text(server), text(proxy))).collect())
    }

    /// What is passed on of a chunk, and of what was kept of the ones before. An end that may be the beginning of a port is kept:
    /// no reply ends like that.
    pub(crate) fn translate(&self, kept: &mut BytesMut, chunk: &[u8]) -> BytesMut {
        kept.extend_from_slice(chunk);
        for at in 0..kept.len().saturating_sub(BYTES) {
            let window = &kept[at..at + BYTES];
            let found = self.0.iter().find(|(server, _)| window == server);
            if let (Some((_, proxy)), false) = (found, kept[at + BYTES].is_ascii_digit()) {
                kept[at..at + BYTES].copy_from_slice(proxy);
            }
        }
        let may_begin = |end: &[u8]| self.0.iter().any(|(server, _)| server.starts_with(end));
        let from = kept.len().saturating_sub(BYTES);
        let end = (from..kept.len()).find(|&at| may_begin(&kept[at..])).unwrap_or(kept.len());
        kept.split_to(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_exchanged_wherever_the_reply_is_torn() {
        let ports = Ports::new(&[(40001, 50001), (40002, 50002)]);
        let said =
            b"*2\r\n$9\r\n127.0.0.1\r\n:40001\r\n-MOVED 7 127.0.0.1:40002\r\n:400011\r\n:4\r\n$3\r\na:4\r\n";
        let meant =
            b"*2\r\n$9\r\n127.0.0.1\r\n:50001\r\n-MOVED 7 127.0.0.1:50002\r\n:400011\r\n:4\r\n$3\r\na:4\r\n";
        for torn in 1..said.len() {
            let (mut kept, mut passed) = (BytesMut::new(), Vec::new());
            for chunk in said.chunks(torn) {
                passed.extend_from_slice(&ports.translate(&mut kept, chunk));
            }
            assert_eq!(passed, meant, "in pieces of {torn}");
        }
    }
}
