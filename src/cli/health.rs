//! `viveka-sync health`: asks a server whether it can work, for probes where there is no other HTTP client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::{Args, value_parser};
use serde_json::Value;

use super::output::print;
use super::target::TargetError;
use super::{CliError, Exit};
use crate::config::ip_address;
use crate::phone::{Address, AddressError, Server};

/// What `--help` says below the options.
const HELP: &str = "\
Sends GET /api/health and prints the answer: for health checks of containers and supervisors. Without --url it asks the
server of this machine, by HOST and PORT.

Exit code: 0 if the server can work; 1 if it cannot, does not answer, or is no viveka-sync server; 2 if the command line is wrong.

Examples:
  viveka-sync health
  viveka-sync health --url http://10.0.0.7:10000 --timeout 2";

/// Whom to ask.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(super) struct Arguments {
    /// The server's base URL
    #[arg(long)]
    url: Option<Address>,
    /// How many seconds it may take
    #[arg(long, default_value_t = 4, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Where the server of this machine listens
    #[arg(long, env = "HOST", default_value = "127.0.0.1", value_parser = ip_address)]
    host: IpAddr,
    /// On which port it listens
    #[arg(long, env = "PORT", default_value_t = 10000)]
    port: u16,
}

/// Asks, and prints what is heard.
pub(super) async fn run(arguments: &Arguments) -> Result<Exit, CliError> {
    let address = arguments.address().map_err(TargetError::from)?;
    let server = Server::at(address.clone(), Duration::from_secs(arguments.timeout)).map_err(TargetError::from)?;
    let answer = server.health().await;
    let answer = answer.map_err(|error| CliError::Health(format!("{address} does not answer: {error}")))?;
    if answer.status == 200 && !is_ours(&answer.body) {
        return Err(CliError::Health(format!(
            "{address} answers 200, and not as a viveka-sync server: is it another one?"
        )));
    }
    print(&format!("{}\n", String::from_utf8_lossy(&answer.body).trim()));
    Ok(if answer.status == 200 { Exit::Good } else { Exit::NotGood })
}

/// Whether it is the answer of a server that can work: proxies and other programs say 200 too.
fn is_ours(body: &[u8]) -> bool {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return false };
    answer["status"] == "ok" && answer["engine"].is_string() && answer["version"].is_string()
}

impl Arguments {
    fn address(&self) -> Result<Address, AddressError> {
        let local = || format!("http://{}", SocketAddr::new(reachable(self.host), self.port)).parse();
        self.url.clone().map_or_else(local, Ok)
    }
}

/// Where a server that listens at this address can be reached from its own machine.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_where_it_can_be_reached() {
        for (url, host, asked) in [
            (None, "0.0.0.0", "http://127.0.0.1:10000"),
            (None, "::", "http://[::1]:10000"),
            (None, "10.1.2.3", "http://10.1.2.3:10000"),
            (Some("http://shop:8080/"), "0.0.0.0", "http://shop:8080"),
            (Some("https://shop/viveka"), "0.0.0.0", "https://shop/viveka"),
        ] {
            let url = url.map(|url| url.parse().unwrap());
            let arguments = Arguments { url, timeout: 1, host: host.parse().unwrap(), port: 10000 };
            assert_eq!(arguments.address().unwrap().to_string(), asked);
        }
    }
}
