//! Loading the sample shop into a database that has nothing else.

use std::{sync::Arc, time::Duration};

use bson::{Document, RawDocumentBuf};
use indicatif::{ProgressBar, ProgressStyle};
use larder::{
    Error, ErrorKind, Result,
    document::{Collection, Database},
};
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{
    marker::{Marker, State},
    shop::{Shop, Sizes},
};

/// The seed of the shop that everyone sees.
const SEED: u64 = 20_260_101;

/// How many documents go to the database at once.
const BATCH: usize = 1_000;

/// Batches that wait for the database while the next is made.
const WAITING: usize = 2;

/// Fills the sample collections, in a few seconds and with a progress bar, unless that has been done before.
///
/// A load that was interrupted goes on: what is there stays, what is missing is added. A database in which any of the
/// collections has documents of another origin is left alone. Memory stays bounded by a few batches.
///
/// # Errors
/// `ErrorKind::Config` if a collection of the shop is missing; `ErrorKind::Unavailable` or `ErrorKind::Timeout` if the
/// database does not answer. The next call goes on from there.
pub(crate) async fn load(database: &Database, collections: &[Collection]) -> Result<()> {
    load_shop(database, collections, Shop::new(SEED, Sizes::FULL)).await
}

pub(super) async fn load_shop(database: &Database, collections: &[Collection], shop: Shop) -> Result<()> {
    let marker = Marker::new(database)?;
    match marker.state().await? {
        State::Done => return Ok(()),
        State::Begun => {}
        State::Untouched => {
            for collection in collections {
                if collection.estimated_count().await? > 0 {
                    return Ok(());
                }
            }
            marker.set(shop.seed, false).await?;
        }
    }
    let (seed, sizes) = (shop.seed, shop.sizes);
    let bar = progress(u64::from(sizes.products) + u64::from(sizes.users) + u64::from(sizes.reviews));
    let shop = Arc::new(shop);
    // Products come last: whoever sees the last product sees the whole shop.
    fill(find(collections, "users")?, &shop, 0..sizes.users, Shop::user, &bar).await?;
    fill(find(collections, "reviews")?, &shop, 0..sizes.reviews, Shop::review, &bar).await?;
    fill(find(collections, "products")?, &shop, 1..sizes.products + 1, Shop::product, &bar).await?;
    for collection in collections {
        collection.ensure_indexes().await?;
    }
    marker.set(seed, true).await?;
    bar.finish_and_clear();
    tracing::info!(
        documents = bar.length(),
        seconds = bar.elapsed().as_secs_f32(),
        "The sample shop is loaded."
    );
    Ok(())
}

/// Makes the documents of one collection on a thread of their own, and inserts them meanwhile.
async fn fill(
    collection: &Collection,
    shop: &Arc<Shop>,
    numbers: std::ops::Range<u32>,
    make: fn(&Shop, u32) -> Document,
    bar: &ProgressBar,
) -> Result<()> {
    let (sender, mut batches) = mpsc::channel(WAITING);
    let shop = Arc::clone(shop);
    let maker = spawn_blocking(move || {
        for start in numbers.clone().step_by(BATCH) {
            let end = numbers.end.min(start + BATCH as u32);
            let batch: Result<Vec<RawDocumentBuf>> =
                (start..end).map(|number| raw(&make(&shop, number))).collect();
            // Nobody listens any more once the database has failed.
            if sender.blocking_send(batch).is_err() {
                return;
            }
        }
    });
    while let Some(batch) = batches.recv().await {
        for outcome in collection.insert_many_raw(batch?).await? {
            match outcome {
                // Left there by a load that was interrupted.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                outcome => drop(outcome?),
            }
            bar.inc(1);
        }
    }
    maker.await.map_err(|error| {
        Error::new(ErrorKind::Source, "the sample data could not be made").with_source(error)
    })
}

fn raw(document: &Document) -> Result<RawDocumentBuf> {
    RawDocumentBuf::try_from(document)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "a sample document is not BSON").with_source(error))
}

fn find<'a>(collections: &'a [Collection], name: &str) -> Result<&'a Collection> {
    collections
        .iter()
        .find(|collection| collection.schema().name() == name)
        .ok_or_else(|| Error::new(ErrorKind::Config, format!("the sample shop needs the collection {name}")))
}

/// A bar on a terminal, nothing elsewhere.
fn progress(documents: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("Loading the sample shop  {bar:32}  {human_pos} of {human_len}  {eta}")
            .expect("the template is sound")
            .progress_chars("━╸─");
    let bar = ProgressBar::new(documents).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
