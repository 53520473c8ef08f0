//! Bits: values as arrays of bits, the first byte's highest bit first.

use std::ops::Range;

use super::strings::{VALUE_LEN_MAX, check_len};
use super::{Answer, Context, Refusal, SYNTAX, integer};
use crate::events::Class;

const BIT_OFFSET: Refusal = Refusal::text("ERR bit offset is not an integer or out of range");

pub(super) fn setbit(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let offset = bit_offset(words[2])?;
    let bit = match words[3] {
        b"0" => 0,
        b"1" => 1,
        _ => return Err(Refusal::text("ERR bit is not an integer or out of range")),
    };
    let held = c.get(words[1])?;
    check_len(c, offset / 8, 1)?;
    let mut value = held.as_ref().map_or_else(Vec::new, |held| held.value.to_vec());
    let grows = held.is_none() || value.len() < offset / 8 + 1;
    value.resize(value.len().max(offset / 8 + 1), 0);
    let byte = &mut value[offset / 8];
    let shift = 7 - offset % 8;
    let old = *byte >> shift & 1;
    *byte = *byte & !(1 << shift) | bit << shift;
    // Who watches the key need not know of what changes nothing.
    if grows || old != bit {
        c.put(words[1], &value, held.as_ref().and_then(|held| held.expires_at_ms));
        c.happened(Class::String, "setbit", words[1]);
    }
    c.out.integer(i64::from(old));
    Ok(())
}

pub(super) fn getbit(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let offset = bit_offset(words[2])?;
    let held = c.get(words[1])?;
    let bit = held.and_then(|held| held.value.get(offset / 8).map(|byte| byte >> (7 - offset % 8) & 1));
    c.out.integer(i64::from(bit.unwrap_or(0)));
    Ok(())
}

pub(super) fn bitcount(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let Some(held) = c.get(words[1])? else {
        c.out.integer(0);
        return Ok(());
    };
    let range = match words.len() {
        2 => None,
        4 => Some((integer(words[2])?, integer(words[3])?, false)),
        5 => Some((integer(words[2])?, integer(words[3])?, in_bits(words[4])?)),
        _ => return Err(SYNTAX),
    };
    let value = &*held.value;
    let count: u32 = match range.map_or(Some((0, value.len() * 8)), |range| match range {
        // Unlike BITPOS, it looks at this before it counts from the end.
        (start, end, _) if start < 0 && end < 0 && start > end => None,
        range => bits(value, range),
    }) {
        Some((first, end)) => ones(value, first, end),
        None => 0,
    };
    c.out.integer(i64::from(count));
    Ok(())
}

pub(super) fn bitpos(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let wanted = integer(words[2])?;
    if !matches!(wanted, 0 | 1) {
        return Err(Refusal::text("ERR The bit argument must be 1 or 0."));
    }
    let held = c.get(words[1])?;
    let Some(value) = held.as_ref().map(|held| &*held.value) else {
        c.out.integer(-wanted);
        return Ok(());
    };
    let start = words.get(3).map(|word| integer(word)).transpose()?;
    let unit = words.get(5).map(|word| in_bits(word)).transpose()?.unwrap_or(false);
    let end = words.get(4).map(|word| integer(word)).transpose()?;
    if words.len() > 6 {
        return Err(SYNTAX);
    }
    let range = bits(value, (start.unwrap_or(0), end.unwrap_or(-1), unit));
    let position = range.and_then(|(first, end)| find_bit(value, first, end, wanted as u8));
    c.out.integer(match position {
        Some(at) => at as i64,
        // Behind a value without an end there are zeros.
        None if wanted == 0 && end.is_none() && range.is_some() => value.len() as i64 * 8,
        None => -1,
    });
    Ok(())
}

pub(super) fn bitop(c: &mut Context<'_>, words: &[&[u8]]) -> Answer {
    let operation = words[1].to_ascii_uppercase();
    let fold: fn(u8, u8) -> u8 = match operation.as_slice() {
        b"AND" => |a, b| a & b,
        b"OR" => |a, b| a | b,
        b"XOR" => |a, b| a ^ b,
        b"NOT" if words.len() != 4 => {
            return Err(Refusal::text("ERR BITOP NOT must be called with a single source key."));
        }
        b"NOT" => |a, _| !a,
        _ => return Err(SYNTAX),
    };
    let mut sources = Vec::new();
    for key in &words[3..] {
        sources.push(c.get(key)?.map(|held| held.value));
    }
    let source = |n: usize| sources[n].as_deref().unwrap_or(&[]);
    let len = (0..sources.len()).map(|n| source(n).len()).max().unwrap_or(0);
    let at = |n: usize, i: usize| source(n).get(i).copied().unwrap_or(0);
    let folded = |i: usize| match sources.len() {
        1 if operation == b"NOT" => fold(at(0, i), 0),
        count => (1..count).fold(at(0, i), |byte, n| fold(byte, at(n, i))),
    };
    let value: Vec<u8> = (0..len).map(folded).collect();
    if value.is_empty() {
        if c.contains(words[2])? {
            c.delete(words[2]);
            c.happened(Class::Generic, "del", words[2]);
        }
    } else {
        c.put(words[2], &value, None);
        c.happened(Class::String, "set", words[2]);
    }
    c.out.integer(len as i64);
    Ok(())
}

fn bit_offset(word: &[u8]) -> Result<usize, Refusal> {
    let offset = integer(word).map_err(|_| BIT_OFFSET)?;
    usize::try_from(offset).ok().filter(|offset| offset / 8 < VALUE_LEN_MAX).ok_or(BIT_OFFSET)
}

fn in_bits(word: &[u8]) -> Result<bool, Refusal> {
    match word.to_ascii_uppercase().as_slice() {
        b"BIT" => Ok(true),
        b"BYTE" => Ok(false),
        _ => Err(SYNTAX),
    }
}

/// The bits from `start` to `end`, both within and counted from the end where negative; `None` if there are none.
fn bits(value: &[u8], (start, end, in_bits): (i64, i64, bool)) -> Option<(usize, usize)> {
    let len = value.len() as i64 * if in_bits { 8 } else { 1 };
    let from_end = |at: i64| if at < 0 { (len.saturating_add(at)).max(0) } else { at };
    let (first, last) = (from_end(start), from_end(end).min(len - 1));
    if first > last {
        return None;
    }
    let unit = if in_bits { 1 } else { 8 };
    Some((first as usize * unit, (last as usize + 1) * unit))
}

fn bit(value: &[u8], at: usize) -> u8 {
    value[at / 8] >> (7 - at % 8) & 1
}

fn ones(value: &[u8], first: usize, end: usize) -> u32 {
    let (whole_first, whole_end) = (first.div_ceil(8), end / 8);
    if whole_first >= whole_end {
        return (first..end).map(|at| u32::from(bit(value, at))).sum();
    }
    let whole: u32 = value[whole_first..whole_end].iter().map(|byte| byte.count_ones()).sum();
    let edges = (first..whole_first * 8).chain(whole_end * 8..end);
    whole + edges.map(|at| u32::from(bit(value, at))).sum::<u32>()
}

/// The first of these bits that is `wanted`. Whole bytes that have none are passed over as such.
fn find_bit(value: &[u8], first: usize, end: usize, wanted: u8) -> Option<usize> {
    let without = if wanted == 1 { 0 } else { 0xff };
    let (whole_first, whole_end) = (first.div_ceil(8), end / 8);
    let in_bits = |mut places: Range<usize>| places.find(|&at| bit(value, at) == wanted);
    if whole_first >= whole_end {
        return in_bits(first..end);
    }
    in_bits(first..whole_first * 8).or_else(|| {
        let passed = value[whole_first..whole_end].iter().position(|&byte| byte != without);
        in_bits(passed.map_or(whole_end, |passed| whole_first + passed) * 8..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_found_where_they_are() {
        let values: [&[u8]; 6] =
            [b"", b"\xff\xff\xff", b"\0\0\0", b"\0\0\x10\0", b"\xff\xff\xef\xff", b"\x80\0\x01"];
        for value in values {
            for first in 0..=value.len() * 8 {
                for end in first..=value.len() * 8 {
                    for wanted in [0, 1] {
                        let one_by_one = (first..end).find(|&at| bit(value, at) == wanted);
                        assert_eq!(
                            find_bit(value, first, end, wanted),
                            one_by_one,
                            "{value:?} {first} {end} {wanted}"
                        );
                    }
                }
            }
        }
    }
}
