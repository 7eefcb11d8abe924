//! `larder serve`.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    app::{App, DATABASE_FILE},
    cli::{Options, ServeArgs},
    commands::{Loaded, OK, TROUBLE, WRONG, complain, counted, load_config, say},
    config::Config,
    indexes::LOOK_EVERY,
    routes, sample,
    serve::{Server, stop_signal},
    workers::Workers,
};

/// So many collections are shown at the start.
const SHOWN_LISTS: usize = 3;

/// Serves until it is told to stop.
pub(crate) async fn run(options: &Options, args: &ServeArgs) -> u8 {
    let loaded = match load_config(options) {
        Ok(loaded) => loaded,
        Err(problems) => {
            complain(problems);
            return WRONG;
        }
    };
    let Loaded { config, is_sample } = &loaded;
    let mut stop = match stop_signal() {
        Ok(stop) => Box::pin(stop),
        Err(error) => {
            complain(format_args!("signals cannot be listened to: {error}"));
            return TROUBLE;
        }
    };
    // Bound before anything is opened: a second server on one address must not touch the first one's files.
    let server = match Server::bind(config.listen).await {
        Ok(server) => server,
        Err(error) => {
            complain(format_args!("{} cannot be listened on: {error}", config.listen));
            return TROUBLE;
        }
    };
    let workers = match Workers::start(config.threads) {
        Ok(workers) => workers,
        Err(error) => {
            complain(format_args!("the threads that answer requests cannot be started: {error}"));
            return TROUBLE;
        }
    };
    let app = match App::open(config, workers.runtimes()).await {
        Ok(app) => Arc::new(app),
        Err(error) => {
            complain(&error);
            return if error.kind() == larder::ErrorKind::Config { WRONG } else { TROUBLE };
        }
    };
    if *is_sample && wants_sample(config, args) {
        let loaded = tokio::select! {
            loaded = load_sample(&app) => loaded,
            // The next start goes on where this one was interrupted.
            () = &mut stop => return OK,
        };
        if let Err(error) = loaded {
            complain(error.context("load the sample shop"));
            return TROUBLE;
        }
    }
    say(greeting(config, &server, *is_sample, args));
    if let Some(path) = &args.ready_file
        && let Err(error) = server.write_ready_file(path)
    {
        complain(format_args!("{}: {error}", path.display()));
        return TROUBLE;
    }
    answer_until(stop, server, app, &workers, config.limits.drain).await
}

/// Answers requests until the signal to stop, and gives those that are at work then, and what the caches owe, this time to end.
async fn answer_until(
    stop: impl Future<Output = ()>,
    server: Server,
    app: Arc<App>,
    workers: &Workers,
    drain: Duration,
) -> u8 {
    let (_sampler, _looks) = (start_sampler(&app), start_looks(&app));
    let stopping = Arc::clone(&app);
    let stop = async move {
        stop.await;
        stopping.begin_to_stop();
    };
    let is_drained = server.run(Arc::clone(&app), workers, stop, drain).await;
    app.close(drain).await;
    if is_drained {
        tracing::info!("Stopped.");
        return OK;
    }
    tracing::warn!("Stopped with requests still at work: their time to end was over.");
    TROUBLE
}

fn wants_sample(config: &Config, args: &ServeArgs) -> bool {
    !args.no_sample && (args.sample || config.mongo.url.is_none())
}

/// Loads the sample shop, unless it, or something else, is there already.
async fn load_sample(app: &App) -> larder::Result<()> {
    let collections = app.resources.values().map(|resource| resource.collection.clone()).collect::<Vec<_>>();
    sample::load(&app.database, &collections).await
}

/// Takes a sample of the counters each second, until the handle is dropped.
fn start_sampler(app: &Arc<App>) -> AbortOnDropHandle<()> {
    let app = Arc::clone(app);
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for resource in app.resources.values() {
                resource.judge(app.telemetry.uptime());
            }
            let sample = routes::sample(&app);
            app.telemetry.window.lock().push(sample);
        }
    }))
}

/// Looks from time to time at what the database has beside the documents, until the handle is dropped.
fn start_looks(app: &Arc<App>) -> AbortOnDropHandle<()> {
    let app = Arc::clone(app);
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for resource in app.resources.values() {
                resource.look().await;
            }
        }
    }))
}

fn greeting(config: &Config, server: &Server, is_sample: bool, args: &ServeArgs) -> String {
    let url = format!("http://{}", server.address());
    let database = match &config.mongo.url {
        Some(url) => format!("MongoDB at {}", url.as_shown_url()),
        None => format!("SQLite in {}", config.data_dir.join(DATABASE_FILE).display()),
    };
    let cache = match &config.redis.url {
        Some(url) => format!("memory, and Redis at {}", url.as_shown_url()),
        None => "memory of this process".to_owned(),
    };
    let access = if config.auth.open {
        "open: everyone on this machine may do everything, no keys are asked for".to_owned()
    } else {
        let tokens = match &config.jwt.issuer {
            Some(issuer) => format!("tokens of {issuer}, "),
            None => String::new(),
        };
        let keys = counted(config.auth.keys.len(), "key", "keys");
        let roles = counted(config.auth.roles.len(), "role", "roles");
        format!("{tokens}{keys}, {roles}; what is not granted is refused")
    };
    let mut text = format!(
        "Larder {} serves {url}\n  database  {database}\n  cache     {cache}\n  access    {access}\n",
        env!("CARGO_PKG_VERSION")
    );
    if is_sample && !wants_sample(config, args) {
        text.push_str(
            "\nWithout a configuration, the collections of the sample shop are declared. --sample loads its documents into\n\
             an empty database; `larder config` and `larder import NAME FILE --declare` help to declare your own.\n",
        );
    } else if is_sample {
        text.push_str(&format!(
            "\nTo try:\n  \
             {url}/                                     the dashboard\n  \
             {url}/v1/products?limit=3                  a list\n  \
             {url}/v1/products?price=lt.5&sort=-rating  filtered and sorted\n  \
             {url}/v1/products?description=text.linen   searched for a word\n  \
             {url}/openapi.json                         everything there is\n\
             \nA miss, then a hit:\n  \
             curl -sI {url}/v1/products/1 {url}/v1/products/1 | grep -i cache-status\n"
        ));
    } else {
        text.push_str(&addresses_to_try(config, &url));
    }
    text.push_str("\nCtrl-C stops it.");
    text
}

/// Where to look first at collections of one's own.
fn addresses_to_try(config: &Config, url: &str) -> String {
    let lists = config.collections.iter().take(SHOWN_LISTS);
    let lists = lists.map(|collection| (format!("{url}/v1/{}?limit=3", collection.name), "a list"));
    let first = std::iter::once((format!("{url}/"), "the dashboard"));
    let last = std::iter::once((format!("{url}/openapi.json"), "everything there is"));
    let addresses: Vec<_> = first.chain(lists).chain(last).collect();
    let width = addresses.iter().map(|(address, _)| address.len()).max().unwrap_or_default();
    let by_key = if config.auth.open { "" } else { " (with a key: -H 'Authorization: Bearer KEY')" };
    let lines = addresses.iter().map(|(address, what)| format!("\n  {address:<width$}  {what}"));
    format!("\nTo try{by_key}:{}\n", lines.collect::<String>())
}
