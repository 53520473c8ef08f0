//! Coding: integers, lengths and checksums as bytes.
//!
//! Everything on disk is little-endian. Small numbers are varints (LEB128: seven bits a byte, low bits first, the top
//! bit set on all but the last). Byte strings are a varint length and the bytes. The checksum is CRC-32C, begun not
//! with nothing but with the *place* that the bytes belong to, so that right bytes in the wrong place are found out.
//!
//! # Where it sits
//! Above `error`; every room that reads or writes bytes uses it.
//!
//! # When things break
//! The [`Decoder`] answers `None` past the end or on a malformed number; its caller knows the file and the offset, and
//! makes the error. It never allocates by a length it has read.

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length and the bytes.
pub(crate) fn put_slice(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// How many bytes a varint takes.
pub(crate) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// A position in bytes that are being taken apart, front to back.
#[derive(Clone, Copy)]
pub(crate) struct Decoder<'a> {
    /// What has not been taken yet.
    rest: &'a [u8],
    /// How long all of it is.
    len: usize,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Decoder<'a> {
        Decoder { rest: bytes, len: bytes.len() }
    }

    /// Begins at `offset`, which may lie beyond the end; then nothing can be taken.
    pub(crate) fn at(bytes: &'a [u8], offset: usize) -> Decoder<'a> {
        Decoder { rest: bytes.get(offset..).unwrap_or_default(), len: bytes.len() }
    }

    pub(crate) fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    #[inline(always)]
    pub(crate) fn varint(&mut self) -> Option<u64> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Some(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Option<u64> {
        let (mut value, mut rest) = (0_u64, self.rest);
        for shift in (0..64).step_by(7) {
            let (byte, behind) = rest.split_first()?;
            // The tenth byte holds the sixty-fourth bit alone.
            if shift == 63 && *byte > 1 {
                return None;
            }
            value |= u64::from(*byte & 0x7F) << shift;
            rest = behind;
            if *byte < 0x80 {
                self.rest = rest;
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn slice(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        self.bytes(len)
    }
}

/// Where bytes belong: a file of one incarnation of one database. Checksums begin with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

impl Place {
    /// The place that is file `number` under `id`. FORMAT.md, "Checksums".
    pub(crate) fn new(id: u128, number: u64) -> Place {
        let crc = crc32c::crc32c(&id.to_le_bytes());
        Place(crc32c::crc32c_append(crc, &number.to_le_bytes()))
    }

    /// The checksum of `parts`, one after the other, at `offset` of this file.
    pub(crate) fn checksum(self, offset: u64, parts: &[&[u8]]) -> u32 {
        let seed = crc32c::crc32c_append(self.0, &offset.to_le_bytes());
        parts.iter().fold(seed, |crc, part| crc32c::crc32c_append(crc, part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back_and_have_their_length() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1_u64 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                put_varint(&mut bytes, value);
                assert_eq!(bytes.len(), varint_len(value));
                assert_eq!(Decoder::new(&bytes).varint(), Some(value));
                assert_eq!(Decoder::new(&bytes[..bytes.len() - 1]).varint(), None);
            }
        }
        assert_eq!(Decoder::new(&[0xFF; 10]).varint(), None, "over 64 bits");
    }

    #[test]
    fn a_hostile_length_takes_nothing() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, u64::MAX);
        assert_eq!(Decoder::new(&bytes).slice(), None);
    }

    #[test]
    fn the_same_bytes_elsewhere_have_another_checksum() {
        let place = Place::new(7, 1);
        assert_ne!(place.checksum(0, &[b"abc"]), place.checksum(8, &[b"abc"]));
        assert_ne!(place.checksum(0, &[b"abc"]), Place::new(7, 2).checksum(0, &[b"abc"]));
        assert_ne!(place.checksum(0, &[b"abc"]), Place::new(8, 1).checksum(0, &[b"abc"]));
        assert_eq!(place.checksum(0, &[b"ab", b"c"]), place.checksum(0, &[b"abc"]));
    }
}
