//! An emulated link between two network namespaces, for benchmarks beside the kernel's TCP.
//!
//! Both ends are TUN devices; what one namespace sends there is read, given its fate by
//! [`fate::Direction`], and written to the other when its time has come. One thread, no buffer but
//! the packets under way. `bench/reorder.py` makes namespaces and devices and starts this.

mod device;
mod fate;
mod options;

use std::io::Write;
use std::process::ExitCode;

use device::Device;
use fate::{Counts, Direction};

const IDLE_NS: u64 = 1_000_000_000;
const READS_PER_TURN: usize = 64;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("wraith-link: {error}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wraith-link: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &options::Options) -> std::io::Result<()> {
    let [a, b] = &options.namespaces;
    let mut devices = [Device::open(a, &options.device)?, Device::open(b, &options.device)?];
    let mut directions = [
        Direction::new(options.config.clone(), options.seed),
        Direction::new(options.config.clone(), options.seed.wrapping_add(0x9e37_79b9_7f4a_7c15)),
    ];
    device::hurry();
    println!("ready");
    std::io::stdout().flush()?;
    let mut buffer = vec![0; 65_536];
    loop {
        let now = device::now();
        let next = directions.iter().filter_map(Direction::next_time).min();
        let wait_ns = next.map_or(IDLE_NS, |at| at.saturating_sub(now).min(IDLE_NS));
        if !device::wait(&devices, wait_ns) {
            break;
        }
        for (device, direction) in devices.iter_mut().zip(&mut directions) {
            let now = device::now();
            for _ in 0..READS_PER_TURN {
                let Some(n) = device.read(&mut buffer) else { break };
                direction.send(buffer[..n].to_vec(), now);
            }
        }
        let now = device::now();
        for (device, direction) in devices.iter_mut().rev().zip(&mut directions) {
            while let Some(packet) = direction.due(now) {
                device.write(&packet);
            }
        }
    }
    let [there, back] = directions.map(|direction| json(&direction.counts));
    println!("{{\"there\": {there}, \"back\": {back}}}");
    Ok(())
}

fn json(counts: &Counts) -> String {
    let Counts { packets, lost, dropped, late, delivered, delivered_bytes } = counts;
    format!(
        "{{\"packets\": {packets}, \"lost\": {lost}, \"dropped\": {dropped}, \"late\": {late}, \
         \"delivered\": {delivered}, \"delivered_bytes\": {delivered_bytes}}}"
    )
}
