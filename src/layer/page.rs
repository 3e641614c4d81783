//! Pages: where inflated bytes stand until they are used. They are of one size and are used again.

use std::ops::Range;

/// How far back a distance reaches.
pub const WINDOW: usize = 32 << 10;
/// How much of a page may be filled.
pub const FULL: usize = WINDOW + (256 << 10);
/// Three literals, the longest match, and what copying in whole chunks writes behind it.
pub(super) const SLACK: usize = 3 + 258 + 2 * CHUNK;
/// Matches are copied in chunks.
pub(super) const CHUNK: usize = 16;

/// Where inflated bytes stand.
pub struct Page {
    pub(super) bytes: Box<[u8; FULL + SLACK]>,
    /// How many bytes of it are used.
    pub(super) used: usize,
}

impl Default for Page {
    fn default() -> Self {
        // Made on the heap: it is larger than what a thread's stack should hold.
        let bytes = vec![0; FULL + SLACK].into_boxed_slice().try_into().unwrap_or_else(|_| Box::new([0; FULL + SLACK]));
        Page { bytes, used: 0 }
    }
}

impl Page {
    /// The bytes in it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    /// How many more it takes.
    pub fn room(&self) -> usize {
        FULL.saturating_sub(self.used)
    }

    /// Forgets what is in it.
    pub fn clear(&mut self) {
        self.used = 0;
    }

    /// Makes it begin with the last bytes of `other`, which is what distances may refer to.
    pub fn follow(&mut self, other: &Page) {
        let start = other.used.saturating_sub(WINDOW);
        let window = &other.bytes[start..other.used];
        self.bytes[..window.len()].copy_from_slice(window);
        self.used = window.len();
    }

    pub(super) fn follow_itself(&mut self) {
        let start = self.used.saturating_sub(WINDOW);
        self.bytes.copy_within(start..self.used, 0);
        self.used -= start;
    }
}

/// Who wants inflated bytes.
pub trait Sink {
    /// The next bytes of the stream are in this part of the page.
    fn fresh(&mut self, page: &Page, part: Range<usize>);

    /// The page is full, and all that is in it was shown. Whoever wants to keep it puts another in its place, which
    /// [follows](Page::follow) it, and returns true. So many bytes of the input are not needed any more.
    fn turn(&mut self, _page: &mut Page, _consumed: usize) -> bool {
        false
    }
}

impl<F: FnMut(&[u8])> Sink for F {
    fn fresh(&mut self, page: &Page, part: Range<usize>) {
        self(&page.bytes[part]);
    }
}
