//! Which requests are sent: a seeded sequence per connection, the same for both runs.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{Method, Uri, http::uri::PathAndQuery};
use larder::{Error, ErrorKind, Result};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::{LoadArgs, client::Target, discover::Known};

/// The kinds of requests, as they appear in the raw data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    List,
    Write,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Read, Self::List, Self::Write];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Write => "write",
        }
    }
}

/// What is asked for, and how often.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) collection: String,
    pub(super) documents: Vec<Known>,
    pub(super) write_ratio: f64,
    pub(super) list_ratio: f64,
    zipf: f64,
    seed: u64,
    write_field: String,
}

impl Workload {
    /// The workload that the arguments describe, over these documents.
    pub(super) fn new(args: &LoadArgs, write_field: Option<&str>, documents: Vec<Known>) -> Self {
        let write_field = write_field.unwrap_or_default().to_owned();
        let write_ratio = if write_field.is_empty() { 0.0 } else { args.write_ratio };
        let (collection, list_ratio) = (args.collection.clone(), args.list_ratio);
        Self { collection, documents, write_ratio, list_ratio, zipf: args.zipf, seed: args.seed, write_field }
    }
}

/// A workload made ready to send. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) target: Target,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    documents: Vec<Document>,
    list: Uri,
    /// `cumulative[rank]` of all draws fall on that rank or a lower one.
    cumulative: Vec<f64>,
    write_ratio: f64,
    list_ratio: f64,
    seed: u64,
}

#[derive(Debug)]
struct Document {
    uri: Uri,
    /// A merge patch that changes nothing; `None` for a document that is only read.
    patch: Option<Bytes>,
}

/// One request.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) kind: Kind,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) body: Bytes,
}

impl Plan {
    /// # Errors
    /// `ErrorKind::Config` for a collection whose name cannot stand in a path, or that has no documents.
    pub(super) fn new(target: Target, workload: &Workload) -> Result<Self> {
        if workload.documents.is_empty() {
            return Err(Error::new(
                ErrorKind::Config,
                format!("{} has no documents to read", workload.collection),
            ));
        }
        let uri = |path: String| -> Result<Uri> {
            let path = path.parse::<PathAndQuery>();
            path.map(Uri::from).map_err(|_| Error::invalid("collection", "cannot stand in a path"))
        };
        let field = serde_json::Value::from(workload.write_field.as_str()).to_string();
        let document = |known: &Known| -> Result<Document> {
            let patch = known.value.as_ref().map(|value| format!("{{{field}:{value}}}").into());
            Ok(Document { uri: uri(format!("/v1/{}/{}", workload.collection, known.id))?, patch })
        };
        let documents: Result<Vec<Document>> = workload.documents.iter().map(document).collect();
        let inner = Inner {
            cumulative: zipf(workload.documents.len(), workload.zipf),
            documents: documents?,
            list: uri(format!("/v1/{}?limit=20", workload.collection))?,
            write_ratio: workload.write_ratio,
            list_ratio: workload.list_ratio,
            seed: workload.seed,
        };
        Ok(Self { target, inner: Arc::new(inner) })
    }

    /// A read of one of the documents.
    pub(super) fn read(&self) -> Planned {
        let uri = self.inner.documents[0].uri.clone();
        Planned { kind: Kind::Read, method: Method::GET, uri, body: Bytes::new() }
    }

    /// The requests of one connection, without end. The same number gives the same requests.
    pub(super) fn requests(&self, stream: u64) -> impl Iterator<Item = Planned> + Send + use<> {
        let inner = Arc::clone(&self.inner);
        let mut rng = ChaCha8Rng::seed_from_u64(inner.seed);
        rng.set_stream(stream);
        std::iter::from_fn(move || Some(inner.draw(&mut rng)))
    }
}

impl Inner {
    fn draw(&self, rng: &mut ChaCha8Rng) -> Planned {
        let (kind, point) = (part(rng), part(rng));
        let rank = self.cumulative.partition_point(|end| *end <= point).min(self.documents.len() - 1);
        let Document { uri, patch } = &self.documents[rank];
        let (kind, method, uri, body) = match patch {
            Some(patch) if kind < self.write_ratio => (Kind::Write, Method::PATCH, uri, patch.clone()),
            _ if (self.write_ratio..self.write_ratio + self.list_ratio).contains(&kind) => {
                (Kind::List, Method::GET, &self.list, Bytes::new())
            }
            _ => (Kind::Read, Method::GET, uri, Bytes::new()),
        };
        Planned { kind, method, uri: uri.clone(), body }
    }
}

/// A number from 0 up to but not including 1.
fn part(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// The running sums of 1 / rank^exponent, scaled so that the last is 1.
fn zipf(count: usize, exponent: f64) -> Vec<f64> {
    let mut sum = 0.0;
    let mut cumulative: Vec<f64> = (1..=count)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect();
    cumulative.iter_mut().for_each(|value| *value /= sum);
    cumulative
}

/// Reads `--zipf`.
pub(super) fn parse_zipf(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|value| (0.0..=3.0).contains(value))
        .ok_or_else(|| "must be from 0 to 3".to_owned())
}

/// Reads a part of the whole.
pub(super) fn parse_part(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|value| (0.0..=1.0).contains(value))
        .ok_or_else(|| "must be from 0 to 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(exponent: f64) -> Plan {
        let workload = Workload {
            collection: "products".into(),
            documents: (1..=100)
                .map(|id: u32| Known { id: id.to_string(), value: Some("3".into()) })
                .collect(),
            write_ratio: 0.1,
            list_ratio: 0.1,
            zipf: exponent,
            seed: 7,
            write_field: "stock".into(),
        };
        let target = Target::new(&Uri::from_static("http://127.0.0.1:1"), None).unwrap();
        Plan::new(target, &workload).unwrap()
    }

    #[test]
    fn a_connection_sends_the_same_requests_in_both_runs_and_others_than_its_neighbour() {
        let plan = plan(1.0);
        let sent = |stream| {
            plan.requests(stream).take(200).map(|planned| format!("{planned:?}")).collect::<Vec<_>>()
        };
        assert_eq!(sent(3), sent(3));
        assert_ne!(sent(3), sent(4));
    }

    #[test]
    fn the_mix_and_the_skew_are_as_asked_for() {
        let (mut writes, mut first, mut reads) = (0, 0, 0);
        for planned in plan(1.0).requests(0).take(20_000) {
            writes += u32::from(planned.kind == Kind::Write);
            reads += u32::from(planned.kind == Kind::Read);
            first += u32::from(planned.kind == Kind::Read && planned.uri.path() == "/v1/products/1");
        }
        assert!((1_800..2_200).contains(&writes), "{writes} writes of 20,000");
        // 1 / (1 + 1/2 + … + 1/100) = 0.193
        let share = f64::from(first) / f64::from(reads);
        assert!((0.17..0.22).contains(&share), "{share} of the reads are of the first document");
    }
}
