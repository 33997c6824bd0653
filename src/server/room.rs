//! Room for what few clients need at once, and what would be too much if all did.

use std::sync::atomic::{AtomicUsize, Ordering};

/// So many places.
#[derive(Debug)]
pub(super) struct Room {
    taken: AtomicUsize,
    places: usize,
}

impl Room {
    pub(super) fn new(places: usize) -> Self {
        Self { taken: AtomicUsize::new(0), places }
    }

    /// A place, until it is dropped; none when all are taken.
    pub(super) fn take(&self) -> Option<Place<'_>> {
        let place = Place(self);
        (self.taken.fetch_add(1, Ordering::Relaxed) < self.places).then_some(place)
    }
}

/// A place that is taken.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a Room);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        let room = Room::new(2);
        let (first, second) = (room.take(), room.take());
        assert!(first.is_some() && second.is_some() && room.take().is_none());
        drop(first);
        assert!(room.take().is_some());
        drop(second);
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }
}
