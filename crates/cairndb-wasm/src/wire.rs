//! Wire: what goes between JavaScript and the engine in one piece of bytes.
//!
//! A call from JavaScript costs as much as a short read, so the writes of a tick come in one, and a scan's entries go in one.
//! Lengths are u32, little-endian; `npm/wire.js` is the other side.
//!
//! ```text
//! requests: | 0 | count u32 | write ... |            a batch; write: | 0 | key | a delete, or | 1 | key | value | a put
//!           | 1 | key | maybe expected | maybe new | a compare-and-swap; maybe: | 0 | for absent, or | 1 | bytes |
//! entries:  | key | value | ...
//! bytes:    | length u32 | bytes |
//! ```

use cairndb::Batch;

/// One thing that is to be written.
pub(crate) enum Request<'a> {
    Batch(Batch),
    Swap { key: &'a [u8], expected: Option<&'a [u8]>, new: Option<&'a [u8]> },
}

/// Takes requests apart, one after the other.
pub(crate) struct Requests<'a>(&'a [u8]);

impl<'a> Requests<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Requests<'a> {
        Requests(bytes)
    }

    /// The next one; `None` at the end, and where the bytes are none of `wire.js`'s.
    pub(crate) fn next(&mut self) -> Option<Request<'a>> {
        match self.byte()? {
            0 => {
                let mut batch = Batch::new();
                for _ in 0..self.u32()? {
                    let is_put = self.byte()? == 1;
                    let key = self.bytes()?;
                    if is_put {
                        batch.put(key, self.bytes()?)
                    } else {
                        batch.delete(key)
                    };
                }
                Some(Request::Batch(batch))
            }
            1 => Some(Request::Swap { key: self.bytes()?, expected: self.maybe()?, new: self.maybe()? }),
            _ => None,
        }
    }

    fn maybe(&mut self) -> Option<Option<&'a [u8]>> {
        if self.byte()? == 0 { Some(None) } else { self.bytes().map(Some) }
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()? as usize;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*bytes))
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }
}

/// Adds bytes with their length.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // No key or value is longer than 1 GiB.
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}
