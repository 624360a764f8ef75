//! Where one packet ends and the next begins.

use super::{PacketError, Reason};

/// What stands at the front of the bytes received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum Frame {
    /// A whole packet: its first byte, and where its body lies.
    Whole { first: u8, header: usize, length: usize },
    /// Not yet; a whole packet needs this many bytes at least.
    Partial { needed: usize },
}

/// Looks for a packet at the front of `bytes`; none may be longer than `limit` bytes in all.
///
/// # Errors
/// A remaining length of more than four bytes (MQTT-1.5.5-1), or a packet longer than `limit`, told
/// before any of it is stored.
pub(in crate::broker) fn frame(bytes: &[u8], limit: usize) -> Result<Frame, PacketError> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(Frame::Partial { needed: 2 });
    };
    let mut length = 0;
    for (index, &byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let header = 2 + index;
            let whole = header + length;
            if whole > limit {
                let rule = "the packet is larger than this broker takes";
                return Err(PacketError { reason: Reason::PacketTooLarge, rule });
            }
            return Ok(if bytes.len() < whole {
                Frame::Partial { needed: whole }
            } else {
                Frame::Whole { first, header, length }
            });
        }
    }
    if rest.len() >= 4 {
        return Err(PacketError::malformed("a packet's length has at most four bytes (MQTT-1.5.5-1)"));
    }
    Ok(Frame::Partial { needed: bytes.len() + 1 })
}

/// Writes a remaining length (section 1.5.5).
pub(super) fn put_length(out: &mut bytes::BytesMut, mut length: usize) {
    use bytes::BufMut;
    loop {
        let low = (length & 0x7F) as u8;
        length >>= 7;
        out.put_u8(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
}

/// How many bytes [`put_length`] writes.
pub(super) fn length_size(length: usize) -> usize {
    match length {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}
