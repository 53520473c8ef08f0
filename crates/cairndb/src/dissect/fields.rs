//! Fields: bytes taken front to back, each stretch noted with its name and what it says.
//!
//! # Invariants
//! - I1. Innermost fields follow one another without a gap, from the first byte to the last: what cannot be taken
//!   apart becomes a field of its own.

use super::{Field, Taken};
use crate::coding::Decoder;
use crate::inspect::shown;

/// Fields, and the bytes that are still to be taken.
pub(super) struct Fields<'a> {
    from: Decoder<'a>,
    len: usize,
    /// Where the first byte stands.
    base: u64,
    depth: u8,
    taken: Vec<Field>,
}

/// What a closure that takes fields may answer: nothing, or whether it could take what it wanted.
pub(super) trait Outcome {
    fn is_whole(&self) -> bool;
}

impl Outcome for () {
    fn is_whole(&self) -> bool {
        true
    }
}

impl<T> Outcome for Option<T> {
    fn is_whole(&self) -> bool {
        self.is_some()
    }
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8], base: u64) -> Fields<'a> {
        Fields { from: Decoder::new(bytes), len: bytes.len(), base, depth: 0, taken: Vec::new() }
    }

    /// All fields that `take` makes of the bytes, and what it leaves.
    pub(super) fn over<T: Outcome>(
        bytes: &'a [u8],
        base: u64,
        take: impl FnOnce(&mut Fields<'a>) -> T,
    ) -> Taken {
        Taken { stored: Fields::list(bytes, base, take), unpacked: None }
    }

    pub(super) fn list<T: Outcome>(
        bytes: &'a [u8],
        base: u64,
        take: impl FnOnce(&mut Fields<'a>) -> T,
    ) -> Vec<Field> {
        let mut fields = Fields::new(bytes, base);
        let is_whole = take(&mut fields).is_whole();
        fields.rest(if is_whole { None } else { Some("these bytes make no sense here") });
        fields.taken
    }

    pub(super) fn offset(&self) -> usize {
        self.from.offset()
    }

    pub(super) fn left(&self) -> usize {
        self.len - self.offset()
    }

    /// Where the next field will stand.
    pub(super) fn place(&self) -> u64 {
        self.base + self.offset() as u64
    }

    /// The next byte, which stays.
    pub(super) fn peek(&self) -> Option<u8> {
        self.from.clone().u8()
    }

    /// The next bytes, which stay.
    pub(super) fn ahead(&self, len: usize) -> Option<&'a [u8]> {
        self.from.clone().bytes(len)
    }

    /// A field that holds those which `take` takes; it says what `take` answers.
    pub(super) fn group(
        &mut self,
        name: &'static str,
        take: impl FnOnce(&mut Fields<'a>) -> Option<String>,
    ) -> Option<()> {
        let (index, start) = (self.taken.len(), self.offset());
        self.push(start, name, String::new());
        self.depth += 1;
        let said = take(self);
        if said.is_none() {
            self.rest(Some("these bytes make no sense here"));
        }
        self.depth -= 1;
        let field = &mut self.taken[index];
        field.len = (self.from.offset() - start) as u64;
        match said {
            Some(value) => field.value = value,
            None => field.damage = Some("it cannot be taken apart".into()),
        }
        said_or_none(&field.damage)
    }

    pub(super) fn u8(&mut self, name: &'static str) -> Option<u8> {
        let (start, value) = (self.offset(), self.from.u8()?);
        self.push(start, name, value.to_string());
        Some(value)
    }

    pub(super) fn u16(&mut self, name: &'static str) -> Option<u16> {
        let (start, value) = (self.offset(), self.from.u16()?);
        self.push(start, name, value.to_string());
        Some(value)
    }

    pub(super) fn u32(&mut self, name: &'static str) -> Option<u32> {
        let (start, value) = (self.offset(), self.from.u32()?);
        self.push(start, name, value.to_string());
        Some(value)
    }

    pub(super) fn u64(&mut self, name: &'static str) -> Option<u64> {
        let (start, value) = (self.offset(), self.from.u64()?);
        self.push(start, name, value.to_string());
        Some(value)
    }

    pub(super) fn varint(&mut self, name: &'static str) -> Option<u64> {
        let (start, value) = (self.offset(), self.from.varint()?);
        self.push(start, name, value.to_string());
        Some(value)
    }

    pub(super) fn id(&mut self, name: &'static str) -> Option<u128> {
        let (start, value) = (self.offset(), self.from.u128()?);
        self.push(start, name, format!("{value:032x}"));
        Some(value)
    }

    pub(super) fn hash(&mut self, name: &'static str) -> Option<u64> {
        let value = self.u64(name)?;
        self.say(format!("{value:016x}"));
        Some(value)
    }

    pub(super) fn crc(&mut self, name: &'static str) -> Option<u32> {
        let value = self.u32(name)?;
        self.say(format!("{value:08x}"));
        Some(value)
    }

    /// Says of the crc that was just taken whether it fits.
    pub(super) fn check_crc(&mut self, stored: u32, right: u32) -> bool {
        if stored == right {
            self.say(format!("{stored:08x}: fits"));
        }
        self.damaged_unless(stored == right, || format!("the bytes under it have {right:08x}"));
        stored == right
    }

    pub(super) fn bytes(&mut self, name: &'static str, len: usize) -> Option<&'a [u8]> {
        let (start, bytes) = (self.offset(), self.from.bytes(len)?);
        let is_zero = !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0);
        let value = if is_zero && name == "zero" { "zeros".into() } else { shown(bytes) };
        self.push(start, name, value);
        Some(bytes)
    }

    /// A length and so many bytes.
    pub(super) fn slice(&mut self, len_name: &'static str, name: &'static str) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint(len_name)?).ok()?;
        self.bytes(name, len)
    }

    /// Passes over bytes whose fields come from elsewhere.
    pub(super) fn skip(&mut self, len: usize) -> Option<()> {
        self.from.bytes(len).map(drop)
    }

    /// Takes over fields of bytes that were skipped.
    pub(super) fn append(&mut self, others: &mut Vec<Field>) {
        self.taken.append(others);
    }

    /// A stretch that is not looked at.
    pub(super) fn span(&mut self, value: &str, len: u64, name: &'static str) {
        self.taken.push(Field {
            offset: self.base,
            len,
            depth: self.depth,
            name,
            value: value.into(),
            damage: None,
        });
    }

    /// Changes what the last field says.
    pub(super) fn say(&mut self, value: String) {
        if let Some(field) = self.taken.last_mut() {
            field.value = value;
        }
    }

    /// Notes damage on the last field, unless all is well.
    pub(super) fn damaged_unless(&mut self, is_well: bool, what: impl FnOnce() -> String) {
        if let Some(field) = self.taken.last_mut().filter(|_| !is_well) {
            field.damage = Some(what());
        }
    }

    /// Takes all that is left as one field.
    fn rest(&mut self, damage: Option<&str>) {
        let left = self.left();
        if left == 0 {
            return;
        }
        let name = if damage.is_some() { "not understood" } else { "bytes" };
        self.bytes(name, left);
        self.damaged_unless(damage.is_none(), || damage.unwrap_or_default().into());
    }

    fn push(&mut self, start: usize, name: &'static str, value: String) {
        let len = (self.offset() - start) as u64;
        let offset = self.base + start as u64;
        self.taken.push(Field { offset, len, depth: self.depth, name, value, damage: None });
    }
}

fn said_or_none(damage: &Option<String>) -> Option<()> {
    damage.is_none().then_some(())
}
