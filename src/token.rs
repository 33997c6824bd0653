//! The access token: fetched, kept fresh in the background, published.
