//! The protocol of clamd, ClamAV's daemon.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{Error, Verdict};

/// How long clamd may take to connect, to take a chunk, and to say what it found.
const DEADLINE: Duration = Duration::from_secs(60);
/// The most bytes of its answer.
const LONGEST: u64 = 4096;

/// A file on its way to clamd.
#[derive(Debug)]
pub struct Clamd(TcpStream);

/// What clamd says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// What that means.
    pub verdict: Verdict,
    /// In its own words: the name of what it found, or why it could not look.
    pub words: String,
}

impl Clamd {
    /// Connects to clamd at `address`, such as `localhost:3310`.
    pub async fn connect(address: &str) -> Result<Self, Error> {
        let mut stream = within(TcpStream::connect(address)).await?;
        within(stream.write_all(b"zINSTREAM\0")).await?;
        Ok(Self(stream))
    }

    /// Sends a part of the file. Clamd hangs up on a file that is too large for it; [`end`](Self::end) then says so.
    pub async fn take(&mut self, chunk: &Bytes) -> Result<(), Error> {
        // An empty chunk would end the file.
        let Some(length) = u32::try_from(chunk.len()).ok().filter(|length| *length > 0) else {
            return Ok(());
        };
        within(self.0.write_all(&length.to_be_bytes())).await?;
        within(self.0.write_all(chunk)).await
    }

    /// Ends the file, and says what clamd found in it.
    pub async fn end(mut self) -> Result<Scanned, Error> {
        // It may have answered and hung up already.
        let _ = within(self.0.write_all(&[0; 4])).await;
        let mut answer = Vec::new();
        let ended = within((&mut self.0).take(LONGEST).read_to_end(&mut answer)).await;
        if answer.is_empty() {
            ended?;
        }
        Ok(read(&String::from_utf8_lossy(&answer)))
    }
}

/// Reads an answer: `stream: OK`, `stream: Eicar-Signature FOUND`, or an error.
fn read(answer: &str) -> Scanned {
    let answer = answer.trim_end_matches(['\0', '\n']);
    let words = answer.strip_prefix("stream: ").unwrap_or(answer);
    let (verdict, words) = match (words, words.strip_suffix(" FOUND")) {
        ("OK", _) => (Verdict::Clean, "OK"),
        (_, Some(name)) => (Verdict::Infected, name),
        (words, None) => (Verdict::Unscannable, words),
    };
    let words = words.to_owned();
    Scanned { verdict, words }
}

async fn within<T>(work: impl Future<Output = std::io::Result<T>>) -> Result<T, Error> {
    match timeout(DEADLINE, work).await {
        Ok(outcome) => outcome.map_err(|error| Error::Scanner(Some(error))),
        Err(_) => Err(Error::Scanner(None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ok_is_clean() {
        let told = |answer: &str| {
            let Scanned { verdict, words } = read(answer);
            (verdict, words)
        };
        assert_eq!(told("stream: OK\0"), (Verdict::Clean, "OK".to_owned()));
        assert_eq!(
            told("stream: Win.Test.EICAR_HDB-1 FOUND\0"),
            (Verdict::Infected, "Win.Test.EICAR_HDB-1".to_owned())
        );
        let error = "INSTREAM size limit exceeded. ERROR";
        assert_eq!(told(error), (Verdict::Unscannable, error.to_owned()));
        assert_eq!(told("").0, Verdict::Unscannable);
    }
}
