//! The same bytes in different pieces, as a network may bring them.

/// How many bytes come next.
pub(crate) enum Pieces {
    Of(usize),
    Mixed(Random),
}

impl Pieces {
    pub(crate) fn next(&mut self, left: usize) -> usize {
        match self {
            Self::Of(size) => left.min(*size),
            Self::Mixed(random) => left.min(1 + random.below(40)),
        }
    }
}

/// All at once, byte by byte, and two ways that depend on the bytes.
pub(crate) fn ways(data: &[u8]) -> [Pieces; 4] {
    let mut random = Random::of(data);
    [Pieces::Of(usize::MAX), Pieces::Of(1), Pieces::Of(2 + random.below(8)), Pieces::Mixed(random)]
}

/// Numbers that depend on the input alone, so that every finding can be repeated (FNV-1a, then xorshift).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn of(data: &[u8]) -> Self {
        let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        Self(data.iter().fold(0xcbf2_9ce4_8422_2325, hash) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }
}
