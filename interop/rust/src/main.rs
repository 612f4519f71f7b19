//! Foreign peer for the interoperability tests. One JSON object per line on stdout; every hash was
//! computed here, from the bytes that crossed the connection.
//!
//! ```text
//! rust-libp2p-peer listen                    rust-libp2p host: ping, identify, echo
//! rust-libp2p-peer dial MULTIADDR [BYTES]
//! rust-libp2p-peer hybrid-listen             quinn + rustls (aws-lc-rs): X25519MLKEM768 only
//! rust-libp2p-peer hybrid-dial HOST:PORT [BYTES]
//! ```
//!
//! rust-libp2p fixes its TLS provider (ring, classical groups); the hybrid commands use the same
//! certificate rules (`libp2p-tls`) on the provider that has the hybrid group.

mod host;
mod hybrid;

use serde_json::Value;
use sha2::{Digest, Sha256};

pub const ECHO: &str = "/wraith/echo/1.0.0";

pub fn emit(value: Value) {
    println!("{value}");
}

pub fn fail(stage: &str, error: impl std::fmt::Display) -> ! {
    emit(serde_json::json!({"event": "failed", "stage": stage, "error": error.to_string()}));
    std::process::exit(1)
}

pub fn sha256(data: &[u8]) -> String {
    Sha256::digest(data)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Returns when whoever started us closes our standard input.
pub async fn until_stdin_closes() {
    let mut sink = tokio::io::sink();
    let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut sink).await;
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let size = |text: &str| text.parse().unwrap_or(1 << 20);
    match words.as_slice() {
        ["listen"] => host::listen().await,
        ["dial", target] => host::dial(target, 1 << 20).await,
        ["dial", target, bytes] => host::dial(target, size(bytes)).await,
        ["hybrid-listen"] => hybrid::listen().await,
        ["hybrid-dial", target] => hybrid::dial(target, 1 << 20).await,
        ["hybrid-dial", target, bytes] => hybrid::dial(target, size(bytes)).await,
        _ => {
            eprintln!(
                "usage: rust-libp2p-peer listen | dial MULTIADDR | hybrid-listen | hybrid-dial HOST:PORT"
            );
            std::process::exit(2)
        }
    }
}
