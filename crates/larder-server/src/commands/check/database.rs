//! What the database is, what it can do, and whether it has the indexes that the declared fields need.

use larder::document::{Capability, DatabaseProbe};

use super::report::{Level, Report};
use crate::{app::open_database, config::Config};

pub(super) async fn check(config: &Config, report: &mut Report) {
    let place = match &config.mongo.url {
        Some(url) => url.as_shown_url(),
        None => config.data_dir.display().to_string(),
    };
    let probed = match open_database(config).await {
        Ok(database) => database.probe().await,
        Err(error) => Err(error),
    };
    match probed {
        Ok(probe) => {
            report_probe(&place, config.mongo.url.is_none(), &probe, report);
        }
        Err(error) => {
            report.fail("database", format!("{place}: {error}"), "nothing can be served without it")
        }
    }
}

fn report_probe(place: &str, is_embedded: bool, probe: &DatabaseProbe, report: &mut Report) {
    report.add(Level::Good, "database", format!("{} {} at {place}", probe.engine, probe.version));
    for Capability { name, available, without } in &probe.capabilities {
        if *available {
            report.add(Level::Good, *name, "yes");
        } else if is_embedded {
            // What the embedded database lacks is what it is, and nothing to mend.
            report.add(Level::Note, *name, format!("no: {without}"));
        } else {
            report.warn(*name, "no", *without);
        }
    }
}
