//! Fate: what power loss makes of each thing that was not synced.
//!
//! A crash asks for a fate once for every un-synced thing: each 512-byte sector of each write, each growth of a
//! file, each change of a name. A test that wants all crashes answers in turn with every combination; one that
//! wants many takes them from [`Dice`], under a seed.

use crate::FileName;

/// One thing that a crash may harm, because it was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unsynced {
    /// The part of one write (an append, or the zeros of a reserve) that falls into one 512-byte sector.
    Sector {
        /// The file.
        file: FileName,
        /// Which write to this file it belongs to; they count up in the order in which they were made.
        write: u64,
        /// Where the part begins, in bytes from the file's start.
        offset: u64,
        /// Its length in bytes: at most 512.
        len: u64,
        /// They are the zeros of a reserve, so that all fates but garbage come to the same.
        zeros: bool,
    },
    /// The growth of a file by one write.
    Length {
        /// The file.
        file: FileName,
        /// The length if the growth is lost.
        from: u64,
        /// The length if it is kept.
        to: u64,
    },
    /// A file's name, made and not synced.
    Created {
        /// The file.
        file: FileName,
    },
    /// A file's name, removed and not synced.
    Removed {
        /// The file.
        file: FileName,
    },
}

/// What becomes of an [`Unsynced`] thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It reached the disk.
    Keep,
    /// It did not: the bytes are those before the write, the length is the old one, the name's change is undone.
    Lose,
    /// A sector's part is zeros. For a length or a name: as `Lose`.
    Zero,
    /// Of a sector's part the first bytes reached the disk, as many as the number modulo its length says: the
    /// system wrote the page back while it was being filled. A length ends anywhere between the two, as the
    /// number says. For a name: as `Lose`.
    Tear(u64),
    /// A sector's part is noise, which the number determines. A length ends anywhere between the two, as the
    /// number says. For a name: as `Lose`.
    Garbage(u64),
}

/// Fates under a seed.
///
/// If every fate fell alone and evenly, no crash of a hundred sectors would ever lose just one or keep just one;
/// so each seed first draws how much survives of data, lengths and names, and what happens to what does not.
/// [`Faulty::crash`](crate::Faulty::crash) draws from these.
pub struct Fates {
    dice: Dice,
    data_kept: u64,
    lengths_kept: u64,
    names_kept: u64,
    damage: u64,
}

impl Fates {
    /// The fates of this seed. Two seeds in eight keep everything or nothing.
    pub fn new(seed: u64) -> Fates {
        let mut dice = Dice(seed);
        let (data_kept, lengths_kept, names_kept) = match dice.below(8) {
            0 => (0, 0, 0),
            1 => (16, 16, 16),
            _ => (kept_of_16(&mut dice), kept_of_16(&mut dice), kept_of_16(&mut dice)),
        };
        let damage = dice.below(5);
        Fates { dice, data_kept, lengths_kept, names_kept, damage }
    }

    /// The fate of the next thing.
    pub fn draw(&mut self, unsynced: Unsynced) -> Fate {
        let kept = match unsynced {
            Unsynced::Sector { .. } => self.data_kept,
            Unsynced::Length { .. } => self.lengths_kept,
            Unsynced::Created { .. } | Unsynced::Removed { .. } => self.names_kept,
        };
        if self.dice.below(16) < kept {
            return Fate::Keep;
        }
        let damage = if self.damage == 4 { self.dice.below(4) } else { self.damage };
        match damage {
            0 => Fate::Lose,
            1 => Fate::Zero,
            2 => Fate::Tear(self.dice.next()),
            _ => Fate::Garbage(self.dice.next()),
        }
    }
}

/// How many of 16 survive: none, few, half, most or all.
fn kept_of_16(dice: &mut Dice) -> u64 {
    [0, 1, 8, 15, 16][dice.below(5) as usize]
}

/// Numbers that look random and depend on the seed alone: splitmix64 (Steele, Lea, Flood, 2014).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; the tiny bias of the remainder does no harm here.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}
