//! Where the store is, for commands that work on it beside the server.

use std::collections::BTreeSet;

use bson::oid::ObjectId;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Config, ConfigError};
use crate::model::ClientId;
use crate::store::archive::{Archive, ArchiveError};
use crate::store::embedded::EmbeddedArchive;
use crate::store::mongo::{MongoArchive, MongoOptions, Pending, check_url};

/// The settings of a server. All of them are taken, so that a command runs in the server's environment as it is; only
/// those that say where the store is are shown in its help.
#[derive(Debug, Clone)]
pub(super) struct StoreSettings(pub Config);

impl StoreSettings {
    const SHOWN: [&str; 4] = ["mongo_url", "mongo_db_name", "data_dir", "log"];

    /// Opens the store to read it.
    pub async fn open_to_read(&self, pending: Pending) -> Result<Box<dyn Archive>, ArchiveError> {
        Ok(match self.mongo()? {
            Some(options) => told(&options.place(), MongoArchive::open_to_read(&options, pending).await?),
            None => told(&self.directory(), EmbeddedArchive::open_to_read(&self.0.data_dir)?),
        })
    }

    /// Opens the store to write to it, and makes it if it is not there.
    pub async fn open_to_write(&self) -> Result<Box<dyn Archive>, ArchiveError> {
        Ok(match self.mongo()? {
            Some(options) => told(&options.place(), MongoArchive::open_to_write(&options).await?),
            None => told(&self.directory(), EmbeddedArchive::open_to_write(&self.0.data_dir)?),
        })
    }

    /// Where the embedded engine's file is, however the directory was named.
    fn directory(&self) -> String {
        let named = &self.0.data_dir;
        format!("the directory {}", std::path::absolute(named).unwrap_or_else(|_| named.clone()).display())
    }

    fn mongo(&self) -> Result<Option<MongoOptions>, ArchiveError> {
        let Some(url) = self.0.mongo_url() else { return Ok(None) };
        check_url(url).map_err(|why| ArchiveError::Source(format!("MONGO_URL is invalid: {why}")))?;
        Ok(Some(MongoOptions {
            url: url.to_owned(),
            database: self.0.mongo_db_name.clone(),
            receipt_days: self.0.receipt_days,
            sole_writer: self.0.sole_writer,
            memory: self.0.dataset_memory(),
        }))
    }

    fn hide_the_rest(command: Command) -> Command {
        let settings = Config::augment_args(Command::new(""));
        let hidden: BTreeSet<_> = settings
            .get_arguments()
            .map(|setting| setting.get_id().clone())
            .filter(|id| !Self::SHOWN.contains(&id.as_str()))
            .collect();
        command.mut_args(|argument: Arg| {
            let hide = hidden.contains(argument.get_id());
            if hide { argument.hide(true) } else { argument }
        })
    }
}

impl Args for StoreSettings {
    fn augment_args(command: Command) -> Command {
        Self::hide_the_rest(Config::augment_args(command))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::hide_the_rest(Config::augment_args_for_update(command))
    }
}

impl FromArgMatches for StoreSettings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Config::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// Names an opened store on standard error before anything is done with it, so that nobody takes it for another one.
fn told(place: &str, store: impl Archive + 'static) -> Box<dyn Archive> {
    eprintln!("store: {place}");
    Box::new(store)
}

/// Reads a client's id on the command line.
pub(super) fn client(text: &str) -> Result<ClientId, ConfigError> {
    let id = ObjectId::parse_str(text).map_err(|_| ConfigError("must be 24 hex digits".to_owned()))?;
    Ok(ClientId::for_operator(id))
}
