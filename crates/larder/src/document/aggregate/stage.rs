//! Stages, read from their documents.

use bson::{Bson, Document};

use super::{
    config,
    group::Group,
    project::{Reshape, Unwind},
    query::read_filter,
};
use crate::{
    Result,
    document::{
        Direction, Filter, SortKey,
        ingest::{excerpt, name_fault},
    },
};

const MAX_STAGES: usize = 32;
const MAX_SORT_KEYS: usize = 8;

/// One stage of a pipeline.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    Match(Filter),
    Sort(Vec<SortKey>),
    Limit(u64),
    Skip(u64),
    Reshape(Reshape),
    Unwind(Unwind),
    Group(Group),
    Count(String),
}

/// Reads all stages.
///
/// # Errors
/// `ErrorKind::Config` naming the first stage or operator that is not allowed, at any depth.
pub(crate) fn read_stages(stages: &[Document]) -> Result<Vec<Stage>> {
    if stages.len() > MAX_STAGES {
        return Err(config(format!("a pipeline has at most {MAX_STAGES} stages")));
    }
    stages
        .iter()
        .enumerate()
        .map(|(index, stage)| read(stage).map_err(|error| error.context(format!("stage {}", index + 1))))
        .collect()
}

fn read(stage: &Document) -> Result<Stage> {
    let mut entries = stage.iter();
    let (Some((name, spec)), None) = (entries.next(), entries.next()) else {
        return Err(config("a stage is an object with one operator"));
    };
    Ok(match (name.as_str(), spec) {
        ("$match", Bson::Document(query)) => Stage::Match(read_filter(query)?),
        ("$sort", Bson::Document(keys)) => Stage::Sort(read_sort(keys)?),
        ("$limit", count) => Stage::Limit(read_count(name, count)?),
        ("$skip", count) => Stage::Skip(read_count(name, count)?),
        ("$project", Bson::Document(spec)) => Stage::Reshape(Reshape::read_project(spec)?),
        ("$addFields" | "$set", Bson::Document(spec)) => Stage::Reshape(Reshape::read_add(spec)?),
        ("$unset", spec) => Stage::Reshape(Reshape::read_unset(spec)?),
        ("$unwind", spec) => Stage::Unwind(Unwind::read(spec)?),
        ("$group", Bson::Document(spec)) => Stage::Group(Group::read(spec)?),
        ("$count", Bson::String(field)) if name_fault(field).is_none() => Stage::Count(field.clone()),
        ("$match" | "$sort" | "$project" | "$addFields" | "$set" | "$group" | "$count", _) => {
            return Err(config(format!("{name} has an operand of a wrong kind")));
        }
        (other, _) => return Err(config(format!("the stage `{}` is not allowed", excerpt(other)))),
    })
}

fn read_sort(keys: &Document) -> Result<Vec<SortKey>> {
    let key = |(path, direction): (&String, &Bson)| {
        let direction = match direction {
            Bson::Int32(1) | Bson::Int64(1) => Direction::Ascending,
            Bson::Int32(-1) | Bson::Int64(-1) => Direction::Descending,
            _ => return Err(config(format!("$sort: `{}` must be 1 or -1", excerpt(path)))),
        };
        match path.split('.').find_map(name_fault) {
            Some(fault) => Err(config(format!("$sort: `{}`: {fault}", excerpt(path)))),
            None => Ok(SortKey { path: path.clone(), direction }),
        }
    };
    if keys.is_empty() || keys.len() > MAX_SORT_KEYS {
        return Err(config(format!("$sort needs 1 to {MAX_SORT_KEYS} keys")));
    }
    keys.iter().map(key).collect()
}

fn read_count(name: &str, count: &Bson) -> Result<u64> {
    count_of(name, count).map_err(|demand| config(format!("{name} {demand}")))
}

/// The operand of `$limit` or `$skip`, else what it has to be. MongoDB knows no limit of none.
pub(crate) fn count_of(name: &str, count: &Bson) -> Result<u64, &'static str> {
    let (least, demand) = match name {
        "$limit" => (1, "must be a whole number of at least 1"),
        _ => (0, "must be a whole number that is not negative"),
    };
    let count = match count {
        Bson::Int32(count) => u64::try_from(*count).ok(),
        Bson::Int64(count) => u64::try_from(*count).ok(),
        _ => None,
    };
    count.filter(|count| *count >= least).ok_or(demand)
}
