//! The quinn side of the bulk benchmark: one stream, memory to memory, one process a side.
//!
//! `quinn-bulk recv`                      prints {"port":N}, takes one stream, prints what it measured
//! `quinn-bulk send PORT MIB DATAGRAM`    sends MIB mebibytes, prints its CPU time
//! `quinn-bulk connect PORT N`            makes N handshakes one after the other, prints milliseconds
//!
//! Times are from the first to the last application byte at the receiver. AES-256-GCM, X25519.

use std::{net::{IpAddr, SocketAddr}, sync::Arc, time::Instant};

use anyhow::Result;
use quinn::{ClientConfig, Endpoint, ServerConfig, TransportConfig, VarInt};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

fn provider() -> rustls::crypto::CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    // QUIC needs AES-128-GCM for its Initial packets; AES-256-GCM stands first and is chosen.
    provider.cipher_suites = vec![
        rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
    ];
    provider
}

fn transport(datagram: u16) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config.initial_mtu(datagram).min_mtu(datagram.min(1200)).mtu_discovery_config(None);
    config.stream_receive_window(VarInt::from_u32(16 << 20));
    config.receive_window(VarInt::from_u32(24 << 20));
    config.send_window(16 << 20);
    Arc::new(config)
}

/// The address of the receiver: `BULK_HOST`, else loopback.
fn host() -> IpAddr {
    let text = std::env::var("BULK_HOST").unwrap_or_default();
    text.parse().unwrap_or(IpAddr::from([127, 0, 0, 1]))
}

fn cpu_seconds() -> f64 {
    // SAFETY: getrusage fills the zeroed struct that it is given and keeps no pointer to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self, _: &CertificateDer<'_>, _: &[CertificateDer<'_>], _: &ServerName<'_>, _: &[u8], _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self, _: &[u8], _: &CertificateDer<'_>, _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self, message: &[u8], cert: &CertificateDer<'_>, dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn server(datagram: u16) -> Result<Endpoint> {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".into()])?;
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.signing_key.serialize_der())),
        )?;
    tls.alpn_protocols = vec![b"bulk".to_vec()];
    let mut config =
        ServerConfig::with_crypto(Arc::new(quinn::crypto::rustls::QuicServerConfig::try_from(tls)?));
    config.transport_config(transport(datagram));
    Ok(Endpoint::server(config, SocketAddr::new(host(), 0))?)
}

fn client(datagram: u16) -> Result<Endpoint> {
    let crypto = Arc::new(provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(crypto.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(crypto)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"bulk".to_vec()];
    let mut config =
        ClientConfig::new(Arc::new(quinn::crypto::rustls::QuicClientConfig::try_from(tls)?));
    config.transport_config(transport(datagram));
    let mut endpoint = Endpoint::client("0.0.0.0:0".parse()?)?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

async fn receive(datagram: u16) -> Result<()> {
    let endpoint = server(datagram)?;
    println!("{{\"port\":{}}}", endpoint.local_addr()?.port());
    loop {
        let connection = match endpoint.accept().await {
            Some(incoming) => incoming.await?,
            None => return Ok(()),
        };
        let Ok(mut stream) = connection.accept_uni().await else { continue };
        let mut start: Option<Instant> = None;
        let mut total: u64 = 0;
        let cpu = cpu_seconds();
        while let Some(chunk) = stream.read_chunk(usize::MAX, true).await? {
            start.get_or_insert_with(Instant::now);
            total += chunk.bytes.len() as u64;
        }
        let seconds = start.map_or(0.0, |s| s.elapsed().as_secs_f64());
        println!(
            "{{\"bytes\":{total},\"seconds\":{seconds:.6},\"cpu_s\":{:.4}}}",
            cpu_seconds() - cpu
        );
        connection.close(0u32.into(), b"");
        endpoint.wait_idle().await;
        return Ok(());
    }
}

async fn send(port: u16, mib: usize, datagram: u16) -> Result<()> {
    let endpoint = client(datagram)?;
    let address: SocketAddr = SocketAddr::new(host(), port);
    let connection = endpoint.connect(address, "localhost")?.await?;
    let cpu = cpu_seconds();
    let mut stream = connection.open_uni().await?;
    let block = vec![0x5au8; 1 << 20];
    for _ in 0..mib {
        stream.write_all(&block).await?;
    }
    stream.finish()?;
    let _ = stream.stopped().await;
    println!("{{\"cpu_s\":{:.4}}}", cpu_seconds() - cpu);
    endpoint.wait_idle().await;
    Ok(())
}

async fn connect(port: u16, n: usize) -> Result<()> {
    let endpoint = client(1400)?;
    let address: SocketAddr = SocketAddr::new(host(), port);
    let mut times = Vec::new();
    for _ in 0..n {
        let start = Instant::now();
        let connection = endpoint.connect(address, "localhost")?.await?;
        times.push(format!("{:.3}", start.elapsed().as_secs_f64() * 1e3));
        connection.close(0u32.into(), b"");
    }
    println!("{{\"ms\":[{}]}}", times.join(","));
    endpoint.wait_idle().await;
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |i: usize, default: usize| -> usize {
        arguments.get(i).and_then(|a| a.parse().ok()).unwrap_or(default)
    };
    let threads = std::env::var("QUINN_THREADS").is_ok();
    let mut builder = if threads {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = builder.enable_all().build()?;
    match arguments.get(1).map(String::as_str) {
        Some("recv") => runtime.block_on(receive(number(2, 1400) as u16)),
        Some("send") => {
            runtime.block_on(send(number(2, 0) as u16, number(3, 256), number(4, 1400) as u16))
        }
        Some("connect") => runtime.block_on(connect(number(2, 0) as u16, number(3, 100))),
        _ => anyhow::bail!("usage: quinn-bulk recv [DATAGRAM] | send PORT MIB DATAGRAM | connect PORT N"),
    }
}
