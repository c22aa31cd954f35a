use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Memory for large buffers that is used again: the first touch of fresh pages costs more than what is done with them.
#[derive(Debug, Clone)]
pub struct Buffers(Arc<Spare>);

/// A buffer whose memory goes back when it is dropped. What it held before is still in it.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    home: Arc<Spare>,
}

#[derive(Debug)]
struct Spare {
    kept: Mutex<Vec<Vec<u8>>>,
    max_bytes: usize,
}

impl Buffers {
    /// Keeps at most `max_bytes` that are not in use.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self(Arc::new(Spare {
            kept: Mutex::default(),
            max_bytes,
        }))
    }

    /// A buffer that can hold `n_bytes` without growing.
    #[must_use]
    pub fn take(&self, n_bytes: usize) -> Buffer {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = (0..kept.len())
            .filter(|&index| kept[index].capacity() >= n_bytes)
            .min_by_key(|&index| kept[index].capacity());
        let bytes = match fitting {
            Some(index) => kept.swap_remove(index),
            None => {
                // One that is too small makes room for this one.
                kept.pop();
                Vec::with_capacity(n_bytes)
            }
        };
        Buffer {
            bytes,
            home: Arc::clone(&self.0),
        }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut kept = self
            .home
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let n_kept: usize = kept.iter().map(Vec::capacity).sum();
        if n_kept + bytes.capacity() <= self.home.max_bytes {
            kept.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_up_to_the_limit() {
        let buffers = Buffers::new(300);
        let (first, second) = (buffers.take(200), buffers.take(200));
        let place = first.as_ptr();
        drop(first);
        drop(second);
        assert_eq!(buffers.take(100).as_ptr(), place);
        // One too small is given up.
        assert_ne!(buffers.take(250).as_ptr(), place);
        assert!(buffers.take(10).capacity() >= 250);
    }
}
