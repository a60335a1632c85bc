//! Content codings: bodies come in gzip, br or zstd, and answers go out as `Accept-Encoding` asks.

use std::io::{self, Read, Write};

use actix_web::http::header::{self, HeaderMap};

use super::error::ApiError;

/// A content coding (RFC 9110, 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, with windows of at most 8 MiB (RFC 9659).
    Zstd,
}

impl Coding {
    /// The coding's name; `None` for identity, which is not named.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Brotli => Some("br"),
            Self::Zstd => Some("zstd"),
        }
    }

    fn of(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "identity" | "" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "br" => Some(Self::Brotli),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The coding of a request's body.
    ///
    /// # Errors
    /// [`ApiError::UnsupportedEncoding`] for any other coding, and for several on top of each other.
    pub fn of_body(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut codings = headers.get_all(header::CONTENT_ENCODING);
        match (codings.next(), codings.next()) {
            (None, _) => Ok(Self::Identity),
            (Some(one), None) => one.to_str().ok().and_then(Self::of).ok_or(ApiError::UnsupportedEncoding),
            (Some(_), Some(_)) => Err(ApiError::UnsupportedEncoding),
        }
    }

    /// The coding that an answer should have: the one that the phone weighs highest, and of equals the
    /// one that is cheapest for its size.
    pub fn accepted(headers: &HeaderMap) -> Self {
        let offered: Vec<(String, f32)> = headers
            .get_all(header::ACCEPT_ENCODING)
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(weighed)
            .collect();
        let weight = |coding: Self| {
            let named = offered.iter().find(|(name, _)| Self::of(name) == Some(coding));
            named.or_else(|| offered.iter().find(|(name, _)| name == "*")).map_or(0.0, |(_, weight)| *weight)
        };
        let mut best = Self::Identity;
        let identity = offered.iter().find(|(name, _)| name == "identity").map_or(0.0, |(_, weight)| *weight);
        let mut best_weight = identity;
        for coding in [Self::Zstd, Self::Gzip, Self::Brotli] {
            let wins =
                if best == Self::Identity { weight(coding) >= best_weight } else { weight(coding) > best_weight };
            if weight(coding) > 0.0 && wins {
                (best, best_weight) = (coding, weight(coding));
            }
        }
        best
    }

    /// Decodes a body of at most `limit` bytes, and never more than that, whatever it would become.
    ///
    /// # Errors
    /// [`ApiError::PayloadTooLarge`], or [`ApiError::MalformedEncoding`] if it is not of this coding.
    pub fn decode(self, body: &[u8], limit: usize) -> Result<Vec<u8>, ApiError> {
        let read = match self {
            Self::Identity => read(body, limit),
            Self::Gzip => read(flate2::read::MultiGzDecoder::new(body), limit),
            Self::Brotli => read(brotli::Decompressor::new(body, 4096), limit),
            Self::Zstd => zstd_decoder(body).and_then(|decoder| read(decoder, limit)),
        };
        match read {
            Ok(decoded) if decoded.len() > limit => Err(ApiError::PayloadTooLarge { limit }),
            Ok(decoded) => Ok(decoded),
            Err(_) => Err(ApiError::MalformedEncoding(self.name().unwrap_or("identity"))),
        }
    }

    /// Encodes an answer, fast rather than small.
    ///
    /// # Errors
    /// None that could happen in memory.
    pub fn encode(self, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(body.len() / 3);
        match self {
            Self::Identity => out.extend_from_slice(body),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(&mut out, flate2::Compression::fast());
                encoder.write_all(body)?;
                encoder.finish()?;
            }
            Self::Brotli => brotli::CompressorWriter::new(&mut out, 4096, 1, 20).write_all(body)?,
            Self::Zstd => zstd::stream::copy_encode(body, &mut out, 1)?,
        }
        Ok(out)
    }
}

/// One element of `Accept-Encoding`: its name and its weight, 1 if it has none.
fn weighed(element: &str) -> (String, f32) {
    let mut parts = element.split(';');
    let name = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let weight = parts.find_map(|parameter| parameter.trim().strip_prefix("q=")?.trim().parse().ok());
    (name, weight.unwrap_or(1.0))
}

/// Reads one byte more than the limit at most, which is enough to know.
fn read(decoder: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    decoder.take(limit as u64 + 1).read_to_end(&mut decoded)?;
    Ok(decoded)
}

fn zstd_decoder(body: &[u8]) -> io::Result<zstd::Decoder<'static, &[u8]>> {
    const LARGEST_WINDOW_LOG: u32 = 23;
    let mut decoder = zstd::Decoder::with_buffer(body)?;
    decoder.window_log_max(LARGEST_WINDOW_LOG)?;
    Ok(decoder)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn accepted(value: &str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap());
        Coding::accepted(&headers).name()
    }

    #[test]
    fn every_coding_gives_back_what_it_took() {
        let body = "some text that repeats, some text that repeats".repeat(100);
        for coding in [Coding::Identity, Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            let encoded = coding.encode(body.as_bytes()).unwrap();
            assert_eq!(coding.decode(&encoded, body.len()).unwrap(), body.as_bytes(), "{coding:?}");
            assert!(
                matches!(coding.decode(&encoded, body.len() - 1), Err(ApiError::PayloadTooLarge { .. })),
                "{coding:?}"
            );
        }
    }

    #[test]
    fn broken_and_bottomless_bodies_are_refused() {
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            assert!(matches!(coding.decode(b"no such thing", 1000), Err(ApiError::MalformedEncoding(_))), "{coding:?}");
            let bomb = coding.encode(&vec![b' '; 50_000_000]).unwrap();
            assert!(matches!(coding.decode(&bomb, 1000), Err(ApiError::PayloadTooLarge { .. })), "{coding:?}");
        }
    }

    #[test]
    fn answers_are_coded_as_the_phone_asks() {
        assert_eq!(accepted("gzip, deflate, br"), Some("gzip"));
        assert_eq!(accepted("gzip, deflate, br, zstd"), Some("zstd"));
        assert_eq!(accepted("br"), Some("br"));
        assert_eq!(accepted("gzip;q=0.5, br;q=0.9"), Some("br"));
        assert_eq!(accepted("gzip;q=0, *"), Some("zstd"));
        assert_eq!(accepted("GZIP; q=0.1"), Some("gzip"));
        for none in ["", "identity", "deflate", "gzip;q=0", "identity;q=1, gzip;q=0.5"] {
            assert_eq!(accepted(none), None, "{none}");
        }
        assert_eq!(accepted("identity, gzip"), Some("gzip"));
    }
}
