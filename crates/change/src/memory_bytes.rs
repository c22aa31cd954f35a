//! A [`Memory`] as bytes: the fit, which stays, and what moves with each look, each with its checksum.
//!
//! Bytes are those of the machine; a machine of another order takes them for damaged.

use pitwatch_grid::Day;
use wide::bytemuck::{Pod, cast_slice, cast_slice_mut, pod_read_unaligned};

use crate::Params;
use crate::lanes::N_LANES;
use crate::map::{Finding, Ground, Kind, N_GROUND_NUMBERS};
use crate::memory::{Bounds, Deciding, DecidingLook, Fit, Live, Memory, Records, TileState};
use crate::monitor::{Alerted, Followed, Green, Watch};
use crate::series::LookDate;

/// Start of the bytes of a fit, and of those of what moves. The number changes with what they mean.
const FIT_MAGIC: u64 = u64::from_le_bytes(*b"pwfit 3\n");
const LIVE_MAGIC: u64 = u64::from_le_bytes(*b"pwliv 3\n");

/// 64-bit numbers before the tiles of a fit.
const N_FIT_HEAD: usize = 4;

/// Stands for no look.
const NONE: u32 = u32::MAX;

impl Records {
    /// Bytes of a record where the history has so many looks.
    #[must_use]
    pub fn n_bytes(n_history: usize) -> usize {
        Self::n_numbers(n_history) * size_of::<f32>() + size_of::<u64>()
    }

    /// Writes the records of some pixels, each with its checksum.
    ///
    /// # Panics
    ///
    /// If there are no such pixels.
    pub fn write_bytes(&self, pixels: std::ops::Range<usize>, out: &mut Vec<u8>) {
        for pixel in pixels {
            let record: &[u8] = cast_slice(self.of(pixel));
            out.extend_from_slice(record);
            out.extend_from_slice(&checksum(record).to_ne_bytes());
        }
    }

    /// Reads one; false if it is damaged.
    #[must_use]
    pub fn read_bytes(bytes: &[u8], record: &mut [f32]) -> bool {
        let record: &mut [u8] = cast_slice_mut(record);
        let Some((numbers, sum)) = bytes.split_last_chunk() else {
            return false;
        };
        if numbers.len() != record.len() || checksum(numbers) != u64::from_ne_bytes(*sum) {
            return false;
        }
        record.copy_from_slice(numbers);
        true
    }
}

impl Memory {
    /// Bytes of the fit of so many pixels.
    #[must_use]
    pub fn n_fit_bytes(n_pixels: usize) -> usize {
        let tile = size_of::<Fit>() + size_of::<Bounds>();
        (N_FIT_HEAD + 1) * size_of::<u64>() + n_pixels.div_ceil(N_LANES) * tile
    }

    /// The part that no look changes.
    #[must_use]
    pub fn fit_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::n_fit_bytes(self.n_pixels));
        let head = [
            FIT_MAGIC,
            self.n_pixels as u64,
            self.n_history as u64,
            self.n_deciding as u64,
        ];
        out.extend_from_slice(cast_slice(&head));
        for tile in &self.tiles {
            out.extend_from_slice(cast_slice(&tile.fit));
            out.extend_from_slice(cast_slice(&tile.bounds));
        }
        seal(out)
    }

    /// The part that every look changes.
    #[must_use]
    pub fn live_bytes(&self) -> Vec<u8> {
        let days: Vec<i32> = self.dates.iter().map(|date| date.day.0).collect();
        let mut watched = Vec::new();
        for (pixel, followed) in &self.watched {
            watched.push(*pixel);
            write_followed(followed, &mut watched);
        }
        let head = [LIVE_MAGIC, days.len() as u64, watched.len() as u64];
        let n_bytes = size_of_val(&head)
            + size_of_val(days.as_slice())
            + size_of_val(watched.as_slice())
            + self.tiles.len() * (size_of::<Live>() + self.n_deciding * size_of::<Deciding>());
        let mut out = Vec::with_capacity(n_bytes + size_of::<u64>());
        out.extend_from_slice(cast_slice(&head));
        out.extend_from_slice(cast_slice(&days));
        out.extend_from_slice(cast_slice(&watched));
        for tile in &self.tiles {
            out.extend_from_slice(cast_slice(&tile.live));
        }
        for look in &self.looks {
            out.extend_from_slice(cast_slice(&look.numbers));
        }
        seal(out)
    }

    /// The memory of these bytes; `None` if they are damaged, or of other parameters.
    #[must_use]
    pub fn from_bytes(fit: &[u8], live: &[u8], params: &Params) -> Option<Self> {
        let mut fit = Bytes(unseal(fit)?);
        let head: [u64; N_FIT_HEAD] = fit.array()?;
        let [FIT_MAGIC, n_pixels, n_history, n_deciding] = head else {
            return None;
        };
        if n_deciding != u64::from(params.median_looks) {
            return None;
        }
        let mut live = Bytes(unseal(live)?);
        let [LIVE_MAGIC, n_days, n_words] = live.array()? else {
            return None;
        };
        let size = |n: u64| usize::try_from(n).ok();
        let days: Vec<i32> = live.all(size(n_days)?)?;
        let words: Vec<u32> = live.all(size(n_words)?)?;
        let dates = days.into_iter().map(|day| LookDate::of(Day(day))).collect();
        let mut memory = Self::empty(size(n_pixels)?, size(n_history)?, dates, params);
        let n_tiles = memory.n_pixels.div_ceil(N_LANES);
        memory.tiles.reserve(n_tiles);
        for _ in 0..n_tiles {
            memory.tiles.push(TileState {
                fit: fit.one()?,
                bounds: fit.one()?,
                live: live.one()?,
            });
        }
        for _ in 0..n_tiles * memory.n_deciding {
            memory.looks.push(DecidingLook {
                numbers: live.one()?,
                ..DecidingLook::NONE
            });
        }
        memory.watched = watched(&words, params)?;
        if !fit.0.is_empty() || !live.0.is_empty() || memory.n_history > memory.dates.len() {
            return None;
        }
        memory.show_all(params);
        Some(memory)
    }
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum.to_ne_bytes());
    bytes
}

fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (bytes, sum) = bytes.split_last_chunk()?;
    (checksum(bytes) == u64::from_ne_bytes(*sum)).then_some(bytes)
}

/// A checksum against damage, not against intent: any change of one 64-bit word changes it, for each step is invertible.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |sum: u64, word: [u8; 8]| {
        (sum ^ u64::from_ne_bytes(word))
            .wrapping_mul(FACTOR)
            .rotate_left(29)
    };
    // Four sums beside each other, so that no multiplication waits for the one before it.
    let mut sums = [1u64, 2, 3, 4];
    let (rows, rest) = bytes.as_chunks::<32>();
    for row in rows {
        let (words, _) = row.as_chunks::<8>();
        for (sum, &word) in sums.iter_mut().zip(words) {
            *sum = step(*sum, word);
        }
    }
    let mut sum = step(bytes.len() as u64, [0; 8]);
    for other in sums {
        sum = step(sum, other.to_ne_bytes());
    }
    for part in rest.chunks(8) {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        sum = step(sum, word);
    }
    sum
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n_bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n_bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u64; N]> {
        self.all(N)?.try_into().ok()
    }

    fn one<T: Pod>(&mut self) -> Option<T> {
        Some(pod_read_unaligned(self.take(size_of::<T>())?))
    }

    fn all<T: Pod>(&mut self, n: usize) -> Option<Vec<T>> {
        let bytes = self.take(n.checked_mul(size_of::<T>())?)?;
        let mut all = vec![T::zeroed(); n];
        cast_slice_mut::<T, u8>(&mut all).copy_from_slice(bytes);
        Some(all)
    }
}

fn write_followed(followed: &Followed, out: &mut Vec<u32>) {
    for watch in [&followed.excavation, &followed.cleared] {
        let look = |look: Option<u32>| look.unwrap_or(NONE);
        out.extend([
            watch.run.to_bits(),
            watch.n_without,
            watch.change.0,
            watch.change.1,
            look(watch.core_look),
            u32::from(watch.alert.is_some()),
        ]);
        if let Some(alert) = &watch.alert {
            out.extend([
                alert.look,
                alert.day.0.cast_unsigned(),
                alert.change.0,
                alert.change.1,
                alert.n_with,
                alert.n_looks,
                look(alert.confirmed_look),
                alert.green.runs[0],
                alert.green.runs[1],
                look(alert.green.greened_look),
                look(alert.green.stayed_bare_look),
            ]);
            out.extend(alert.green.greener_looks.map(look));
            out.extend(alert.colors.map(f32::to_bits));
            write_ground(&alert.at_alert, out);
            write_ground(&alert.at_confirmation, out);
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "fewer findings than looks")]
    out.push(followed.retracted.len() as u32);
    for finding in &followed.retracted {
        let look = |look: Option<u32>| look.unwrap_or(NONE);
        out.extend([
            finding.kind as u32,
            finding.alert_look,
            look(finding.confirmed_look),
            look(finding.retracted_look),
            look(finding.greened_look),
            look(finding.stayed_bare_look),
            finding.last_look_before,
            finding.first_look_after,
            look(finding.core_look),
        ]);
        out.extend(finding.greener_looks.map(look));
        write_ground(&finding.at_alert, out);
        write_ground(&finding.at_confirmation, out);
    }
}

fn write_ground(ground: &Ground, out: &mut Vec<u32>) {
    out.extend(ground.to_numbers().map(f32::to_bits));
}

fn watched(words: &[u32], params: &Params) -> Option<Vec<(u32, Followed)>> {
    let mut words = Words(words);
    let mut watched = Vec::new();
    while !words.0.is_empty() {
        let pixel = words.one()?;
        let mut followed = Followed::new(params);
        words.watch(&mut followed.excavation)?;
        words.watch(&mut followed.cleared)?;
        for _ in 0..words.one()? {
            followed.retracted.push(words.finding()?);
        }
        watched.push((pixel, followed));
    }
    watched
        .is_sorted_by_key(|&(pixel, _)| pixel)
        .then_some(watched)
}

struct Words<'a>(&'a [u32]);

impl Words<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u32; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn one(&mut self) -> Option<u32> {
        self.array().map(|[word]| word)
    }

    fn ground(&mut self) -> Option<Ground> {
        let numbers = self.array::<N_GROUND_NUMBERS>()?.map(f32::from_bits);
        Some(Ground::from_numbers(&numbers))
    }

    fn watch(&mut self, watch: &mut Watch) -> Option<()> {
        let [run, n_without, before, after, core_look, has_alert] = self.array()?;
        watch.run = f32::from_bits(run);
        watch.n_without = n_without;
        watch.change = (before, after);
        watch.core_look = some(core_look);
        if has_alert != 0 {
            let [
                look,
                day,
                before,
                after,
                n_with,
                n_looks,
                confirmed,
                green,
                bare,
                greened,
                stayed,
            ] = self.array()?;
            let greener_looks = self.array()?.map(some);
            let colors = self.array()?.map(f32::from_bits);
            watch.alert = Some(Alerted {
                look,
                day: Day(day.cast_signed()),
                change: (before, after),
                n_with,
                n_looks,
                at_alert: self.ground()?,
                at_confirmation: self.ground()?,
                colors,
                confirmed_look: some(confirmed),
                green: Green {
                    runs: [green, bare],
                    greened_look: some(greened),
                    stayed_bare_look: some(stayed),
                    greener_looks,
                },
            });
        }
        Some(())
    }

    fn finding(&mut self) -> Option<Finding> {
        let [
            kind,
            alert,
            confirmed,
            retracted,
            greened,
            stayed,
            before,
            after,
            core,
        ] = self.array()?;
        let greener_looks = self.array()?.map(some);
        let kind = [Kind::Cleared, Kind::Excavation]
            .into_iter()
            .find(|&known| known as u32 == kind)?;
        let at_alert = self.ground()?;
        Some(Finding {
            confirmed_look: some(confirmed),
            retracted_look: some(retracted),
            greened_look: some(greened),
            stayed_bare_look: some(stayed),
            greener_looks,
            core_look: some(core),
            at_confirmation: self.ground()?,
            ..Finding::new(kind, alert, (before, after), at_alert)
        })
    }
}

fn some(look: u32) -> Option<u32> {
    (look != NONE).then_some(look)
}
