//! What scripts, logs and scans answer.

use ::redis::{Value, parse_redis_value};

use crate::cache::{
    behind::{batch_of, letters_of},
    event::epoch_text,
    log::log_entry,
    shared::{Filled, filled, position_of},
};

/// What a script or the log answers is taken for what it says: a position, or an entry, is written back as the same one, and only the
/// one reply that says so is a stored value.
pub fn script_reply(data: &[u8]) {
    let Ok(reply) = parse_redis_value(data) else { return };
    assert_eq!(filled(&reply) == Filled::Stored, reply == Value::Int(1));
    if let Value::Array(parts) = &reply
        && let Ok(at) = position_of(parts.first(), parts.get(1))
    {
        let (epoch, seq) = (text(&epoch_text(at.epoch)), text(&at.seq.to_string()));
        assert_eq!(position_of(Some(&epoch), Some(&seq)).ok(), Some(at));
        assert_ne!(at.epoch, 0);
    }
    if let Ok((seq, event)) = log_entry(reply) {
        let fields = Value::Array(vec![text("e"), Value::BulkString(event.clone())]);
        let entry = Value::Array(vec![text(&format!("{seq}-7")), fields]);
        assert_eq!(log_entry(entry).ok(), Some((seq, event)));
    }
}

fn text(text: &str) -> Value {
    Value::BulkString(text.into())
}

/// A batch of pending operations, or a step through the dead letters, has no more in it than the reply, and what it has is written back
/// as the same.
pub fn behind_reply(data: &[u8]) {
    let Ok(reply) = parse_redis_value(data) else { return };
    if let Ok((next, letters)) = letters_of(reply.clone()) {
        let fields = letters.iter().flat_map(|(key, letter)| [text(key), Value::BulkString(letter.to_vec())]);
        let again = Value::Array(vec![text(&next.to_string()), Value::Array(fields.collect())]);
        assert_eq!(letters_of(again).ok(), Some((next, letters)));
    }
    let Value::Array(parts) = reply else { return };
    let entries = match parts.get(2) {
        Some(Value::Array(entries)) => entries.len(),
        _ => 0,
    };
    let Ok(batch) = batch_of(parts) else { return };
    assert_eq!(batch.ops.len() + batch.foreign.len(), entries);
    assert_ne!(batch.all, Some(0));
    let ops = batch.ops.iter().map(|op| {
        let (epoch, number) = (epoch_text(op.acked.epoch), op.acked.seq.to_string());
        let acked = [text("p"), text(&epoch), text("n"), text(&number)];
        let fields = [text("k"), text(&op.key), text("e"), Value::BulkString(op.slot.to_vec())];
        let fields = acked.into_iter().chain(fields).collect();
        Value::Array(vec![text(&format!("{}-0", op.version)), Value::Array(fields)])
    });
    let (steps, all) = (text(&batch.steps.to_string()), Value::Int(batch.all.unwrap_or(0) as i64));
    let again = batch_of(vec![Value::Int(2), text("fence"), Value::Array(ops.collect()), steps, all]);
    let again = again.expect("what was read can be read again");
    assert_eq!((again.ops, again.steps, again.all), (batch.ops, batch.steps, batch.all));
}
