//! Cache: a bounded map of weighted values.
//!
//! What has been read and may be read again is kept until its room is needed. Each value has a weight in bytes; the
//! sum of weights never passes the capacity. Which value goes is decided by CLOCK: a hand goes round the values and
//! takes the first that has not been asked for since it last came by. That comes close to least-recently-used and makes
//! a hit as cheap as setting a flag.
//!
//! # Where it sits
//! On `sync` alone. It knows nothing of blocks: keys are two numbers, values are whatever is cheap to clone.
//!
//! # Invariants
//! - I1. The weights of a shard's values add up to at most its share of the capacity.
//!
//! # Why this way
//! Shards, so that readers seldom meet at one lock; not too many, so that a large value still fits one. W-TinyLFU or
//! S3-FIFO would withstand scans better, at the price of remembering what is not there. Here the reader says what it is:
//! compaction, which reads everything once, passes the cache by, and scans leave little in a cache that is full (bimodal
//! insertion: Qureshi, Jaleel, Patt, Steely, Emer, "Adaptive Insertion Policies for High Performance Caching", ISCA 2007).

use crate::sync::Mutex;

/// What a value is found under: a file's number and an offset in it.
pub(crate) type CacheKey = (u64, u64);

/// A shard holds at least this much, so that a table's index or filter fits, in bytes.
const SHARD_BYTES_MIN: u64 = 2 << 20;

/// So many that two of a few dozen threads seldom meet.
const SHARDS_MAX: u64 = 64;

/// A bounded map. Safe to use from any thread.
pub(crate) struct Cache<V> {
    shards: Vec<Mutex<Shard<V>>>,
}

/// A hash table with open addressing: a value stands at the place that its key's hash gives, or at the first free one behind
/// it. The hand of CLOCK goes round the same places.
struct Shard<V> {
    /// A power of two of them, at most three quarters taken.
    slots: Vec<Option<Slot<V>>>,
    count: usize,
    /// Where CLOCK's hand stands.
    hand: usize,
    weight: u64,
    capacity: u64,
    /// How many values that are kept seldom came and found no room.
    turned_away: u64,
    /// Counted here, since what all shards share would be written by every reader.
    hits: u64,
    misses: u64,
}

struct Slot<V> {
    key: CacheKey,
    value: V,
    weight: u64,
    asked_for: bool,
}

/// Of values that are kept seldom, without room one in so many is: few, so that one pass over many does not empty the cache,
/// and enough for what is passed over again and again to come in.
const SELDOM: u64 = 8;

/// How many slots a shard begins with.
const SLOTS_MIN: usize = 16;

impl<V: Clone> Cache<V> {
    pub(crate) fn new(capacity: u64) -> Cache<V> {
        let count = (capacity / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        Cache::with_shards(capacity, count)
    }

    /// With one shard, whose capacity is exact: for values that weigh one each.
    pub(crate) fn with_shards(capacity: u64, count: u64) -> Cache<V> {
        let shards = (0..count).map(|_| Mutex::new(Shard::new(capacity / count))).collect();
        Cache { shards }
    }

    pub(crate) fn get(&self, key: CacheKey) -> Option<V> {
        self.shard(key).lock().get(key)
    }

    /// Keeps `value`, if there can be room for it; `evicted` gets what has to go for it.
    pub(crate) fn insert(&self, key: CacheKey, value: V, weight: u64, mut evicted: impl FnMut(V)) {
        self.shard(key).lock().insert(key, value, weight, &mut evicted);
    }

    /// The same for a value that is one of many and will not be asked for soon: without room, only one in a few is kept.
    pub(crate) fn insert_seldom(&self, key: CacheKey, value: V, weight: u64, mut evicted: impl FnMut(V)) {
        let mut shard = self.shard(key).lock();
        if shard.admits(weight) {
            shard.insert(key, value, weight, &mut evicted);
        }
    }

    /// Changes a value in its place, and its weight, if it is there.
    pub(crate) fn change(&self, key: CacheKey, change: impl FnOnce(&mut V, &mut u64)) {
        self.shard(key).lock().change(key, change);
    }

    /// Forgets everything of the file `number`.
    pub(crate) fn remove_file(&self, number: u64) {
        for shard in &self.shards {
            shard.lock().remove_file(number);
        }
    }

    /// Changes the capacity, and lets go of what is over it.
    pub(crate) fn set_capacity(&self, capacity: u64) {
        let share = capacity / self.shards.len() as u64;
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.capacity = share;
            shard.evict_to(share, &mut drop);
        }
    }

    /// What all values weigh together.
    pub(crate) fn weight(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock().weight).sum()
    }

    /// How often a value was found, and how often not.
    pub(crate) fn hits_and_misses(&self) -> (u64, u64) {
        let counts = self.shards.iter().map(|shard| {
            let shard = shard.lock();
            (shard.hits, shard.misses)
        });
        counts.fold((0, 0), |sum, of_shard| (sum.0 + of_shard.0, sum.1 + of_shard.1))
    }

    fn shard(&self, key: CacheKey) -> &Mutex<Shard<V>> {
        // The upper half of the hash, as a share of all shards; the map in the shard uses the lower one.
        &self.shards[(((mix(key) >> 32) * self.shards.len() as u64) >> 32) as usize]
    }
}

impl<V: Clone> Shard<V> {
    fn new(capacity: u64) -> Shard<V> {
        let slots = std::iter::repeat_with(|| None).take(SLOTS_MIN).collect();
        Shard { slots, count: 0, hand: 0, weight: 0, capacity, turned_away: 0, hits: 0, misses: 0 }
    }

    fn get(&mut self, key: CacheKey) -> Option<V> {
        let place = self.place_of(key);
        let Some(slot) = &mut self.slots[place] else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        slot.asked_for = true;
        Some(slot.value.clone())
    }

    fn insert(&mut self, key: CacheKey, value: V, weight: u64, evicted: &mut dyn FnMut(V)) {
        if weight > self.capacity {
            return;
        }
        self.remove(self.place_of(key));
        self.evict_to(self.capacity - weight, evicted);
        if 4 * (self.count + 1) > 3 * self.slots.len() {
            self.grow();
        }
        let place = self.place_of(key);
        self.slots[place] = Some(Slot { key, value, weight, asked_for: false });
        self.count += 1;
        self.weight += weight;
        debug_assert!(self.weight <= self.capacity, "I1");
    }

    fn change(&mut self, key: CacheKey, change: impl FnOnce(&mut V, &mut u64)) {
        let place = self.place_of(key);
        if let Some(slot) = &mut self.slots[place] {
            self.weight -= slot.weight;
            change(&mut slot.value, &mut slot.weight);
            self.weight += slot.weight;
            self.evict_to(self.capacity, &mut drop);
        }
    }

    /// Whether a value that is kept seldom is kept.
    fn admits(&mut self, weight: u64) -> bool {
        let has_room = self.weight + weight <= self.capacity;
        self.turned_away += u64::from(!has_room);
        has_room || self.turned_away.is_multiple_of(SELDOM)
    }

    /// Where `key` is, or where it would go.
    fn place_of(&self, key: CacheKey) -> usize {
        let mut place = self.home_of(key);
        while self.slots[place].as_ref().is_some_and(|slot| slot.key != key) {
            place = self.behind(place);
        }
        place
    }

    /// Where `key` stands if nobody else does.
    fn home_of(&self, key: CacheKey) -> usize {
        mix(key) as usize & (self.slots.len() - 1)
    }

    fn behind(&self, place: usize) -> usize {
        (place + 1) & (self.slots.len() - 1)
    }

    fn grow(&mut self) {
        let slots = std::iter::repeat_with(|| None).take(2 * self.slots.len()).collect();
        for slot in std::mem::replace(&mut self.slots, slots).into_iter().flatten() {
            let place = self.place_of(slot.key);
            self.slots[place] = Some(slot);
        }
    }

    fn evict_to(&mut self, weight: u64, evicted: &mut dyn FnMut(V)) {
        while self.weight > weight {
            match &mut self.slots[self.hand] {
                Some(slot) if !slot.asked_for => {
                    // What moves up into this place is looked at next.
                    self.remove(self.hand).into_iter().for_each(&mut *evicted);
                    continue;
                }
                Some(slot) => slot.asked_for = false,
                None => {}
            }
            self.hand = self.behind(self.hand);
        }
    }

    /// Empties a place, and moves up what stands behind it for want of a better one.
    fn remove(&mut self, place: usize) -> Option<V> {
        let removed = self.slots[place].take()?;
        self.weight -= removed.weight;
        self.count -= 1;
        let (mut free, mut next) = (place, self.behind(place));
        while let Some(slot) = &self.slots[next] {
            // It may stand anywhere from its home on.
            let distance = |from: usize, to: usize| to.wrapping_sub(from) & (self.slots.len() - 1);
            if distance(self.home_of(slot.key), next) >= distance(free, next) {
                self.slots.swap(free, next);
                free = next;
            }
            next = self.behind(next);
        }
        Some(removed.value)
    }

    fn remove_file(&mut self, number: u64) {
        let mut place = 0;
        while place < self.slots.len() {
            if self.slots[place].as_ref().is_some_and(|slot| slot.key.0 == number) {
                self.remove(place);
            } else {
                place += 1;
            }
        }
    }
}

/// Spreads the bits of a key: file numbers and offsets are small and regular.
fn mix(key: CacheKey) -> u64 {
    let folded = (key.0.rotate_left(32) ^ key.1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (folded ^ (folded >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_stay_within_the_capacity() {
        let cache = Cache::with_shards(100, 1);
        for offset in 0..50 {
            cache.insert((1, offset), offset, 7, drop);
            assert!(cache.weight() <= 100);
        }
        assert!(cache.get((1, 49)).is_some());
        assert!(cache.get((1, 0)).is_none(), "the first went long ago");
        cache.insert((2, 0), 0, 101, drop);
        assert!(cache.get((2, 0)).is_none(), "too large to keep");
        cache.change((1, 49), |_, weight| *weight = 10);
        cache.change((1, 0), |_, _| unreachable!("it is gone"));
        assert!(cache.weight() <= 100, "what has grown takes room from others");
        cache.set_capacity(20);
        assert!(cache.weight() <= 20);
        cache.remove_file(1);
        assert_eq!(cache.weight(), 0);
    }

    #[test]
    fn it_holds_what_a_map_holds() {
        let (cache, mut model) = (Cache::with_shards(1 << 40, 1), std::collections::BTreeMap::new());
        let mut dice = 1_u64;
        for step in 0..if cfg!(miri) { 300 } else { 20_000_u64 } {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = ((dice >> 60) % 5, (dice >> 40) % 100);
            match (dice >> 33) % 8 {
                0 if step % 50 == 0 => {
                    cache.remove_file(key.0);
                    model.retain(|(file, _), _| *file != key.0);
                }
                0..=3 => {
                    cache.insert(key, step, 1, drop);
                    model.insert(key, step);
                }
                _ => assert_eq!(cache.get(key), model.get(&key).copied(), "{key:?}"),
            }
            assert_eq!(cache.weight(), model.len() as u64);
        }
    }

    /// A pass over more than fits, again and again: the least recently used would always be gone when its turn comes.
    #[test]
    fn a_pass_over_more_than_fits_finds_some_of_it_the_next_time() {
        let cache = Cache::with_shards(100, 1);
        let pass = || {
            let mut found = 0;
            for offset in 0..20 {
                match cache.get((1, offset)) {
                    Some(_) => found += 1,
                    None => cache.insert_seldom((1, offset), offset, 10, drop),
                }
            }
            found
        };
        pass();
        assert!(pass() >= 9, "the first to come had room");
        let found: Vec<usize> = (0..50).map(|_| pass()).collect();
        assert!(found.iter().all(|found| *found >= 6), "{found:?}");
        // Whoever means it gets in all the same.
        cache.insert((2, 0), 0, 10, drop);
        assert!(cache.get((2, 0)).is_some());
        for _ in 0..50 {
            cache.insert_seldom((3, 0), 0, 10, drop);
        }
        assert!(cache.get((3, 0)).is_some(), "asked for often enough");
    }

    #[test]
    fn what_is_asked_for_outlives_what_is_not() {
        let cache = Cache::with_shards(100, 1);
        cache.insert((1, 0), 0, 10, drop);
        for offset in 1..100 {
            cache.insert((1, offset), offset, 10, drop);
            assert!(cache.get((1, 0)).is_some(), "after {offset} others");
        }
    }
}
