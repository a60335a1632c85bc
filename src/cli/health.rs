//! `viveka-sync health`: asks a server whether it can work, for probes where there is no other HTTP client.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::CliError;
use super::output::print;

/// What `--help` says below the options.
const HELP: &str = "\
Sends GET /api/health and prints the answer. The exit code is 0 if the server can work, else 1: for health checks of
containers and supervisors. Without --url it asks the server of this machine, by HOST and PORT.

Examples:
  viveka-sync health
  viveka-sync health --url http://10.0.0.7:10000 --timeout 2";

/// Whom to ask.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(super) struct Arguments {
    /// The server's base URL; http only
    #[arg(long)]
    url: Option<String>,
    /// How many seconds it may take
    #[arg(long, default_value_t = 4)]
    timeout: u64,
    /// Where the server of this machine listens
    #[arg(long, env = "HOST", default_value = "127.0.0.1")]
    host: String,
    /// On which port it listens
    #[arg(long, env = "PORT", default_value_t = 10000)]
    port: u16,
}

/// Asks, and prints what is heard.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let authority = arguments.authority().map_err(CliError::Health)?;
    let answer = ask(&authority, Duration::from_secs(arguments.timeout.max(1)));
    let answer = answer.map_err(|error| CliError::Health(format!("{authority} does not answer: {error}")))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    print(&format!("{}\n", body.trim()));
    let is_well = head.split(' ').nth(1) == Some("200");
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Arguments {
    /// Host and port.
    fn authority(&self) -> Result<String, String> {
        let Some(url) = &self.url else { return Ok(SocketAddr::new(local(&self.host)?, self.port).to_string()) };
        let rest = url.strip_prefix("http://").ok_or("--url must begin with http://")?;
        let authority = rest.trim_end_matches('/');
        if authority.contains('/') {
            return Err("--url must be a base URL, without a path".to_owned());
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(if has_port { authority.to_owned() } else { format!("{authority}:80") })
    }
}

/// Where a server that listens at this address can be reached from its own machine.
fn local(host: &str) -> Result<IpAddr, String> {
    match host.parse() {
        _ if host == "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        Ok(IpAddr::V4(address)) if address.is_unspecified() => Ok(Ipv4Addr::LOCALHOST.into()),
        Ok(IpAddr::V6(address)) if address.is_unspecified() => Ok(Ipv6Addr::LOCALHOST.into()),
        Ok(address) => Ok(address),
        Err(_) => Err(format!("HOST is no address: {host}")),
    }
}

/// One request on a connection of its own, and all that comes back.
fn ask(authority: &str, patience: Duration) -> io::Result<String> {
    const MOST_BYTES: u64 = 64 << 10;
    let address = authority.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut connection = TcpStream::connect_timeout(&address, patience)?;
    connection.set_read_timeout(Some(patience))?;
    connection.set_write_timeout(Some(patience))?;
    let request = format!("GET /api/health HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    connection.take(MOST_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(url: Option<&str>, host: &str) -> Result<String, String> {
        Arguments { url: url.map(str::to_owned), timeout: 1, host: host.to_owned(), port: 10000 }.authority()
    }

    #[test]
    fn a_server_is_asked_where_it_can_be_reached() {
        for (url, host, asked) in [
            (None, "0.0.0.0", "127.0.0.1:10000"),
            (None, "::", "[::1]:10000"),
            (None, "localhost", "127.0.0.1:10000"),
            (None, "10.1.2.3", "10.1.2.3:10000"),
            (Some("http://shop:8080/"), "0.0.0.0", "shop:8080"),
            (Some("http://shop"), "0.0.0.0", "shop:80"),
        ] {
            assert_eq!(authority(url, host).as_deref(), Ok(asked));
        }
        for url in ["https://shop", "shop:80", "http://shop/api"] {
            assert!(authority(Some(url), "::").is_err(), "{url}");
        }
    }
}
