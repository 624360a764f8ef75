//! Lines: everything up to a delimiter.

use super::{Framing, Garbled};

/// Cuts at a delimiter. A line that is too long is thrown away with all that belongs to it.
pub struct Lines {
    delimiter: Vec<u8>,
    longest: usize,
    buffer: Vec<u8>,
    /// Until the next delimiter nothing counts; true when that is worth a word.
    skipping: Option<bool>,
}

impl Lines {
    /// Lines of up to `longest` bytes, each ended by `delimiter`, which must not be empty.
    pub fn new(delimiter: &[u8], longest: usize) -> Self {
        Self { delimiter: delimiter.to_vec(), longest, buffer: Vec::new(), skipping: None }
    }
}

impl Framing for Lines {
    fn push(&mut self, bytes: &[u8]) -> Vec<Result<Vec<u8>, Garbled>> {
        let mut lines = Vec::new();
        for byte in bytes {
            self.buffer.push(*byte);
            if self.buffer.ends_with(&self.delimiter) {
                let end = self.buffer.len() - self.delimiter.len();
                match self.skipping.take() {
                    None if end > 0 => lines.push(Ok(self.buffer[..end].to_vec())),
                    Some(true) => {
                        lines.push(Err(Garbled(format!("a line was longer than {} bytes", self.longest))));
                    }
                    None | Some(false) => {}
                }
                self.buffer.clear();
            } else if self.buffer.len() >= self.longest + self.delimiter.len() {
                self.skipping.get_or_insert(true);
                // The delimiter may have begun.
                self.buffer.drain(..=self.buffer.len() - self.delimiter.len());
            }
        }
        lines
    }

    fn clear(&mut self) {
        self.buffer.clear();
        self.skipping = None;
    }

    fn in_midst(&mut self) {
        self.skipping = Some(false);
    }
}

#[cfg(test)]
impl Lines {
    /// How many bytes wait for more.
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }
}
