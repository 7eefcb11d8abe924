//! What each command does.

mod advise;
mod ask;
mod behind;
mod check;
mod explain;
mod import;
mod purge;
mod serve;
mod terminal;
mod top;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
};

use larder::{Error, ErrorKind};

use crate::{
    cli::{Cli, Command, Options, ServeArgs},
    config::{self, CollectionConfig, Config, Problem, Problems, find_nearest},
    load, sample,
};

/// Everything is well.
pub(crate) const OK: u8 = 0;
/// It works, but somebody should look; or it could not be done this time.
pub(crate) const TROUBLE: u8 = 1;
/// It cannot work until the configuration or the command is changed.
pub(crate) const WRONG: u8 = 2;

/// Runs one command to its end.
pub(crate) async fn run(cli: Cli) -> ExitCode {
    let options = cli.options;
    let code = match cli.command.unwrap_or(Command::Serve(ServeArgs::default())) {
        Command::Serve(args) => serve::run(&options, &args).await,
        Command::Config => {
            say(config::DEFAULTS);
            OK
        }
        Command::Check(args) => check::run(&options, &args).await,
        Command::Explain(args) => explain::run(&options, &args).await,
        Command::Advise(args) => advise::run(&options, &args).await,
        Command::Top(args) => top::run(&options, &args).await,
        Command::Behind { order } => behind::run(&options, &order).await,
        Command::Purge(args) => purge::run(&options, &args).await,
        Command::Import(args) => import::run(&options, &args).await,
        Command::Bench(args) => match load::run(&args).await {
            Ok(()) => OK,
            Err(error) => {
                complain(error);
                TROUBLE
            }
        },
    };
    ExitCode::from(code)
}

/// A configuration, and whether it is the server's own.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub config: Config,
    /// No file was given: this is the sample shop.
    pub is_sample: bool,
}

/// What stands in place of a file when there is none.
const SAMPLE_CONFIG: &str = "auth.open = true";

/// Variables that have the prefix and are no settings.
const NOT_SETTINGS: [&str; 3] = ["LARDER_CONFIG", "LARDER_LOG", "LARDER_KEY"];

/// Reads the configuration that the options name.
///
/// # Errors
/// Every problem at once.
pub(crate) fn load_config(options: &Options) -> Result<Loaded, Problems> {
    let environment = overrides(options);
    let Some(path) = &options.config else {
        let parsed = config::parse("environment", SAMPLE_CONFIG, &environment);
        let mut config = parsed.map_err(|problems| of_the_sample(problems, options))?;
        let cache = config.cache.clone();
        config.collections = sample::collections()
            .into_iter()
            .map(|schema| {
                let tags = sample::tags_of(schema.name());
                config::CollectionConfig::of_schema(schema, cache.clone(), tags)
            })
            .collect();
        return Ok(Loaded { config, is_sample: true });
    };
    let origin = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| Problems {
        origin: origin.clone(),
        list: vec![Problem { path: String::new(), line: 0, message: format!("cannot be read: {error}") }],
    })?;
    Ok(Loaded { config: config::parse(&origin, &text, &environment)?, is_sample: false })
}

/// The same problems, in words for somebody who has no file and declared nothing.
fn of_the_sample(Problems { origin, list }: Problems, options: &Options) -> Problems {
    let is_option = options.listen.is_some();
    let is_open = |problem: &Problem| problem.path == "auth.open";
    let origin = if is_option && list.iter().all(is_open) { "command line".to_owned() } else { origin };
    let in_words = |problem: Problem| {
        if !is_open(&problem) {
            return problem;
        }
        let path = if is_option { "--listen" } else { "LARDER_LISTEN" }.to_owned();
        let message = "the sample shop is open to everyone, so it serves this machine only: listen on a \
                       loopback address (127.0.0.1), or declare keys and collections in a file (`larder config > larder.toml`) and give it by --config"
            .to_owned();
        Problem { path, line: 0, message }
    };
    Problems { origin, list: list.into_iter().map(in_words).collect() }
}

/// The declaration of a collection.
///
/// # Errors
/// `ErrorKind::Config` with the nearest name that is declared.
pub(crate) fn find_collection<'a>(config: &'a Config, name: &str) -> larder::Result<&'a CollectionConfig> {
    let names = || config.collections.iter().map(|declared| declared.name.as_str());
    config.collections.iter().find(|declared| declared.name == name).ok_or_else(|| {
        let message = match find_nearest(name, names()) {
            Some(nearest) => format!("is not a declared collection; did you mean \"{nearest}\"?"),
            None => {
                format!("is not a declared collection; there are: {}", names().collect::<Vec<_>>().join(", "))
            }
        };
        Error::new(ErrorKind::Config, message).with_field(name)
    })
}

/// The environment's settings, with the options over them.
fn overrides(options: &Options) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .filter(|(name, _)| name.starts_with("LARDER_") && !name.starts_with("LARDER_TEST_"))
        .filter(|(name, _)| !NOT_SETTINGS.contains(&name.as_str()))
        .collect();
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            variables.insert(name.to_owned(), value);
        }
    };
    set("LARDER_MONGO__URL", options.mongo.clone());
    set("LARDER_REDIS__URL", options.redis.clone());
    set("LARDER_LISTEN", options.listen.map(|listen| listen.to_string()));
    set("LARDER_DATA_DIR", options.data.as_ref().map(|data| data.display().to_string()));
    variables
}

/// So many of something, in words.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Prints to standard output. A reader that went away is not worth an error.
pub(crate) fn say(text: impl AsRef<str>) {
    let _ = writeln!(io::stdout().lock(), "{}", text.as_ref());
}

/// Prints to standard error.
pub(crate) fn complain(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "larder: {text}");
}
