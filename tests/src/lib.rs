//! Shared inputs of the end-to-end tests.
