//! Header: the first bytes of every file, which say what it is and where it belongs.
//!
//! A file is read only after its header has been: its magic names its kind, its format says whether this build can
//! read it, and its id and number are the *place* to which all its other checksums are bound. It also names the
//! manifest that was current when the file was born, so that a directory whose newest manifest has gone missing is
//! found out instead of being taken back in time.
//!
//! # Where it sits
//! On `coding`; the rooms for records and SSTables stand on it.
//!
//! # On disk
//! ```text
//! 0      8        10       12        16      24        32       48   56   64   72        76    80
//! | magic | format | zero   | features| number| manifest| id     | a  | b  | c  | zero    | crc |
//! ```
//! `format` is 1 (u16); behind it the pre-releases of format 1, which had format 0, have their own number. `a`, `b` and
//! `c` are the kind's own. The crc covers the 76 bytes before it. Agrees with FORMAT.md, "File header".

use cairndb_storage::{File, FileKind, FileName, Site};

use crate::coding::{Decoder, Place};
use crate::error::{Error, Result};
use crate::files::read_at;

/// The length of a header, in bytes. FORMAT.md, "Constants".
pub(crate) const HEADER_LEN: u64 = 80;

/// The format that this build reads and writes. FORMAT.md, "Constants".
pub(crate) const FORMAT_VERSION: u16 = 1;

/// Feature bit: an SSTable's data blocks may be packed with lz4. FORMAT.md, "Constants".
pub(crate) const FEATURE_LZ4: u32 = 1;

/// What begins a manifest. FORMAT.md, "Constants".
pub(crate) const MAGIC_MANIFEST: &[u8; 8] = b"cairnman";

/// What begins an SSTable. FORMAT.md, "Constants".
pub(crate) const MAGIC_SSTABLE: &[u8; 8] = b"cairnsst";

/// What begins a WAL. FORMAT.md, "Constants".
pub(crate) const MAGIC_WAL: &[u8; 8] = b"cairnwal";

/// A file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) name: FileName,
    /// Features that a reader must know to read this file.
    pub(crate) features: u32,
    /// The number of the manifest that was current when the file was born; 0 for none.
    pub(crate) manifest: u64,
    /// The incarnation of the database that wrote the file.
    pub(crate) id: u128,
    /// Three fields whose meaning is the kind's.
    pub(crate) own: [u64; 3],
}

impl Header {
    /// The place of everything else in the file.
    pub(crate) fn place(&self) -> Place {
        Place::new(self.id, self.name.number)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN as usize);
        out.extend_from_slice(magic(self.name.kind));
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.features.to_le_bytes());
        out.extend_from_slice(&self.name.number.to_le_bytes());
        out.extend_from_slice(&self.manifest.to_le_bytes());
        out.extend_from_slice(&self.id.to_le_bytes());
        for field in self.own {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&[0; 4]);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the header of `file`, which goes under `name`.
    ///
    /// Errors: `Corrupt`; `Invalid` for a format or a feature that this build does not know.
    pub(crate) fn read(file: &dyn File, name: FileName, site: Site) -> Result<Header> {
        let mut bytes = [0; HEADER_LEN as usize];
        let len = read_at(file, name, 0, &mut bytes, site)?;
        Header::decode(&bytes[..len], name)
    }

    /// Takes a header apart. Of a stranger's bytes the magic and the crc are looked at first; of a whole header that
    /// this build cannot read, the error says so by its format.
    pub(crate) fn decode(bytes: &[u8], name: FileName) -> Result<Header> {
        let corrupt = |offset: u64, what: &str| Error::corrupt(name, offset, what);
        let mut from = Decoder::new(bytes);
        if from.bytes(8) != Some(magic(name.kind)) {
            return Err(corrupt(0, "the magic that begins such a file is not there"));
        }
        if bytes.len() < HEADER_LEN as usize {
            return Err(corrupt(0, "the file is shorter than its header"));
        }
        let stored_crc = Decoder::at(bytes, HEADER_LEN as usize - 4).u32();
        if stored_crc != Some(crc32c::crc32c(&bytes[..HEADER_LEN as usize - 4])) {
            return Err(corrupt(0, "the header's checksum does not fit it"));
        }
        let short = || corrupt(0, "the file is shorter than its header");
        match (from.u16().ok_or_else(short)?, from.u16().ok_or_else(short)?) {
            (FORMAT_VERSION, 0) => {}
            (0, pre_release) => {
                return Err(Error::invalid(format_args!(
                    "{name} is of format 0.{pre_release}, a pre-release; this build reads format {FORMAT_VERSION}. \
                     `cairn dump` of the build that wrote it and `cairn load` bring the data over"
                )));
            }
            (format, _) => {
                return Err(Error::invalid(format_args!(
                    "{name} is of format {format}, which a later build wrote; this one reads format {FORMAT_VERSION}"
                )));
            }
        }
        let features = from.u32().ok_or_else(short)?;
        if features & !known_features(name.kind) != 0 {
            return Err(Error::invalid(format_args!(
                "{name} needs features {features:#x}, of which this build knows {:#x}",
                known_features(name.kind)
            )));
        }
        let number = from.u64().ok_or_else(short)?;
        if number != name.number {
            return Err(corrupt(16, &format!("this is file {number} under another one's name")));
        }
        let manifest = from.u64().ok_or_else(short)?;
        let id = from.u128().ok_or_else(short)?;
        let own = [from.u64(), from.u64(), from.u64()].map(|field| field.unwrap_or_default());
        Ok(Header { name, features, manifest, id, own })
    }
}

fn magic(kind: FileKind) -> &'static [u8] {
    match kind {
        FileKind::Manifest => MAGIC_MANIFEST,
        FileKind::SsTable => MAGIC_SSTABLE,
        FileKind::Wal => MAGIC_WAL,
        // It has no header: one that begins so has no crc that fits.
        FileKind::Reserve => &[0; 8],
    }
}

fn known_features(kind: FileKind) -> u32 {
    if kind == FileKind::SsTable { FEATURE_LZ4 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let name = FileName { kind: FileKind::Wal, number: 12 };
        Header { name, features: 0, manifest: 3, id: 77, own: [1, 2, 3] }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let whole = header().encode();
        assert_eq!(Header::decode(&whole, header().name).unwrap(), header());
        for bit in (0..whole.len() * 8).step_by(if cfg!(miri) { 13 } else { 1 }) {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bytes, header().name).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_format_or_feature_is_named() {
        for (format, pre_release, said) in [
            (2, 0, "000012.wal is of format 2, which a later build wrote; this one reads format 1"),
            (1, 1, "000012.wal is of format 1, which a later build wrote"),
            (0, 2, "000012.wal is of format 0.2, a pre-release; this build reads format 1. `cairn dump` of"),
        ] {
            let mut other = header().encode();
            (other[8], other[10]) = (format, pre_release);
            let crc = crc32c::crc32c(&other[..76]).to_le_bytes();
            other[76..].copy_from_slice(&crc);
            let error = Header::decode(&other, header().name).unwrap_err();
            assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains(said), "{error}");
        }
        let strange = Header { features: 1 << 9, ..header() }.encode();
        let error = Header::decode(&strange, header().name).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    }
}
