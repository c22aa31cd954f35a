//! End-to-end tests of pitwatch.
