//! Model: what a database has to answer, and scripts of operations that follow from a number.

use std::collections::BTreeMap;

use crate::database::Database;

/// What every key holds at one moment.
pub(crate) type Moment = BTreeMap<Vec<u8>, Vec<u8>>;

/// A put, or a delete if there is no value.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

impl Operation {
    pub(crate) fn put(key: &[u8], value: &[u8]) -> Operation {
        Operation { key: key.to_vec(), value: Some(value.to_vec()) }
    }

    pub(crate) fn delete(key: &[u8]) -> Operation {
        Operation { key: key.to_vec(), value: None }
    }

    pub(crate) fn apply_to(&self, moment: &mut Moment) {
        match &self.value {
            Some(value) => moment.insert(self.key.clone(), value.clone()),
            None => moment.remove(&self.key),
        };
    }

    pub(crate) fn run(&self, database: &mut dyn Database) -> std::io::Result<()> {
        match &self.value {
            Some(value) => database.put(&self.key, value),
            None => database.delete(&self.key),
        }
    }
}

/// Numbers that look like chance and follow from the first: SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) % bound
    }
}

/// `count` operations over `keys` keys, with values of up to `len_max` bytes. One in four is a delete.
pub(crate) fn script(seed: u64, count: u64, keys: u64, len_max: u64) -> Vec<Operation> {
    let mut dice = Dice(seed);
    let mut draw = |n: u64| {
        let key = format!("key {}", dice.below(keys));
        if dice.below(4) == 0 {
            return Operation::delete(key.as_bytes());
        }
        let mut value = n.to_le_bytes().to_vec();
        value.resize(8 + dice.below(len_max) as usize, b'.');
        Operation::put(key.as_bytes(), &value)
    };
    (0..count).map(&mut draw).collect()
}

/// Reads every key of `operations`.
pub(crate) fn read_all(database: &mut dyn Database, operations: &[Operation]) -> Result<Moment, String> {
    let mut moment = Moment::new();
    for Operation { key, .. } in operations {
        if let Some(value) = database.get(key).map_err(|error| format!("{}: {error}", shown(key)))? {
            moment.insert(key.clone(), value);
        }
    }
    Ok(moment)
}

/// Some bytes, as text, not too long.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = bytes[..bytes.len().min(24)].escape_ascii().to_string();
    if bytes.len() > 24 { format!("{text}... ({} bytes)", bytes.len()) } else { text }
}
