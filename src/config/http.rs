//! How the server meets phones, browsers and crowds.

use std::net::Ipv6Addr;
use std::str::FromStr;

use clap::{Args, value_parser};

use super::SECONDS;

/// The settings of what is around each request.
#[derive(Debug, Clone, Args)]
pub struct HttpConfig {
    /// Origins whose web pages may call the API, separated by commas, or *; without it none may
    #[arg(long, env = "CORS_ORIGINS", default_value = "", hide_default_value = true)]
    pub cors_origins: Origins,

    /// Requests of one client each minute, in the long run; 0 does not limit them
    #[arg(long, env = "RATE_LIMIT_PER_MINUTE", default_value_t = 0)]
    pub rate_limit_per_minute: u32,

    /// Requests that one client may make at once after a pause; 0: as many as in a minute
    #[arg(long, env = "RATE_LIMIT_BURST", default_value_t = 0, value_parser = value_parser!(u32).range(..=100_000))]
    pub rate_limit_burst: u32,

    /// Seconds that a phone may take to send the head of a request
    #[arg(long, env = "HEAD_SECONDS", default_value_t = 10, value_parser = SECONDS)]
    pub head_seconds: usize,

    /// Seconds that a phone may take to send a body
    #[arg(long, env = "BODY_SECONDS", default_value_t = 300, value_parser = SECONDS)]
    pub body_seconds: usize,

    /// Seconds that a phone may pause while it sends a body
    #[arg(long, env = "BODY_PAUSE_SECONDS", default_value_t = 30, value_parser = SECONDS)]
    pub body_pause_seconds: usize,
}

/// Which web pages may call the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// None but those of the server itself.
    Same,
    /// All.
    Any,
    /// These, as browsers write them: `https://shop.example`, `capacitor://localhost`.
    Of(Vec<String>),
}

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let origins: Vec<&str> = text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).collect();
        match origins[..] {
            [] => Ok(Self::Same),
            ["*"] => Ok(Self::Any),
            _ => match origins.iter().find(|origin| !is_origin(origin)) {
                Some(wrong) => Err(format!(
                    "{wrong:?} is not like https://shop.example or https://shop.example:8443, without a default port"
                )),
                None => Ok(Self::Of(origins.into_iter().map(str::to_owned).collect())),
            },
        }
    }
}

/// Whether a browser could send it (RFC 6454, 6.2): it compares texts, so a path, a capital letter or the port that
/// follows from the scheme would never match.
fn is_origin(text: &str) -> bool {
    let is = |text: &str, more: &[u8]| {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || more.contains(&byte);
        !text.is_empty() && text.bytes().all(fits)
    };
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(ip) => ip.parse::<Ipv6Addr>().is_ok_and(|parsed| parsed.to_string() == ip),
        None => is(host, b"-._"),
    };
    is(scheme, b"+-.") && is_host && port.is_none_or(|port| is_port(port, scheme))
}

/// Whether it is a port as browsers write it, and not the one of the scheme.
fn is_port(text: &str, scheme: &str) -> bool {
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        _ => 0,
    };
    text.parse::<u16>().is_ok_and(|port| port > 0 && port != default && port.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_none_all_or_a_list() {
        let list = |origins: &[&str]| Ok(Origins::Of(origins.iter().map(|&origin| origin.to_owned()).collect()));
        assert_eq!("".parse(), Ok(Origins::Same));
        assert_eq!(" * ".parse(), Ok(Origins::Any));
        assert_eq!("https://a.example".parse(), list(&["https://a.example"]));
        assert_eq!("https://a:1, capacitor://localhost,".parse(), list(&["https://a:1", "capacitor://localhost"]));
        assert_eq!("http://[::1]:81,http://a:443".parse(), list(&["http://[::1]:81", "http://a:443"]));
        for wrong in ["a.example", "https://a/", "https://A.example", "*,https://a", "https://", "https://a/b", "null"]
        {
            wrong.parse::<Origins>().expect_err(wrong);
        }
    }

    #[test]
    fn a_port_is_as_browsers_write_it() {
        for wrong in [":443", ":", ":x", ":0", ":08443", ":65536", ":1:2", ":8443:", "]:1", ":+1"] {
            format!("https://a{wrong}").parse::<Origins>().expect_err(wrong);
        }
        for wrong in ["http://a:80", "http://[::1]:80", "http://[::1", "http://::1", "http://[0::1]", "http://[a]"] {
            wrong.parse::<Origins>().expect_err(wrong);
        }
    }
}
