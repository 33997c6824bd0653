//! One test for each bug that a similar program has or had, read in its source or its issues.

mod responses;
mod limits;
mod tokens;
