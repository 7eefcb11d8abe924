//! The scripts themselves, as they are sent to a real server, over simulated data.

use std::{collections::HashMap, sync::Arc};

use ::redis::Value;
use mlua::{Function, IntoLua, Lua, Table, Value as Word, Variadic};
use parking_lot::Mutex;

use super::data::{Announced, Data, refusal};

/// The data, the time, and what has been announced since it was last asked for.
#[derive(Default)]
pub(super) struct Store {
    pub(super) data: Data,
    pub(super) now_ms: u64,
    pub(super) published: Vec<Announced>,
}

impl Store {
    pub(super) fn run(&mut self, command: &[&[u8]]) -> Value {
        self.data.run(self.now_ms, command, &mut self.published)
    }
}

/// A Lua like that in Redis, with `redis.call` and `redis.pcall`.
pub(super) struct Scripts {
    lua: Lua,
    /// By where the source lies, which is quicker than by what it says.
    read: HashMap<usize, Function>,
}

impl Scripts {
    pub(super) fn over(store: &Arc<Mutex<Store>>) -> Self {
        let lua = Lua::new();
        let call = |raises: bool| {
            let store = Arc::clone(store);
            lua.create_function(move |lua, words: Variadic<Word>| {
                let command: Vec<Vec<u8>> = words.iter().map(argument).collect();
                let command: Vec<&[u8]> = command.iter().map(|word| &**word).collect();
                match store.lock().run(&command) {
                    Value::ServerError(error) if raises => {
                        Err(mlua::Error::runtime(format!("{} {:?}", error.code(), error.details())))
                    }
                    reply => to_lua(lua, reply),
                }
            })
            .expect("a function is made")
        };
        let redis = lua.create_table().expect("a table is made");
        redis.set("call", call(true)).expect("a field is set");
        redis.set("pcall", call(false)).expect("a field is set");
        lua.globals().set("redis", redis).expect("a global is set");
        Self { lua, read: HashMap::new() }
    }

    /// `EVAL source count key … arg …`, the words from the count on.
    pub(super) fn run(&mut self, source: &'static str, words: &[&[u8]]) -> Value {
        let count: usize = String::from_utf8_lossy(words[0]).parse().expect("a count of keys");
        let (keys, args) = words[1..].split_at(count);
        let list = |words: &[&[u8]]| {
            let words = words.iter().map(|word| self.lua.create_string(word).expect("a string is made"));
            self.lua.create_sequence_from(words).expect("a table is made")
        };
        self.lua.globals().set("KEYS", list(keys)).expect("a global is set");
        self.lua.globals().set("ARGV", list(args)).expect("a global is set");
        let script = self.read.entry(source.as_ptr() as usize).or_insert_with(|| {
            // The first line may be `#!lua flags=…`, which is for the server.
            let text = source.strip_prefix("#!").map_or(source, |rest| &rest[rest.find('\n').unwrap_or(0)..]);
            self.lua.load(text).into_function().expect("a script is Lua")
        });
        match script.call::<Word>(()) {
            Ok(word) => to_reply(&word),
            Err(error) => refusal(&format!("ERR {}", error.to_string().replace(['\r', '\n'], " "))),
        }
    }
}

fn argument(word: &Word) -> Vec<u8> {
    match word {
        Word::String(text) => text.as_bytes().to_vec(),
        Word::Integer(number) => number.to_string().into_bytes(),
        Word::Number(number) => number.to_string().into_bytes(),
        other => panic!("redis.call takes strings and numbers, not {other:?}"),
    }
}

fn to_lua(lua: &Lua, reply: Value) -> mlua::Result<Word> {
    let with = |field: &str, text: String| -> mlua::Result<Word> {
        let table = lua.create_table()?;
        table.set(field, text)?;
        Ok(Word::Table(table))
    };
    match reply {
        Value::Nil => Ok(Word::Boolean(false)),
        Value::Int(number) => Ok(Word::Number(number as f64)),
        Value::BulkString(bytes) => lua.create_string(bytes)?.into_lua(lua),
        Value::Array(parts) => {
            let parts = parts.into_iter().map(|part| to_lua(lua, part)).collect::<mlua::Result<Vec<_>>>()?;
            lua.create_sequence_from(parts)?.into_lua(lua)
        }
        Value::ServerError(error) => {
            with("err", format!("{} {}", error.code(), error.details().unwrap_or_default()))
        }
        _ => with("ok", "OK".to_owned()),
    }
}

fn to_reply(word: &Word) -> Value {
    match word {
        Word::Boolean(true) => Value::Int(1),
        Word::Integer(number) => Value::Int(*number),
        Word::Number(number) => Value::Int(*number as i64),
        Word::String(text) => Value::BulkString(text.as_bytes().to_vec()),
        Word::Table(table) => array(table),
        _ => Value::Nil,
    }
}

fn array(table: &Table) -> Value {
    let words = (1..).map(|at| table.get::<Word>(at).unwrap_or(Word::Nil));
    Value::Array(words.take_while(|word| *word != Word::Nil).map(|word| to_reply(&word)).collect())
}
