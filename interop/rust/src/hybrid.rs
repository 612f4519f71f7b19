//! quinn with rustls on aws-lc-rs, restricted to X25519MLKEM768, under the libp2p certificate rules.

use std::net::SocketAddr;
use std::sync::Arc;

use libp2p::identity::Keypair;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use serde_json::json;

use crate::{emit, fail, sha256, until_stdin_closes};

const ALPN: &[u8] = b"libp2p";

/// Accepts exactly the certificates that libp2p-tls can parse: self-signed, with a host key.
#[derive(Debug)]
struct Libp2pVerifier(WebPkiSupportedAlgorithms);

impl Libp2pVerifier {
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        libp2p_tls::certificate::parse(certificate)
            .map(|_| ())
            .map_err(|error| Error::General(error.to_string()))
    }

    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        libp2p_tls::certificate::parse(certificate)
            .map_err(|error| Error::General(error.to_string()))?
            .verify_signature(signed.scheme, message, signed.signature())
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ServerCertVerifier for Libp2pVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

impl ClientCertVerifier for Libp2pVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

struct Identity {
    peer_id: String,
    certified: Arc<CertifiedKey>,
    provider: Arc<CryptoProvider>,
}

/// Presents the certificate as it is: rustls' own check stumbles over the critical libp2p extension.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

impl ResolvesClientCert for Always {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn identity() -> Identity {
    let keypair = Keypair::generate_ed25519();
    let (certificate, key) = libp2p_tls::certificate::generate(&keypair)
        .unwrap_or_else(|error| fail("certificate", error));
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    let signer = provider
        .key_provider
        .load_private_key(key)
        .unwrap_or_else(|error| fail("certificate", error));
    Identity {
        peer_id: keypair.public().to_peer_id().to_string(),
        certified: Arc::new(CertifiedKey::new(vec![certificate], signer)),
        provider: Arc::new(provider),
    }
}

fn verifier(identity: &Identity) -> Arc<Libp2pVerifier> {
    Arc::new(Libp2pVerifier(
        identity.provider.signature_verification_algorithms,
    ))
}

/// quinn 0.11 does not report the group; what this side could negotiate is all that it can say.
fn connected(identity_groups: &[&str]) {
    emit(json!({"event": "connected", "only_groups": identity_groups}));
}

const GROUPS: [&str; 1] = ["X25519MLKEM768"];

pub async fn listen() {
    let identity = identity();
    let verify = verifier(&identity);
    let mut tls = rustls::ServerConfig::builder_with_provider(identity.provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap_or_else(|error| fail("tls", error))
        .with_client_cert_verifier(verify)
        .with_cert_resolver(Arc::new(Always(identity.certified.clone())));
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = QuicServerConfig::try_from(tls).unwrap_or_else(|error| fail("tls", error));
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let local: SocketAddr = "127.0.0.1:0".parse().expect("a valid address");
    let endpoint =
        quinn::Endpoint::server(config, local).unwrap_or_else(|error| fail("listen", error));
    let address = endpoint
        .local_addr()
        .unwrap_or_else(|error| fail("listen", error));
    emit(json!({
        "event": "listening", "address": address.to_string(), "peer_id": identity.peer_id,
    }));
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                match incoming.await {
                    Ok(connection) => serve(connection).await,
                    Err(error) => emit(json!({"event": "refused", "error": error.to_string()})),
                }
            });
        }
    });
    until_stdin_closes().await;
}

async fn serve(connection: quinn::Connection) {
    connected(&GROUPS);
    while let Ok((mut writer, mut reader)) = connection.accept_bi().await {
        match reader.read_to_end(64 << 20).await {
            Ok(data) => {
                let _ = writer.write_all(&data).await;
                let _ = writer.finish();
                emit(json!({"event": "echo", "bytes": data.len(), "sha256": sha256(&data)}));
            }
            Err(error) => emit(json!({"event": "echo-failed", "error": error.to_string()})),
        }
    }
}

pub async fn dial(target: &str, size: usize) {
    let identity = identity();
    let remote: SocketAddr = target
        .parse()
        .unwrap_or_else(|error| fail("address", error));
    let mut tls = rustls::ClientConfig::builder_with_provider(identity.provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap_or_else(|error| fail("tls", error))
        .dangerous()
        .with_custom_certificate_verifier(verifier(&identity))
        .with_client_cert_resolver(Arc::new(Always(identity.certified.clone())));
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = QuicClientConfig::try_from(tls).unwrap_or_else(|error| fail("tls", error));
    let local: SocketAddr = "127.0.0.1:0".parse().expect("a valid address");
    let endpoint = quinn::Endpoint::client(local).unwrap_or_else(|error| fail("socket", error));
    let connection = endpoint
        .connect_with(quinn::ClientConfig::new(Arc::new(crypto)), remote, "l")
        .unwrap_or_else(|error| fail("connect", error))
        .await
        .unwrap_or_else(|error| fail("connect", error));
    connected(&GROUPS);
    let (mut writer, mut reader) = connection
        .open_bi()
        .await
        .unwrap_or_else(|error| fail("stream", error));
    let sent: Vec<u8> = (0..size).map(|_| rand::random()).collect();
    let digest = sha256(&sent);
    let write = async move {
        writer
            .write_all(&sent)
            .await
            .unwrap_or_else(|error| fail("echo", error));
        let _ = writer.finish();
    };
    let (_, received) = tokio::join!(write, reader.read_to_end(64 << 20));
    let received = received.unwrap_or_else(|error| fail("echo", error));
    emit(json!({
        "event": "echo", "bytes": received.len(), "sent_sha256": digest,
        "sha256": sha256(&received),
    }));
    connection.close(0u32.into(), b"");
    endpoint.wait_idle().await;
}
