//! The command line: what the link is like and which namespaces it joins.

use crate::fate::{Config, MS};

/// Everything the command line says.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    /// Paths of the two network namespaces.
    pub(crate) namespaces: [String; 2],
    /// Name of the TUN device in both.
    pub(crate) device: String,
    /// Both directions are alike.
    pub(crate) config: Config,
    /// Same seed, same fates.
    pub(crate) seed: u64,
}

/// Said when the command line is not understood.
pub(crate) const USAGE: &str = "usage: wraith-link NAMESPACE NAMESPACE [--device NAME] [--seed N]
  [--rate-mbit F] [--queue-bytes N] [--delay-ms F] [--jitter-ms F] [--keep-order]
  [--late SHARE] [--late-min-ms F] [--late-max-ms F] [--loss SHARE]
Joins the TUN device NAME (link0) of two network namespaces, both directions alike, until its
standard input ends; prints 'ready' first and the counts of both directions last.";

/// Reads the words after the name of the program.
pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut namespaces = Vec::new();
    let mut device = "link0".to_owned();
    let mut seed = 1;
    let mut config = Config {
        rate_bps: 0.0,
        delay_ns: 0,
        jitter_ns: 0,
        late: 0.0,
        late_min_ns: 0,
        late_max_ns: 0,
        loss: 0.0,
        queue_bytes: 256_000,
        keeps_order: false,
    };
    let mut words = words;
    while let Some(word) = words.next() {
        if !word.starts_with("--") {
            namespaces.push(word);
            continue;
        }
        if word == "--keep-order" {
            config.keeps_order = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let bad = || format!("{word} does not take {value}");
        let number = || value.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        let time = || number().filter(|ms| *ms <= 60_000.0).map(|ms| (ms * MS) as u64);
        let share = || number().filter(|share| *share <= 1.0);
        match word.as_str() {
            "--device" => device.clone_from(&value),
            "--seed" => seed = value.parse().map_err(|_| bad())?,
            "--queue-bytes" => config.queue_bytes = value.parse().map_err(|_| bad())?,
            "--rate-mbit" => config.rate_bps = number().ok_or_else(bad)? * 1e6,
            "--delay-ms" => config.delay_ns = time().ok_or_else(bad)?,
            "--jitter-ms" => config.jitter_ns = time().ok_or_else(bad)?,
            "--late" => config.late = share().ok_or_else(bad)?,
            "--late-min-ms" => config.late_min_ns = time().ok_or_else(bad)?,
            "--late-max-ms" => config.late_max_ns = time().ok_or_else(bad)?,
            "--loss" => config.loss = share().ok_or_else(bad)?,
            _ => return Err(format!("there is no {word}")),
        }
    }
    if config.late_min_ns > config.late_max_ns {
        return Err("--late-min-ms is above --late-max-ms".to_owned());
    }
    let namespaces =
        namespaces.try_into().map_err(|_| "two network namespaces are needed".to_owned())?;
    Ok(Options { namespaces, device, config, seed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn units_are_those_of_the_names() {
        let options = parsed(
            "a b --rate-mbit 20 --delay-ms 20 --jitter-ms 0.5 --late 0.05 --late-min-ms 2 \
             --late-max-ms 22 --loss 0.01 --queue-bytes 100000 --seed 9 --keep-order",
        );
        let config = Config {
            rate_bps: 20e6,
            delay_ns: 20_000_000,
            jitter_ns: 500_000,
            late: 0.05,
            late_min_ns: 2_000_000,
            late_max_ns: 22_000_000,
            loss: 0.01,
            queue_bytes: 100_000,
            keeps_order: true,
        };
        let namespaces = ["a".to_owned(), "b".to_owned()];
        assert_eq!(
            options,
            Ok(Options { namespaces, device: "link0".to_owned(), config, seed: 9 })
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (line, said) in [
            ("a", "two network namespaces"),
            ("a b c", "two network namespaces"),
            ("a b --loss 1.5", "--loss does not take 1.5"),
            ("a b --delay-ms -1", "--delay-ms does not take -1"),
            ("a b --delay-ms NaN", "--delay-ms does not take NaN"),
            ("a b --jitter-ms", "--jitter-ms needs a value"),
            ("a b --speed 3", "there is no --speed"),
            ("a b --late-min-ms 3", "--late-min-ms is above"),
        ] {
            let answer = parsed(line);
            assert!(answer.as_ref().is_err_and(|error| error.contains(said)), "{line}: {answer:?}");
        }
    }
}
