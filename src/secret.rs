//! A value that must not be seen: no `Display`, no `Clone`, a `Debug` that hides, wiped when dropped.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroize;

/// Holds a secret. Reading it takes a call that can be searched for: [`Secret::expose`].
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that sends or compares it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

/// In constant time, so that comparing two reveals nothing of them but their lengths.
impl PartialEq for Secret<String> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret<String> {}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;

    use super::*;
    use crate::identity::KeyPair;
    use crate::token::{Grant, Token};

    /// Compiles only while the type lacks the trait: with it, two implementations would fit the `_`.
    macro_rules! lacks {
        ($type:ty: $($trait:path),+) => {$({
            trait Lacks<Way> {
                fn proof() {}
            }
            struct Has;
            impl<T: ?Sized> Lacks<()> for T {}
            impl<T: ?Sized + $trait> Lacks<Has> for T {}
            <$type as Lacks<_>>::proof();
        })+};
    }

    #[test]
    fn nothing_secret_can_be_copied_or_shown() {
        lacks!(Secret<String>: Clone, Display);
        lacks!(KeyPair: Clone, Display);
        lacks!(Grant: Clone, Display);
        lacks!(Token: Clone, Display);
    }

    #[test]
    fn debug_hides_the_value() {
        let secret = Secret::new(String::from("s3cr3t"));
        assert_eq!(format!("{secret:?}"), "Secret(hidden)");
        assert_eq!(secret.expose(), "s3cr3t");
    }
}
