//! A blob on its way from a registry, as a stream of bytes that survives cuts of the connection.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use reqwest::header::{CONTENT_RANGE, HeaderMap, RANGE};
use reqwest::{Method, StatusCode};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::failure::Failure;
use super::session::Session;
use crate::source::{Damage, SourceError};
use crate::store::Digest;

/// How often something is tried without progress before it is given up.
const TRIES: u32 = 5;

/// How long to wait before the second try; then twice as long each time. Tests have no time to lose.
const FIRST_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 200 });

/// Chunks that wait to be inflated. The client reads at most some 16 KiB to 400 KiB at once.
const WAITING: usize = 32;

/// Counts a failed try and waits before the next; says whether there is to be one.
pub(super) async fn pause(tries: &mut u32) -> bool {
    *tries += 1;
    if *tries < TRIES {
        tokio::time::sleep(FIRST_PAUSE * 2u32.pow(*tries - 1)).await;
    }
    *tries < TRIES
}

/// What is to be downloaded, and from where.
pub(super) struct Job {
    pub session: Arc<Session>,
    pub digest: Digest,
    pub size: u64,
}

/// The bytes of a blob in order, with cuts mended. Neither their digest nor their number is verified here.
#[derive(Debug)]
pub(super) struct Download {
    chunks: Receiver<Result<Bytes, SourceError>>,
    current: Bytes,
}

impl Download {
    /// Starts to download. Dropped, the download ends.
    pub fn start(runtime: &Runtime, job: Job) -> Self {
        let (sender, chunks) = mpsc::channel(WAITING);
        runtime.spawn(async move {
            if let Err(error) = job.run(&sender).await {
                // Who no longer listens has had an error of their own.
                let _ = sender.send(Err(error)).await;
            }
        });
        Self { chunks, current: Bytes::new() }
    }
}

impl Read for Download {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.current = chunk.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let n = buf.len().min(self.current.len());
        self.current.copy_to_slice(&mut buf[..n]);
        Ok(n)
    }
}

impl Job {
    async fn run(&self, out: &Sender<Result<Bytes, SourceError>>) -> Result<(), SourceError> {
        let mut done = 0;
        let mut tries = 0;
        while done < self.size {
            let before = done;
            let failure = match self.attempt(&mut done, out).await {
                Ok(()) if done >= self.size || out.is_closed() => return Ok(()),
                Ok(()) => Failure::Cut(format!("it ended after {done} of {} bytes", self.size)),
                Err(failure) => failure,
            };
            if done > before {
                tries = 0;
            }
            // A registry that cannot be reached has just been reached for something else.
            let may_pass = failure.may_pass() || matches!(failure, Failure::Unreachable(_));
            if !may_pass || !pause(&mut tries).await {
                return Err(self.error(failure, done, tries));
            }
        }
        Ok(())
    }

    /// Downloads from `done` on until the end or a failure.
    async fn attempt(&self, done: &mut u64, out: &Sender<Result<Bytes, SourceError>>) -> Result<(), Failure> {
        let range = (RANGE, format!("bytes={done}-"));
        let mut answer = self.session.request(Method::GET, &format!("blobs/{}", self.digest), range).await?;
        let mut skip = match answer.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(answer.headers(), *done) => 0,
            StatusCode::PARTIAL_CONTENT => {
                return Err(Failure::Other(format!("not the part from byte {done} on, as asked")));
            }
            // A registry without ranges starts from the beginning.
            _ => *done,
        };
        while let Some(mut chunk) = answer.chunk().await? {
            let skipped = skip.min(chunk.len() as u64);
            chunk.advance(skipped as usize);
            skip -= skipped;
            if chunk.is_empty() {
                continue;
            }
            *done += chunk.len() as u64;
            if out.send(Ok(chunk)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn error(&self, failure: Failure, done: u64, attempts: u32) -> SourceError {
        let what = format!("layer {}", self.digest);
        match failure {
            Failure::NoSuchRange => {
                let damage = Damage::Truncated { expected: self.size, actual: done };
                SourceError::Damaged { what, place: self.session.place(), damage }
            }
            Failure::Cut(detail) => {
                SourceError::Cut { registry: self.session.registry(), what, attempts, detail }
            }
            failure => self.session.error(failure, &what),
        }
    }
}

/// Whether a part of a blob is the one from `start` on ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-14.4), section 14.4).
fn starts_at(headers: &HeaderMap, start: u64) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let first = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-'));
    first.is_some_and(|(first, _)| first.trim().parse() == Ok(start))
}
