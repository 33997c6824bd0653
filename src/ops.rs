//! What operators ask for: is it healthy, how is it doing, stop.

pub mod health;
pub mod notify;
