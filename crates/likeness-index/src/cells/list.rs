//! A posting list: slots with their codes, in blocks of 32.

use std::array::{from_mut, from_ref};
use std::ops::Range;

use crate::kernels::{BLOCK, BlockLayout, Hit, Kernels, LINE_WORDS, Line, ScanQuery};
use crate::rabitq::Factors;

/// Spare blocks that a full list asks for: one, or an eighth of what it has.
const GROWTH: usize = 8;

/// Slots, codes and factors; every block is full but the last.
#[derive(Debug, Clone, Default)]
pub(crate) struct List {
    lines: Vec<Line>,
    len: usize,
}

impl List {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Line>()
    }

    /// Empties the list and gives its memory back.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Appends a vector: `nibbles` as [`rabitq::encode`](crate::rabitq::encode) writes them.
    pub(crate) fn push(
        &mut self,
        layout: BlockLayout,
        nibbles: &[u8],
        factors: Factors,
        slot: u32,
    ) {
        if self.len.is_multiple_of(BLOCK) {
            let blocks = self.len / BLOCK;
            if self.lines.capacity() < (blocks + 1) * layout.num_lines() {
                self.lines
                    .reserve_exact((blocks / GROWTH + 1) * layout.num_lines());
            }
            self.lines
                .resize((blocks + 1) * layout.num_lines(), Line::default());
        }
        let position = self.len;
        self.len += 1;
        self.set_code(layout, position, |place| u32::from(nibbles[place]));
        let factors = [
            factors.add.to_bits(),
            factors.scale.to_bits(),
            factors.error.to_bits(),
            slot,
        ];
        for (array, word) in factors.into_iter().enumerate() {
            *self.word_mut(layout, position, array) = word;
        }
    }

    /// Moves the last vector to `position` and drops what was there; returns the slot that moved.
    pub(crate) fn swap_remove(&mut self, layout: BlockLayout, position: usize) -> Option<u32> {
        let last = self.len - 1;
        let moved = (position != last).then(|| {
            let nibbles: Vec<u8> = self.nibbles(layout, last).collect();
            self.set_code(layout, position, |place| u32::from(nibbles[place]));
            for array in 0..4 {
                *self.word_mut(layout, position, array) = self.word(layout, last, array);
            }
            self.slot(layout, position)
        });
        self.len = last;
        let blocks = self.len.div_ceil(BLOCK);
        self.lines.truncate(blocks * layout.num_lines());
        // Memory goes back once half of it is spare.
        if self.lines.capacity() > 2 * self.lines.len() + layout.num_lines() {
            self.lines.shrink_to_fit();
        }
        moved
    }

    pub(crate) fn slot(&self, layout: BlockLayout, position: usize) -> u32 {
        self.word(layout, position, 3)
    }

    pub(crate) fn factors(&self, layout: BlockLayout, position: usize) -> Factors {
        let float = |array| f32::from_bits(self.word(layout, position, array));
        Factors {
            add: float(0),
            scale: float(1),
            error: float(2),
        }
    }

    /// Slots in the order of the list.
    pub(crate) fn slots(&self, layout: BlockLayout) -> impl Iterator<Item = u32> + '_ {
        (0..self.len).map(move |position| self.slot(layout, position))
    }

    /// The code of one vector.
    pub(crate) fn nibbles(
        &self,
        layout: BlockLayout,
        position: usize,
    ) -> impl Iterator<Item = u8> + '_ {
        let block = self.block(layout, position);
        (0..layout.padded_dim() / 4).map(move |place| {
            let (line, word, bits) = nibble_place(layout, position, place);
            (self.lines[block + line].0[word] >> bits & 0x0f) as u8
        })
    }

    fn set_code(&mut self, layout: BlockLayout, position: usize, nibble: impl Fn(usize) -> u32) {
        let block = self.block(layout, position);
        for place in 0..layout.padded_dim() / 4 {
            let (line, word, bits) = nibble_place(layout, position, place);
            let target = &mut self.lines[block + line].0[word];
            *target = *target & !(0x0f << bits) | nibble(place) << bits;
        }
    }

    /// Appends to `hits` what the query cannot rule out.
    pub(crate) fn scan(
        &self,
        kernels: Kernels,
        layout: BlockLayout,
        query: &ScanQuery<'_>,
        hits: &mut Vec<Hit>,
    ) {
        let blocks = 0..self.num_blocks();
        self.scan_blocks(kernels, layout, blocks, from_ref(query), from_mut(hits));
    }

    /// Like [`scan`](Self::scan) for each of the queries, over some blocks alone.
    pub(crate) fn scan_blocks<const N: usize>(
        &self,
        kernels: Kernels,
        layout: BlockLayout,
        blocks: Range<usize>,
        queries: &[ScanQuery<'_>; N],
        hits: &mut [Vec<Hit>; N],
    ) {
        let len = self.len.min(blocks.end * BLOCK) - blocks.start * BLOCK;
        let lines = &self.lines[blocks.start * layout.num_lines()..];
        kernels.scan(layout, lines, len, queries, hits);
    }

    /// Asks for the list's memory, which will be scanned soon.
    pub(crate) fn prefetch(&self) {
        Kernels::prefetch(&self.lines);
    }

    pub(crate) fn num_blocks(&self) -> usize {
        self.len.div_ceil(BLOCK)
    }

    fn block(&self, layout: BlockLayout, position: usize) -> usize {
        debug_assert!(position < self.len);
        position / BLOCK * layout.num_lines()
    }

    fn word(&self, layout: BlockLayout, position: usize, array: usize) -> u32 {
        let (line, word) = factor_place(layout, position, array);
        self.lines[self.block(layout, position) + line].0[word]
    }

    fn word_mut(&mut self, layout: BlockLayout, position: usize, array: usize) -> &mut u32 {
        let (line, word) = factor_place(layout, position, array);
        let block = self.block(layout, position);
        &mut self.lines[block + line].0[word]
    }
}

/// Line, word and shift of a nibble.
fn nibble_place(layout: BlockLayout, position: usize, place: usize) -> (usize, usize, u32) {
    let (byte, shift) = layout.nibble(position, place);
    (byte / 64, byte % 64 / 4, (byte % 4) as u32 * 8 + shift)
}

fn factor_place(layout: BlockLayout, position: usize, array: usize) -> (usize, usize) {
    let word = array * BLOCK + position % BLOCK;
    (
        layout.num_code_lines() + word / LINE_WORDS,
        word % LINE_WORDS,
    )
}
