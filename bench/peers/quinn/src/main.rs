//! The quinn side of the bulk benchmark: one stream, memory to memory, one process a side.
//!
//! `quinn-bulk recv`                      prints {"port":N}, takes one stream, prints what it measured
//! `quinn-bulk send PORT MIB DATAGRAM`    sends MIB mebibytes, prints its CPU time
//! `quinn-bulk connect PORT N`            makes N handshakes one after the other, prints milliseconds
//!
//! Times are from the first to the last application byte at the receiver. AES-256-GCM, X25519.
//! Socket buffers are 8 MiB, as all peers have them, and the receiver takes 32 chunks a call. The
//! sender repeats the file that `BULK_BLOCK` names; the receiver compares every byte with it.

use std::{net::{IpAddr, SocketAddr, UdpSocket}, os::fd::AsRawFd, sync::Arc, time::Instant};

use anyhow::Result;
use quinn::{ClientConfig, Endpoint, EndpointConfig, ServerConfig, TransportConfig, VarInt};
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

/// A socket with the buffers that every peer gets: 8 MiB, beyond the system's limit where allowed.
fn socket(address: SocketAddr) -> Result<UdpSocket> {
    static BYTES: libc::c_int = 8 << 20;
    let socket = UdpSocket::bind(address)?;
    for (forced, ordinary) in
        [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
    {
        let set = |option| {
            // SAFETY: the descriptor is open and the value is one c_int, as the length says.
            unsafe {
                libc::setsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_SOCKET,
                    option,
                    (&raw const BYTES).cast(),
                    size_of::<libc::c_int>() as libc::socklen_t,
                )
            }
        };
        if set(forced) != 0 {
            set(ordinary);
        }
    }
    Ok(socket)
}

/// What the sender repeats and the receiver expects.
fn block() -> Result<Vec<u8>> {
    Ok(std::fs::read(std::env::var("BULK_BLOCK")?)?)
}

/// Whether `chunk` is what stands at `offset` of the endless repetition of `block`.
fn is_expected(block: &[u8], offset: u64, chunk: &[u8]) -> bool {
    let mut at = (offset % block.len() as u64) as usize;
    let mut rest = chunk;
    while !rest.is_empty() {
        let n = rest.len().min(block.len() - at);
        if rest[..n] != block[at..at + n] {
            return false;
        }
        rest = &rest[n..];
        at = 0;
    }
    true
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
    let socket = socket(SocketAddr::new(host(), 0))?;
    let runtime = Arc::new(quinn::TokioRuntime);
    Ok(Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime)?)
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
    let socket = socket("0.0.0.0:0".parse()?)?;
    let runtime = Arc::new(quinn::TokioRuntime);
    let mut endpoint = Endpoint::new(EndpointConfig::default(), None, socket, runtime)?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

async fn receive(datagram: u16) -> Result<()> {
    let endpoint = server(datagram)?;
    let block = std::env::var("BULK_BLOCK").ok().map(std::fs::read).transpose()?;
    println!("{{\"port\":{}}}", endpoint.local_addr()?.port());
    loop {
        let connection = match endpoint.accept().await {
            Some(incoming) => incoming.await?,
            None => return Ok(()),
        };
        let Ok(mut stream) = connection.accept_uni().await else { continue };
        let mut start: Option<Instant> = None;
        let Some(block) = &block else { anyhow::bail!("BULK_BLOCK names no file") };
        let mut total: u64 = 0;
        let mut equal = true;
        let mut chunks = vec![bytes::Bytes::new(); 32];
        let cpu = cpu_seconds();
        while let Some(n) = stream.read_chunks(&mut chunks).await? {
            start.get_or_insert_with(Instant::now);
            for chunk in &chunks[..n] {
                equal &= is_expected(block, total, chunk);
                total += chunk.len() as u64;
            }
        }
        let seconds = start.map_or(0.0, |s| s.elapsed().as_secs_f64());
        println!(
            "{{\"bytes\":{total},\"equal\":{equal},\"seconds\":{seconds:.6},\"cpu_s\":{:.4}}}",
            cpu_seconds() - cpu
        );
        connection.close(0u32.into(), b"");
        endpoint.wait_idle().await;
        return Ok(());
    }
}

async fn send(port: u16, mib: usize, datagram: u16) -> Result<()> {
    let block = block()?;
    let endpoint = client(datagram)?;
    let address: SocketAddr = SocketAddr::new(host(), port);
    let connection = endpoint.connect(address, "localhost")?.await?;
    let cpu = cpu_seconds();
    let mut stream = connection.open_uni().await?;
    let mut left = mib << 20;
    while left > 0 {
        let n = left.min(block.len());
        stream.write_all(&block[..n]).await?;
        left -= n;
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
