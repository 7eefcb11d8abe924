//! A pipeline at work: rows are pushed in one by one, and each goes as far as it can at once.

use std::{collections::VecDeque, time::Instant};

use bson::{Bson, Document, RawDocumentBuf};

use super::{
    Held,
    group::{Group, Groups},
    project::{Reshape, Unwind},
    stage::Stage,
};
use crate::{
    Error, ErrorKind, Result,
    document::{
        Direction, SortKey,
        matches::Matcher,
        path::{Path, sort_value},
        write,
    },
};

const ROWS_BETWEEN_DEADLINE_CHECKS: u64 = 128;

/// Whether more rows can change the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    More,
    Enough,
}

/// A running pipeline.
pub(crate) struct Run {
    steps: VecDeque<Step>,
    out: Output,
}

/// A stage and what it holds.
enum Step {
    Match(Matcher),
    Sort { keys: Vec<(Path, Direction)>, rows: Vec<(Vec<Vec<u8>>, RawDocumentBuf)>, most: Option<usize> },
    Limit(u64),
    Skip(u64),
    Reshape(Reshape),
    Unwind(Unwind),
    Group { spec: Group, groups: Groups },
    Count { field: String, count: i64 },
}

struct Output {
    rows: Vec<RawDocumentBuf>,
    most: usize,
    held: Held,
    pushes: u64,
    deadline: Option<Instant>,
}

impl Run {
    /// A run that answers at most `most` documents, and is cut off at `deadline`.
    pub(crate) fn new(stages: Vec<Stage>, most: usize, deadline: Option<Instant>) -> Result<Self> {
        let mut steps = VecDeque::with_capacity(stages.len());
        let mut stages = stages.into_iter().peekable();
        while let Some(stage) = stages.next() {
            steps.push_back(match stage {
                Stage::Match(filter) => Step::Match(Matcher::new(&filter)?),
                Stage::Sort(keys) => {
                    // Only the best rows need to be held if a limit follows.
                    let most = match stages.peek() {
                        Some(Stage::Limit(limit)) => usize::try_from(*limit).ok(),
                        _ => None,
                    };
                    let key = |key: SortKey| (Path::new(&key.path), key.direction);
                    Step::Sort { keys: keys.into_iter().map(key).collect(), rows: Vec::new(), most }
                }
                Stage::Limit(limit) => Step::Limit(limit),
                Stage::Skip(skip) => Step::Skip(skip),
                Stage::Reshape(reshape) => Step::Reshape(reshape),
                Stage::Unwind(unwind) => Step::Unwind(unwind),
                Stage::Group(spec) => Step::Group { spec, groups: Groups::default() },
                Stage::Count(field) => Step::Count { field, count: 0 },
            });
        }
        Ok(Self { steps, out: Output { rows: Vec::new(), most, held: Held::default(), pushes: 0, deadline } })
    }

    /// Takes one document in.
    ///
    /// # Errors
    /// `ErrorKind::TooLarge` if too much is held, `ErrorKind::Timeout` past the deadline,
    /// `ErrorKind::Invalid` if an expression cannot be computed.
    pub(crate) fn push(&mut self, row: RawDocumentBuf) -> Result<Flow> {
        push(self.steps.make_contiguous(), row, &mut self.out)
    }

    /// Ends the input: what is held goes on its way.
    ///
    /// # Errors
    /// As [`Run::push`].
    pub(crate) fn finish(mut self) -> Result<Vec<RawDocumentBuf>> {
        while let Some(step) = self.steps.pop_front() {
            let rest = self.steps.make_contiguous();
            match step {
                Step::Sort { rows, most, .. } => {
                    for (_, row) in sorted(rows, most) {
                        if push(rest, row, &mut self.out)? == Flow::Enough {
                            break;
                        }
                    }
                }
                Step::Group { spec, groups } => {
                    for row in groups.finish(&spec) {
                        if push(rest, row?, &mut self.out)? == Flow::Enough {
                            break;
                        }
                    }
                }
                // Without documents there is no count either, as in MongoDB.
                Step::Count { field, count } if count > 0 => {
                    let count = i32::try_from(count).map_or(Bson::Int64(count), Bson::Int32);
                    push(rest, write::to_raw(&Document::from_iter([(field, count)]))?, &mut self.out)?;
                }
                _ => {}
            }
        }
        Ok(self.out.rows)
    }
}

fn push(steps: &mut [Step], row: RawDocumentBuf, out: &mut Output) -> Result<Flow> {
    let Some((step, rest)) = steps.split_first_mut() else { return out.answer(row) };
    out.check_deadline()?;
    match step {
        Step::Match(matcher) => {
            if matcher.matches(row.as_bytes())? {
                return push(rest, row, out);
            }
        }
        Step::Sort { keys, rows, most } => {
            let key = |(path, direction): &(Path, Direction)| {
                let mut key = sort_value(row.as_bytes(), path, *direction)?.key;
                if *direction == Direction::Descending {
                    // No key is the beginning of another, so the complement turns the order around.
                    key.iter_mut().for_each(|byte| *byte = !*byte);
                }
                Ok(key)
            };
            let key = keys.iter().map(key).collect::<Result<Vec<_>>>()?;
            out.held.add(row.as_bytes().len() + key.iter().map(Vec::len).sum::<usize>())?;
            rows.push((key, row));
            if let Some(most) = *most
                && rows.len() > 2 * most + 64
            {
                *rows = sorted(std::mem::take(rows), Some(most));
                out.held.set(rows.iter().map(|(_, row)| row.as_bytes().len()).sum());
            }
        }
        Step::Limit(0) => return Ok(Flow::Enough),
        Step::Limit(left) => {
            *left -= 1;
            let full = *left == 0;
            let flow = push(rest, row, out)?;
            return Ok(if full { Flow::Enough } else { flow });
        }
        Step::Skip(0) => return push(rest, row, out),
        Step::Skip(left) => *left -= 1,
        Step::Reshape(reshape) => return push(rest, reshape.apply(&row)?, out),
        Step::Unwind(unwind) => {
            return unwind.apply(&row, |row| {
                // One document may become a great many, each as large as itself.
                out.require_time()?;
                push(rest, row, out)
            });
        }
        Step::Group { spec, groups } => {
            let held = groups.take(spec, row.as_bytes())?;
            out.held.add(held)?;
        }
        Step::Count { count, .. } => *count += 1,
    }
    Ok(Flow::More)
}

/// In order; rows with equal keys stay as they came.
fn sorted(
    mut rows: Vec<(Vec<Vec<u8>>, RawDocumentBuf)>,
    most: Option<usize>,
) -> Vec<(Vec<Vec<u8>>, RawDocumentBuf)> {
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    rows.truncate(most.unwrap_or(usize::MAX));
    rows
}

impl Output {
    fn answer(&mut self, row: RawDocumentBuf) -> Result<Flow> {
        self.held.add(row.as_bytes().len())?;
        self.rows.push(row);
        Ok(if self.rows.len() < self.most { Flow::More } else { Flow::Enough })
    }

    fn check_deadline(&mut self) -> Result<()> {
        self.pushes += 1;
        if self.pushes.is_multiple_of(ROWS_BETWEEN_DEADLINE_CHECKS) { self.require_time() } else { Ok(()) }
    }

    fn require_time(&self) -> Result<()> {
        if self.deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Err(Error::new(ErrorKind::Timeout, "the pipeline passed its deadline"));
        }
        Ok(())
    }
}
