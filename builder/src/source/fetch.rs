//! Layers into the store, several at a time.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::ingest::Ingest;
use super::progress::{Activity, Progress};
use super::{Blob, Image, Layer, Resolved, SourceError};
use crate::store::{Cached, Store};

/// How many layers are on their way at once. More would make better use of a far registry, but not of the
/// CPUs or the disk.
const AT_ONCE: usize = 4;

/// Brings the layers of `image` into the store that are not in it yet: several at a time, each inflated while
/// it is read, verified before and after, and resumed where a registry's connection is cut. What arrived
/// stays there when another layer fails.
///
/// # Errors
/// The first that keeps a layer from being found, read, verified or written.
pub fn fetch(image: &Resolved, store: &Store, progress: &dyn Progress) -> Result<Image, SourceError> {
    let mut seen = HashSet::new();
    let mut missing = Vec::new();
    for blob in image.layers.iter().filter(|blob| seen.insert(blob.diff_id)) {
        match store.layer(&blob.diff_id)? {
            Cached::Whole(_) => drop(progress.start(Activity::Cached, &short(blob), Some(blob.size))),
            Cached::Missing => missing.push(blob),
            Cached::Damaged => {
                progress.notice(&format!("layer {} is damaged in the cache, and fetched again", short(blob)));
                missing.push(blob);
            }
        }
    }
    // The largest first, so that none of them is left to run alone at the end.
    missing.sort_by_key(|blob| std::cmp::Reverse(blob.size));
    ingest(image, &missing, store, progress)?;

    let layer = |blob: &Blob| match store.layer(&blob.diff_id)? {
        Cached::Whole(tar) => Ok(Layer { diff_id: blob.diff_id, tar }),
        // Someone emptied the cache meanwhile.
        _ => Err(SourceError::Missing { place: "the cache".to_owned(), what: blob.diff_id.to_string() }),
    };
    let layers = image.layers.iter().map(layer).collect::<Result<_, _>>()?;
    Ok(Image { key: image.key, config: image.config.clone(), layers })
}

fn ingest(
    image: &Resolved,
    blobs: &[&Blob],
    store: &Store,
    progress: &dyn Progress,
) -> Result<(), SourceError> {
    let place = image.origin.place();
    let next = AtomicUsize::new(0);
    let cancel = AtomicBool::new(false);
    let failed = Mutex::new(None);
    let work = || {
        while let Some(blob) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let step = progress.start(image.origin.activity(), &short(blob), Some(blob.size));
            let job = Ingest { blob, place: &place, store, step: &*step, cancel: &cancel };
            if let Err(error) = image.origin.open(blob).and_then(|stream| job.run(stream)) {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                cancel.store(true, Ordering::Relaxed);
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..blobs.len().min(AT_ONCE) {
            scope.spawn(work);
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// The first digits of a layer's digest, as registries' tools show them.
fn short(blob: &Blob) -> String {
    let digest = match blob.content {
        super::Content::Blob(digest) => digest,
        super::Content::Member(_) => blob.diff_id,
    };
    digest.hex().chars().take(12).collect()
}
