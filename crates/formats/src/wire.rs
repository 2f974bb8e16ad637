//! A glance at protocol buffers: the fields of a message without its schema.

/// How a field's value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Varint,
    Fixed64,
    Bytes,
    Fixed32,
}

/// A field's head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub number: u64,
    pub kind: Kind,
    /// Whether its value starts with a field 1 of bytes: a message with a name.
    pub starts_with_text: bool,
}

/// The heads of the fields in `start`, the first bytes of a message of `len` bytes; ends at the
/// first that is damaged or beyond.
pub(crate) fn heads(start: &[u8], len: u64) -> impl Iterator<Item = Head> {
    let mut at = 0_u64;
    std::iter::from_fn(move || {
        let rest = start.get(usize::try_from(at).ok()?..)?;
        let (tag, used) = varint(rest)?;
        let kind = match tag & 7 {
            0 => Kind::Varint,
            1 => Kind::Fixed64,
            2 => Kind::Bytes,
            5 => Kind::Fixed32,
            _ => return None,
        };
        let value = &rest[used..];
        let (prefix, size) = match kind {
            Kind::Varint => (0, varint(value)?.1 as u64),
            Kind::Fixed64 => (0, 8),
            Kind::Fixed32 => (0, 4),
            Kind::Bytes => {
                let (size, prefix) = varint(value)?;
                (prefix, size)
            }
        };
        let next = at.checked_add(used as u64 + prefix as u64)?.checked_add(size)?;
        if tag >> 3 == 0 || next > len {
            return None;
        }
        at = next;
        let inner = value.get(prefix..).unwrap_or_default();
        let named = inner.first() == Some(&0x0a)
            && varint(&inner[1..]).is_some_and(|(text, _)| text < size);
        Some(Head { number: tag >> 3, kind, starts_with_text: kind == Kind::Bytes && named })
    })
}

/// A varint and how many bytes it took.
pub(crate) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (i, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}
