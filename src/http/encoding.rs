//! Content codings: bodies come in gzip, br or zstd, and answers go out as `Accept-Encoding` asks.

use std::io::{self, Read, Write};

use actix_web::http::header::{self, HeaderMap};

use super::error::ApiError;

/// A content coding (RFC 9110, 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
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

    /// Decodes a body of at most `limit` bytes, and never more than that, whatever it would become. Asks
    /// `reserve` for the bytes that it is going to take in all, each time before it takes more.
    ///
    /// # Errors
    /// [`ApiError::PayloadTooLarge`], [`ApiError::MalformedEncoding`] if it is not of this coding, or
    /// what `reserve` says.
    pub fn decode(
        self,
        body: &[u8],
        limit: usize,
        reserve: impl FnMut(usize) -> Result<(), ApiError>,
    ) -> Result<Vec<u8>, ApiError> {
        let malformed = |_| ApiError::MalformedEncoding(self.name().unwrap_or("identity"));
        match self {
            Self::Identity => read(body, limit, reserve, malformed),
            Self::Gzip => read(flate2::read::MultiGzDecoder::new(body), limit, reserve, malformed),
            Self::Brotli if brotli_has_a_large_window(body) => Err(ApiError::MalformedEncoding("br")),
            Self::Brotli => read(brotli::Decompressor::new(body, 4096), limit, reserve, malformed),
            Self::Zstd if zstd_states_more_than(body, limit) => Err(ApiError::PayloadTooLarge { limit }),
            Self::Zstd => read(zstd_decoder(body, limit).map_err(malformed)?, limit, reserve, malformed),
        }
    }

    /// Encodes an answer that is there as a whole.
    ///
    /// # Errors
    /// None that could happen in memory.
    pub fn encode(self, pieces: &[impl AsRef<[u8]>]) -> io::Result<Vec<u8>> {
        let mut encoder = Encoder::new(self)?;
        pieces.iter().try_for_each(|piece| encoder.write(piece.as_ref()))?;
        encoder.finish()
    }
}

/// Encodes an answer as it comes, fast rather than small.
pub enum Encoder {
    /// As it is.
    Identity(Vec<u8>),
    /// RFC 1952.
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    /// RFC 7932.
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    /// RFC 8878.
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// Begins.
    ///
    /// # Errors
    /// None that could happen in memory.
    pub fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Identity => Self::Identity(Vec::new()),
            Coding::Gzip => Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast())),
            Coding::Brotli => Self::Brotli(Box::new(brotli::CompressorWriter::new(Vec::new(), 4096, 1, 20))),
            Coding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 1)?),
        })
    }

    /// Takes in a part, and gives what is encoded by then.
    ///
    /// # Errors
    /// None that could happen in memory.
    pub fn push(&mut self, part: &[u8]) -> io::Result<Vec<u8>> {
        self.write(part)?;
        Ok(std::mem::take(match self {
            Self::Identity(out) => out,
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        }))
    }

    /// Gives what is left.
    ///
    /// # Errors
    /// None that could happen in memory.
    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity(out) => Ok(out),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }

    fn write(&mut self, part: &[u8]) -> io::Result<()> {
        match self {
            Self::Identity(out) => out.write_all(part),
            Self::Gzip(encoder) => encoder.write_all(part),
            Self::Brotli(encoder) => encoder.write_all(part),
            Self::Zstd(encoder) => encoder.write_all(part),
        }
    }
}

/// One element of `Accept-Encoding`: its name and its weight, 1 if it has none.
fn weighed(element: &str) -> (String, f32) {
    let mut parts = element.split(';');
    let name = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let weight = parts.find_map(|parameter| parameter.trim().strip_prefix("q=")?.trim().parse().ok());
    (name, weight.unwrap_or(1.0))
}

/// Reads one byte more than the limit at most, which is enough to know, into room that doubles.
fn read(
    mut decoder: impl Read,
    limit: usize,
    mut reserve: impl FnMut(usize) -> Result<(), ApiError>,
    malformed: impl Fn(io::Error) -> ApiError,
) -> Result<Vec<u8>, ApiError> {
    const FIRST: usize = 64 << 10;
    let mut decoded = Vec::new();
    loop {
        let room = (2 * decoded.len()).max(FIRST).min(limit + 1);
        reserve(room)?;
        decoded.reserve_exact(room - decoded.len());
        decoder.by_ref().take((room - decoded.len()) as u64).read_to_end(&mut decoded).map_err(&malformed)?;
        if decoded.len() > limit {
            return Err(ApiError::PayloadTooLarge { limit });
        }
        if decoded.len() < room {
            return Ok(decoded);
        }
    }
}

/// Whether the frame itself says that it is too large.
fn zstd_states_more_than(body: &[u8], limit: usize) -> bool {
    zstd::zstd_safe::get_frame_content_size(body).ok().flatten().is_some_and(|size| size > limit as u64)
}

/// Whether it begins as a "large window brotli" does, in bits that RFC 7932 (9.1) has no meaning for. The decoder would
/// take a window of up to 1 GiB for it, however little it unpacks to.
fn brotli_has_a_large_window(body: &[u8]) -> bool {
    body.first().is_some_and(|first| first & 0x7f == 0x11)
}

/// A frame of one segment has a window of its whole content, so windows up to the limit are taken, and in any case
/// those that RFC 9659 allows.
fn zstd_decoder(body: &[u8], limit: usize) -> io::Result<zstd::Decoder<'static, &[u8]>> {
    const ALLOWED_WINDOW_LOG: u32 = 23;
    const LARGEST_WINDOW_LOG: u32 = 27;
    let whole = limit.next_power_of_two().ilog2();
    let mut decoder = zstd::Decoder::with_buffer(body)?;
    decoder.window_log_max(whole.clamp(ALLOWED_WINDOW_LOG, LARGEST_WINDOW_LOG))?;
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

    fn granted(_: usize) -> Result<(), ApiError> {
        Ok(())
    }

    #[test]
    fn every_coding_gives_back_what_it_took() {
        let body = "some text that repeats, some text that repeats".repeat(100);
        for coding in [Coding::Identity, Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            let encoded = coding.encode(&[&body]).unwrap();
            assert_eq!(coding.decode(&encoded, body.len(), granted).unwrap(), body.as_bytes(), "{coding:?}");
            assert!(
                matches!(coding.decode(&encoded, body.len() - 1, granted), Err(ApiError::PayloadTooLarge { .. })),
                "{coding:?}"
            );
        }
    }

    #[test]
    fn broken_and_bottomless_bodies_are_refused() {
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            let malformed = coding.decode(b"no such thing", 1000, granted);
            assert!(matches!(malformed, Err(ApiError::MalformedEncoding(_))), "{coding:?}");
            let bomb = coding.encode(&[vec![b' '; 50_000_000]]).unwrap();
            assert!(matches!(coding.decode(&bomb, 1000, granted), Err(ApiError::PayloadTooLarge { .. })), "{coding:?}");
        }
    }

    #[test]
    fn no_more_is_decoded_than_there_is_memory_for() {
        let body = Coding::Gzip.encode(&[vec![b' '; 1_000_000]]).unwrap();
        let mut asked = Vec::new();
        let decoded = Coding::Gzip.decode(&body, 2_000_000, |bytes| {
            asked.push(bytes);
            if bytes > 600_000 { Err(ApiError::Overloaded) } else { Ok(()) }
        });
        assert!(matches!(decoded, Err(ApiError::Overloaded)));
        assert_eq!(asked, [64 << 10, 128 << 10, 256 << 10, 512 << 10, 1024 << 10]);
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
