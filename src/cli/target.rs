//! Which server a tool talks to, and as whom.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::{Secret, TokenRules};
use crate::phone::{Address, AddressError, Phone, Server, TokenError};
use crate::server::{self, ServeError, Tokens};

/// The settings that all tools have that talk to a server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct Target {
    /// Base URL of the server
    #[arg(long, default_value = "http://127.0.0.1:10000")]
    url: Address,
    /// Token of the client to speak for
    #[arg(long, env = "TOKEN", hide_env_values = true)]
    token: Option<Secret>,
    /// The client to speak for, 24 hex digits: a token is made with the local secret, which is JWT_SECRET or else the one
    /// that the server keeps in DATA_DIR. It goes before a token
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// HS256 secret for --client
    #[arg(long, env = "JWT_SECRET", hide_env_values = true)]
    jwt_secret: Option<Secret>,
    /// Data directory of the local server, for --client
    #[arg(long, env = "DATA_DIR", default_value = "./data", value_name = "DIR")]
    data_dir: PathBuf,
    /// What the tokens of --client say.
    #[command(flatten)]
    rules: TokenRules,
}

/// Why nobody can be spoken for, in one line.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Nothing says who is calling.
    #[error("say who is calling: --token (or TOKEN), or --client with the local secret")]
    Nobody,
    /// The client is none.
    #[error("--client must be 24 hex digits")]
    Client,
    /// There is no local secret.
    #[error(transparent)]
    Secret(#[from] ServeError),
    /// The token is none.
    #[error("--token: {0}")]
    Token(#[from] TokenError),
    /// The server cannot be talked to at all.
    #[error("--url: {0}")]
    Address(#[from] AddressError),
}

/// How many days a token lasts that is made for one run of a tool.
const TOKEN_DAYS: u32 = 1;

impl Target {
    /// The server's address, to be shown.
    pub(super) fn address(&self) -> &Address {
        &self.url
    }

    /// Whether the settings say who is calling.
    pub(super) fn names_a_client(&self) -> bool {
        let has_token = self.token.as_ref().is_some_and(|token| !token.expose().trim().is_empty());
        self.client.is_some() || has_token
    }

    /// The server; each request is given up after `patience`.
    pub(super) fn server(&self, patience: Duration) -> Result<Server, TargetError> {
        Ok(Server::at(self.url.clone(), patience)?)
    }

    /// A phone of the client that the settings name.
    pub(super) fn phone(&self, patience: Duration) -> Result<Phone, TargetError> {
        Ok(self.server(patience)?.phone(&self.token_to_show()?)?)
    }

    /// The local secret, to make tokens of any client with.
    pub(super) fn tokens(&self) -> Result<Tokens, TargetError> {
        let secret = self.jwt_secret.as_ref().map(Secret::expose).filter(|secret| !secret.is_empty());
        Ok(server::present_tokens(secret, &self.data_dir, &self.rules)?)
    }

    fn token_to_show(&self) -> Result<String, TargetError> {
        if let Some(client) = &self.client {
            return self.tokens()?.mint(client, TOKEN_DAYS).ok_or(TargetError::Client);
        }
        let token = self.token.as_ref().map(|token| token.expose().trim()).filter(|token| !token.is_empty());
        token.map(str::to_owned).ok_or(TargetError::Nobody)
    }
}
