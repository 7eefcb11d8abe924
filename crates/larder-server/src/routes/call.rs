//! A request for data that has come past the gate: which collection, and what its sender may do there.

use hyper::{
    HeaderMap,
    header::{ACCEPT, CACHE_CONTROL, HeaderName, HeaderValue},
    http::request::Parts,
};
use larder::{
    ErrorKind,
    cache::{ReadMode, ReadOptions, Token},
    document::{Filter, Id, JsonForm},
};

use crate::{
    app::App,
    auth::{Identity, RoleId},
    config::{Verb, find_nearest},
    resource::{Access, Resource},
    routes::{Refusal, target::decode},
};

static X_LARDER_CACHE: HeaderName = HeaderName::from_static("x-larder-cache");
static X_LARDER_TOKEN: HeaderName = HeaderName::from_static("x-larder-token");

/// Everything that a handler needs to know of a request besides its body.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    pub app: &'a App,
    pub head: &'a Parts,
    pub resource: &'a Resource,
    pub access: &'a Access,
    /// How its sender wants documents to be written.
    pub form: JsonForm,
    /// The documents that its sender may touch.
    pub rows: Filter,
    role: RoleId,
}

impl<'a> Call<'a> {
    /// Lets a request in.
    ///
    /// # Errors
    /// 401 without a key, or with one that is not known; 403 if the role may not do this, or if a claim is missing that says
    /// which documents the sender may touch; 404 for a collection that does not exist, or of which the role may know nothing.
    pub(crate) fn enter(app: &'a App, head: &'a Parts, name: &str, verb: Verb) -> Result<Self, Refusal> {
        let (resource, access, sender) = find(app, head, name)?;
        if access.allows(verb) {
            return Self::of(app, head, resource, access, &sender);
        }
        let detail = format!("this role may not {} documents of \"{}\"", verb.name(), resource.name);
        Err(Refusal::forbidden(detail))
    }

    /// As [`Call::enter`], for what is not granted by a verb but by its name.
    pub(crate) fn enter_for_query(app: &'a App, head: &'a Parts, name: &str) -> Result<Self, Refusal> {
        let (resource, access, sender) = find(app, head, name)?;
        Self::of(app, head, resource, access, &sender)
    }

    fn of(
        app: &'a App,
        head: &'a Parts,
        resource: &'a Resource,
        access: &'a Access,
        sender: &Identity,
    ) -> Result<Self, Refusal> {
        let rows = match &access.rows {
            None => Filter::All,
            Some(rows) => rows.bind(sender.claims.as_deref())?,
        };
        Ok(Self { app, head, resource, access, form: form_of(&head.headers), rows, role: sender.role })
    }

    /// Whether its sender may touch some documents only.
    pub(crate) fn is_limited(&self) -> bool {
        self.access.rows.is_some()
    }

    /// Lets a request pass that names its collection in its body only, if its sender may do this with any collection at all:
    /// nobody else's body is read.
    ///
    /// # Errors
    /// 401 without a key, or with one that is not known; 403 for a role that may do this nowhere.
    pub(crate) fn require_somewhere(app: &App, head: &Parts, verb: Verb) -> Result<(), Refusal> {
        let role = app.gate.identify(&head.headers)?.role;
        let may = |resource: &Resource| resource.access(role).is_some_and(|access| access.allows(verb));
        if app.resources.values().any(may) {
            return Ok(());
        }
        Err(if app.gate.is_anonymous(role) && !app.gate.is_open() {
            Refusal::unauthorized("this needs a key; send \"Authorization: Bearer KEY\"")
        } else {
            Refusal::forbidden(format!("this role may not {} documents of any collection", verb.name()))
        })
    }

    /// The id in the path.
    ///
    /// # Errors
    /// 400 naming `_id` if it is not an id of this collection's kind.
    pub(crate) fn parse_id(&self, segment: &str) -> Result<Id, Refusal> {
        Ok(self.resource.schema().id_type().parse(&decode("_id", segment)?)?)
    }

    /// What the token of an earlier write asks for: to read that write, or anything later, on whatever node. Of several
    /// tokens, as a purge returns them, the one that concerns this document.
    ///
    /// # Errors
    /// 400 for a text that is no token.
    pub(crate) fn at_least(&self, id: &Id) -> Result<Option<Token>, Refusal> {
        self.token_that(|token| self.resource.collection.concerns(id, token))
    }

    /// How this request wants a list to be read.
    ///
    /// # Errors
    /// As [`Call::at_least`].
    pub(crate) fn list_options(&self) -> Result<ReadOptions, Refusal> {
        let at_least = self.token_that(|token| self.resource.collection.concerns_lists(token))?;
        Ok(ReadOptions { mode: self.read_mode(), at_least, ..ReadOptions::default() })
    }

    fn token_that(&self, concerns: impl Fn(&Token) -> bool) -> Result<Option<Token>, Refusal> {
        let Some(text) = self.head.headers.get(&X_LARDER_TOKEN) else { return Ok(None) };
        let wrong = || Refusal::invalid("X-Larder-Token", "is not a token that a write has returned");
        let mut found = None;
        for token in text.to_str().map_err(|_| wrong())?.split(',') {
            let token = token.trim().parse().map_err(|_| wrong())?;
            if concerns(&token) {
                found = Some(token);
            }
        }
        Ok(found)
    }

    /// What the library says against a write, without the name of a field that this role does not see. Who may touch some
    /// documents only is not told which value of theirs another document has: that may be one of the others.
    pub(crate) fn refuse(&self, error: larder::Error) -> Refusal {
        let Some(field) = error.field() else { return error.into() };
        let is_seen = self.access.view.sees(field) || self.access.view.sees_some(field);
        match error.kind() {
            ErrorKind::Conflict if !is_seen || (self.is_limited() && field != "_id") => {
                Refusal::conflict("the write meets what is there already")
            }
            // What is named was found writable before: something is missing.
            ErrorKind::Invalid if !is_seen && !self.access.writes.sees_some(field) => {
                Refusal::forbidden("such a document must have a field that this role may not write")
            }
            _ => error.into(),
        }
    }

    /// Adds the token of this node's last write to a document to an answer.
    pub(crate) fn insert_token(&self, id: &Id, headers: &mut HeaderMap) {
        self.insert_token_of_all(std::slice::from_ref(id), headers);
    }

    /// Adds a token that stands for this node's last writes to all of these documents, and for the lists after them. None if Redis
    /// has not acknowledged one of them: it would promise what no node can keep.
    pub(crate) fn insert_token_of_all(&self, ids: &[Id], headers: &mut HeaderMap) {
        let collection = &self.resource.collection;
        if !ids.iter().any(|id| collection.is_owed(id)) {
            let tokens = ids.iter().filter_map(|id| collection.token(id)).chain(collection.lists_token());
            insert_tokens(&tokens.collect::<Vec<Token>>(), headers);
        }
    }

    /// How this request wants the cache to be treated. Asking for more than the role may is not an error: a browser
    /// that reloads sends `no-cache`, and gets what everybody gets.
    pub(crate) fn read_mode(&self) -> ReadMode {
        if !self.app.gate.may_bypass(self.role) {
            return ReadMode::Cached;
        }
        if self.head.headers.get(&X_LARDER_CACHE).is_some_and(|value| value == "bypass") {
            return ReadMode::Bypass;
        }
        let Some(asked) = self.head.headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok()) else {
            return ReadMode::Cached;
        };
        let has = |directive| asked.split(',').any(|part| part.trim().eq_ignore_ascii_case(directive));
        match (has("no-store"), has("no-cache")) {
            (true, _) => ReadMode::Bypass,
            (_, true) => ReadMode::Refresh,
            _ => ReadMode::Cached,
        }
    }

    /// Whom a cursor is for: one role's cursor is of no use to another.
    pub(crate) fn audience(&self) -> &'a [u8] {
        self.app.gate.role_name(self.role).as_bytes()
    }
}

/// The collection of this name, and what the sender of a request may do there.
fn find<'a>(app: &'a App, head: &Parts, name: &str) -> Result<(&'a Resource, &'a Access, Identity), Refusal> {
    let sender = app.gate.identify(&head.headers)?;
    let found = app.resources.get(name);
    match found.and_then(|resource| Some((resource, resource.access(sender.role)?))) {
        Some((resource, access)) => Ok((resource, access, sender)),
        None => Err(refuse_unknown(app, name, app.gate.is_anonymous(sender.role))),
    }
}

/// How a request wants documents to be written: `application/ejson` names the type of every number.
fn form_of(headers: &HeaderMap) -> JsonForm {
    match headers.get(ACCEPT) {
        Some(accept) if accept.as_bytes().starts_with(b"application/ejson") => JsonForm::Canonical,
        _ => JsonForm::Relaxed,
    }
}

/// Adds all tokens in one header, but for those that a later one stands for: at most one for each shard is left.
pub(super) fn insert_tokens(tokens: &[Token], headers: &mut HeaderMap) {
    let mut last: Vec<&Token> = Vec::new();
    for token in tokens {
        last.retain(|earlier| !token.covers(earlier));
        if !last.iter().any(|later| later.covers(token)) {
            last.push(token);
        }
    }
    let texts: Vec<String> = last.iter().map(ToString::to_string).collect();
    if !texts.is_empty()
        && let Ok(value) = HeaderValue::try_from(texts.join(","))
    {
        headers.insert(X_LARDER_TOKEN.clone(), value);
    }
}

/// A sender who may know nothing of a collection is told the same whether it exists or not.
fn refuse_unknown(app: &App, name: &str, is_anonymous: bool) -> Refusal {
    if !app.gate.is_open() {
        return if is_anonymous {
            Refusal::unauthorized("this needs a key; send \"Authorization: Bearer KEY\"")
        } else {
            Refusal::not_found("there is no such collection for this role")
        };
    }
    match find_nearest(name, app.resources.keys().map(String::as_str)) {
        Some(nearest) => {
            Refusal::not_found(format!("there is no collection \"{name}\"; did you mean \"{nearest}\"?"))
        }
        None => Refusal::not_found(format!("there is no collection \"{name}\"; /openapi.json lists them")),
    }
}
