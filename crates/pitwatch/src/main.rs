//! pitwatch
fn main() {}
