//! The options of `viveka-sync storm`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::script::{Recipe, View};
use crate::cli::target::Target;

/// How hard, how long, and with how much trouble.
#[derive(Debug, Args)]
#[command(after_help = AFTER, after_long_help = AFTER_LONG)]
pub(in crate::cli) struct Arguments {
    /// Shops, each a client of its own that is new to the server: a random id of this run, whatever --seed is. With --token
    /// or --client it is that client alone [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: Option<u32>,

    /// Phones of each shop, which send at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub phones_per_client: u32,

    /// Open loop: so many syncs each second, all phones together, due at fixed times whatever the server does; latencies
    /// count from then. Without it, closed loop: each phone sends the next when it has the last answer
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    pub rate: Option<f64>,

    /// How long syncs are begun: 30, 30s, 500ms, 10m, 2h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub duration: Duration,

    /// Ends the load when so many syncs were begun
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub syncs: u64,

    /// What a batch is made of: SIZE:MIX, as in 20:item=5,update=5,delete=2,invoice=5,payment=3. The SIZE is shared out in
    /// proportion to the MIX, which may be a name as well (see below); either may stand alone
    #[arg(long, value_name = "SIZE:MIX", default_value = "day")]
    pub batch: Recipe,

    /// How much of the dataset phones ask for with each sync
    #[arg(long, value_name = "VIEW", default_value = "delta", value_enum)]
    pub data: View,

    /// Sends each sync so many times at once, under one key
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub retries: u32,

    /// In so many of 100 syncs the phone hangs up before it has the answer, and sends the same batch and key again
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub hangups: f64,

    /// After so many of 100 hang-ups the phone puts the operations into a new batch with a new key instead. Above 0, all
    /// creates carry a localId, which alone keeps those from being doubled
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub rebatch: f64,

    /// Decides every batch and every hang-up; random if it is not given, and printed in the result. Client ids do not come
    /// from it
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,

    /// How long one request may take
    #[arg(long, value_name = "TIME", default_value = "40s", value_parser = duration)]
    pub timeout: Duration,

    /// How long what is under way may go on when the load is over, and how long a server that is away is waited for before it
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub patience: Duration,

    /// Prints the result as JSON
    #[arg(long)]
    pub json: bool,

    /// Writes the result as a web page: one file, to be looked at, mailed or printed
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,

    /// Allows a --url that is not this machine. It takes all that the server has: never point it at a server of others
    #[arg(long)]
    pub i_own_this_server: bool,

    #[command(flatten)]
    pub target: Target,
}

const AFTER: &str = "\
Batches by name:  day        20 operations, a bit of all (the default)
                  till       3: two invoices and a payment
                  market     200: mostly invoices and payments
                  catalogue  100: items alone

Examples:
  viveka-sync storm                                   4 shops with 4 phones each, 10 s, as fast as it goes
  viveka-sync storm --rate 200 --duration 1m          200 syncs each second, measured from when they were due
  viveka-sync storm --retries 5 --hangups 20 --rebatch 50
                                                      a retry storm: every batch 5 times at once, bad networks
  viveka-sync storm --batch 200:market --data full --clients 50 --phones-per-client 1
  viveka-sync storm --report storm.html --json > storm.json

Exit code: 0 if the audit found nothing wrong, 1 if it did, 2 if there was no storm, or only a part of it as a signal came.
--help tells more.";

const AFTER_LONG: &str = "\
Batches by name:
  day        20:item=5,update=5,delete=2,invoice=5,payment=3    a bit of all: a phone that was offline for a day
  till       3:invoice=2,payment=1                              small and quick: what a till sends as it sells
  market     200:item=10,update=10,invoice=120,payment=60       the day of a market stall
  catalogue  100:item=60,update=30,delete=10                    items alone, and no sale

Examples:
  viveka-sync storm                                   4 shops with 4 phones each, 10 s, as fast as it goes
  viveka-sync storm --rate 200 --duration 1m          200 syncs each second, measured from when they were due
  viveka-sync storm --retries 5 --hangups 20 --rebatch 50
                                                      a retry storm: every batch 5 times at once, bad networks
  viveka-sync storm --batch 200:market --data full --clients 50 --phones-per-client 1
  viveka-sync storm --batch 40:till                   40 operations, two thirds of them invoices
  viveka-sync storm --report storm.html --json > storm.json

What happens:
  1. Each shop is opened: 17 items and an open bill that its phones share, and some for each phone.
  2. The phones send. Each waits for its sync before it begins the next, and sends it again with the same key after 409,
     429, 5xx and lost connections, with the pauses that the server asks for. Ctrl-C and SIGTERM end the load: what is
     under way has --patience, and the audit follows. A second one does not wait for either.
  3. The audit pulls the books of each shop through the API: every sync that was acknowledged must be there once, every one
     that was not must be there altogether or not at all, and all sums, stocks and purchase histories must be right.

What is needed:
  A server on this machine, and its secret to make tokens with: run it in the directory of the server, or set JWT_SECRET or
  DATA_DIR. With a --token alone the load is one client's. What the load writes stays in the store: use one of its own.

Exit code: 0 if the audit found nothing wrong, 1 if it did, 2 if there was no storm, or only a part of it as a signal came.";

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "a number of syncs each second is asked for".to_owned())?;
    if (0.01..=1e6).contains(&rate) { Ok(rate) } else { Err("0.01 to 1000000 is asked for".into()) }
}

fn percent(text: &str) -> Result<f64, String> {
    let percent: f64 = text.trim_end_matches('%').parse().map_err(|_| "0 to 100 is asked for".to_owned())?;
    if (0.0..=100.0).contains(&percent) { Ok(percent) } else { Err("0 to 100 is asked for".into()) }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(format!("{unit:?} is no unit: ms, s, m or h is asked for")),
    };
    let number: f64 = number.parse().map_err(|_| "a time such as 30s, 500ms or 10m is asked for".to_owned())?;
    let time = Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())?;
    let allowed = Duration::from_millis(1)..=Duration::from_secs(24 * 3_600);
    if allowed.contains(&time) { Ok(time) } else { Err("1ms to 24h is asked for".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_bounds() {
        for (text, millis) in [("30", 30_000), ("1.5s", 1_500), ("500ms", 500), ("2m", 120_000), ("24h", 86_400_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1", "1d", "1 s", "0", "25h", "1e400", "1.2.3s", "99999999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_and_percentages_have_bounds() {
        assert_eq!((rate("0.5"), percent("20%"), percent("99.5")), (Ok(0.5), Ok(20.0), Ok(99.5)));
        assert!(["0", "-1", "nan", "inf", "x", ""].iter().all(|text| rate(text).is_err()));
        assert!(["101", "-1", "nan", "x", ""].iter().all(|text| percent(text).is_err()));
    }

    #[test]
    fn the_help_tells_the_batches_as_they_are() {
        for (name, mix) in super::super::script::NAMED {
            let size = name.parse::<Recipe>().map(|recipe| recipe.size()).unwrap();
            assert!(AFTER_LONG.contains(&format!("{size}:{mix}")), "{name}");
            assert!(AFTER.contains(name), "{name}");
        }
    }
}
