use std::sync::{Mutex, PoisonError};

/// How many texts are remembered.
const MAX: usize = 16;

/// The first few different texts, so that whoever makes up many does not flood the log.
#[derive(Debug, Default)]
pub struct Firsts(Mutex<Vec<String>>);

impl Firsts {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Remembers `text`; returns whether it is one of the first few, and new.
    pub fn take(&self, text: &str) -> bool {
        let mut firsts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = firsts.len() < MAX && !firsts.iter().any(|first| first == text);
        if is_new {
            firsts.push(text.to_owned());
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_new_once_and_only_so_many_are() {
        let firsts = Firsts::new();
        assert!(firsts.take("a") && !firsts.take("a"));
        let new = (0..1_000).filter(|n| firsts.take(&n.to_string()));
        assert_eq!(new.count(), MAX - 1);
    }
}
