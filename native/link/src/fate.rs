//! What becomes of each packet on one direction of the link: dropped, or when it arrives.
//!
//! The twin of `src/wraith/testing/netem.py` in real time: the same order of loss, queue, delay and
//! lateness. Times are nanoseconds of one clock; nothing here reads a clock or a device.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Nanoseconds in a millisecond.
pub(crate) const MS: f64 = 1e6;

/// One direction of the link. Probabilities are 0 to 1, independent for each packet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// Bits per second; packets of the network layer, their headers included. 0: no limit.
    pub(crate) rate_bps: f64,
    /// The delay of every packet.
    pub(crate) delay_ns: u64,
    /// Each packet comes up to so much later, equally distributed.
    pub(crate) jitter_ns: u64,
    /// The part of the packets that comes later still, by `late_min_ns` to `late_max_ns`.
    pub(crate) late: f64,
    /// See `late`.
    pub(crate) late_min_ns: u64,
    /// See `late`.
    pub(crate) late_max_ns: u64,
    /// The part of the packets that vanishes before the queue.
    pub(crate) loss: f64,
    /// The drop-tail queue before the rate.
    pub(crate) queue_bytes: u64,
    /// No packet overtakes another.
    pub(crate) keeps_order: bool,
}

/// What happened on one direction so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    /// Packets that arrived at this end.
    pub(crate) packets: u64,
    /// Packets that vanished by `loss`.
    pub(crate) lost: u64,
    /// Packets that found the queue full.
    pub(crate) dropped: u64,
    /// Packets that were made late.
    pub(crate) late: u64,
    /// Packets that left at the other end, and their bytes.
    pub(crate) delivered: u64,
    /// See `delivered`.
    pub(crate) delivered_bytes: u64,
}

/// One direction: a queue before a rate, then delays.
pub(crate) struct Direction {
    config: Config,
    random: fastrand::Rng,
    free_at: u64,
    newest_at: u64,
    order: u64,
    waiting: BinaryHeap<Reverse<(u64, u64, Vec<u8>)>>,
    /// What happened so far.
    pub(crate) counts: Counts,
}

impl Direction {
    /// The same seed and the same packets at the same times have the same fate.
    pub(crate) fn new(config: Config, seed: u64) -> Self {
        Direction {
            config,
            random: fastrand::Rng::with_seed(seed),
            free_at: 0,
            newest_at: 0,
            order: 0,
            waiting: BinaryHeap::new(),
            counts: Counts::default(),
        }
    }

    /// Takes one packet at `now`.
    pub(crate) fn send(&mut self, packet: Vec<u8>, now: u64) {
        self.counts.packets += 1;
        let config = &self.config;
        if config.loss > 0.0 && self.random.f64() < config.loss {
            self.counts.lost += 1;
            return;
        }
        let mut at = now;
        if config.rate_bps > 0.0 {
            let start = now.max(self.free_at);
            let queued = (start - now) as f64 * config.rate_bps / 8e9;
            if queued + packet.len() as f64 > config.queue_bytes as f64 + 0.5 {
                self.counts.dropped += 1;
                return;
            }
            self.free_at = start + (packet.len() as f64 * 8e9 / config.rate_bps) as u64;
            at = self.free_at;
        }
        at += config.delay_ns;
        if config.jitter_ns > 0 {
            at += (self.random.f64() * config.jitter_ns as f64) as u64;
        }
        if config.late > 0.0 && self.random.f64() < config.late {
            self.counts.late += 1;
            let spread = config.late_max_ns.saturating_sub(config.late_min_ns) as f64;
            at += config.late_min_ns + (self.random.f64() * spread) as u64;
        }
        if config.keeps_order {
            at = at.max(self.newest_at);
            self.newest_at = at;
        }
        self.order += 1;
        self.waiting.push(Reverse((at, self.order, packet)));
    }

    /// When the next packet arrives at the other end.
    pub(crate) fn next_time(&self) -> Option<u64> {
        self.waiting.peek().map(|Reverse((at, _, _))| *at)
    }

    /// The next packet that has arrived by `now`.
    pub(crate) fn due(&mut self, now: u64) -> Option<Vec<u8>> {
        if self.next_time()? > now {
            return None;
        }
        let Reverse((_, _, packet)) = self.waiting.pop()?;
        self.counts.delivered += 1;
        self.counts.delivered_bytes += packet.len() as u64;
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Config = Config {
        rate_bps: 0.0,
        delay_ns: 20_000_000,
        jitter_ns: 0,
        late: 0.0,
        late_min_ns: 0,
        late_max_ns: 0,
        loss: 0.0,
        queue_bytes: 0,
        keeps_order: false,
    };

    /// Arrival time and number of each of `n` packets of 1,000 bytes, one a millisecond.
    fn fates(config: &Config, seed: u64, n: u32) -> Vec<(u64, u32)> {
        let mut direction = Direction::new(config.clone(), seed);
        for i in 0..n {
            let mut packet = vec![0; 1000];
            packet[..4].copy_from_slice(&i.to_be_bytes());
            direction.send(packet, u64::from(i) * 1_000_000);
        }
        let mut arrived = Vec::new();
        while let Some(at) = direction.next_time() {
            while let Some(packet) = direction.due(at) {
                let number = [packet[0], packet[1], packet[2], packet[3]];
                arrived.push((at, u32::from_be_bytes(number)));
            }
        }
        arrived
    }

    fn delays(arrived: &[(u64, u32)]) -> Vec<u64> {
        arrived.iter().map(|(at, i)| at - u64::from(*i) * 1_000_000).collect()
    }

    #[test]
    fn the_delay_is_that_of_every_packet() {
        assert!(delays(&fates(&PLAIN, 1, 100)).iter().all(|delay| *delay == 20_000_000));
    }

    #[test]
    fn the_same_seed_gives_the_same_fates_and_another_one_others() {
        let noisy =
            Config { jitter_ns: 5_000_000, late: 0.05, late_max_ns: 9_000_000, loss: 0.1, ..PLAIN };
        assert_eq!(fates(&noisy, 7, 1000), fates(&noisy, 7, 1000));
        assert_ne!(fates(&noisy, 7, 1000), fates(&noisy, 8, 1000));
    }

    #[test]
    fn loss_has_its_probability() {
        let n = fates(&Config { loss: 0.1, ..PLAIN }, 3, 20_000).len();
        assert!((17_700..18_300).contains(&n), "{n}");
    }

    #[test]
    fn jitter_is_spread_over_its_range_and_reorders() {
        let arrived = fates(&Config { jitter_ns: 5_000_000, ..PLAIN }, 3, 5000);
        let delays = delays(&arrived);
        assert!(delays.iter().all(|delay| (20_000_000..25_000_000).contains(delay)));
        assert!(delays.iter().min() < Some(&20_100_000));
        assert!(delays.iter().max() > Some(&24_900_000));
        assert!(arrived.windows(2).any(|pair| pair[0].1 > pair[1].1));
    }

    #[test]
    fn late_packets_are_a_share_and_late_by_their_range() {
        let config =
            Config { late: 0.05, late_min_ns: 2_000_000, late_max_ns: 22_000_000, ..PLAIN };
        let delays = delays(&fates(&config, 3, 20_000));
        let late: Vec<u64> = delays.into_iter().filter(|delay| *delay > 20_000_000).collect();
        assert!((880..1120).contains(&late.len()), "{}", late.len());
        assert!(late.iter().all(|delay| (22_000_000..42_000_000).contains(delay)));
    }

    #[test]
    fn with_the_order_kept_a_delay_holds_up_what_follows() {
        let free = Config { jitter_ns: 20_000_000, ..PLAIN };
        let kept = Config { keeps_order: true, ..free.clone() };
        let arrived = fates(&kept, 3, 1000);
        assert!(arrived.windows(2).all(|pair| pair[0].1 < pair[1].1));
        let mut alone = fates(&free, 3, 1000);
        alone.sort_by_key(|(_, number)| *number);
        assert!(arrived.iter().zip(&alone).all(|(kept, free)| kept.0 >= free.0));
    }

    #[test]
    fn a_rate_serialises_and_its_queue_drops_the_tail() {
        let config = Config { rate_bps: 8e6, queue_bytes: 10_000, delay_ns: 0, ..PLAIN };
        let mut direction = Direction::new(config, 1);
        for _ in 0..30 {
            direction.send(vec![0; 1000], 0);
        }
        assert_eq!(direction.counts.dropped, 20);
        for i in 1..=10 {
            assert_eq!(direction.next_time(), Some(i * 1_000_000));
            assert!(direction.due(i * 1_000_000 - 1).is_none());
            assert!(direction.due(i * 1_000_000).is_some());
        }
        assert_eq!(direction.next_time(), None);
        assert_eq!(direction.counts.delivered_bytes, 10_000);
    }

    #[test]
    fn an_idle_link_saves_no_capacity() {
        let config = Config { rate_bps: 8e6, queue_bytes: 100_000, delay_ns: 0, ..PLAIN };
        let mut direction = Direction::new(config, 1);
        direction.send(vec![0; 1000], 0);
        direction.send(vec![0; 1000], 5_000_000_000);
        assert!(direction.due(1_000_000).is_some());
        assert_eq!(direction.next_time(), Some(5_001_000_000));
    }
}
