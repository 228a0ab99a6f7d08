/// A SplitMix64 generator (Steele, Lea & Flood, OOPSLA 2014), a sequence for each seed and stream. Integers
/// and divisions only, so that a sequence is the same on every machine.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// Starts a sequence. Any two numbers make a sequence of their own.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        random.next();
        random
    }

    /// Returns 64 uniform bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Returns a number in `0..bound`, 0 for a bound of 0. The bias is below `bound` / 2³².
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// Returns a number in `0.0..1.0`, on a grid of 2⁻⁵³.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns true with this probability.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// Returns one of `choices`, of which there is at least one.
    pub(super) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let len = u32::try_from(choices.len()).unwrap_or(u32::MAX);
        &choices[self.below(len) as usize]
    }

    /// Returns one of `choices`, earlier ones more often: the lesser of two draws.
    pub(super) fn favour<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let len = u32::try_from(choices.len()).unwrap_or(u32::MAX);
        &choices[self.below(len).min(self.below(len)) as usize]
    }
}
