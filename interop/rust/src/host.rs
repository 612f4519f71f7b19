//! The rust-libp2p host.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, identify, multiaddr::Protocol, ping,
};
use serde_json::json;

use crate::{ECHO, emit, fail, sha256, until_stdin_closes};

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    stream: libp2p_stream::Behaviour,
}

fn build() -> Swarm<Behaviour> {
    libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_quic()
        .with_behaviour(|key| Behaviour {
            identify: identify::Behaviour::new(identify::Config::new(
                "wraith/2".into(),
                key.public(),
            )),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(Duration::from_millis(200)),
            ),
            stream: libp2p_stream::Behaviour::new(),
        })
        .unwrap_or_else(|error| fail("host", error))
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

async fn echo(peer: PeerId, mut stream: Stream) {
    let mut data = Vec::new();
    if let Err(error) = stream.read_to_end(&mut data).await {
        return emit(json!({"event": "echo-failed", "error": error.to_string()}));
    }
    if let Err(error) = stream.write_all(&data).await {
        return emit(json!({"event": "echo-failed", "error": error.to_string()}));
    }
    let _ = stream.close().await;
    emit(json!({
        "event": "echo", "bytes": data.len(), "sha256": sha256(&data), "peer_id": peer.to_string(),
    }));
}

fn report(event: &SwarmEvent<BehaviourEvent>) {
    match event {
        SwarmEvent::ConnectionEstablished { peer_id, .. } => {
            emit(json!({"event": "connected", "peer_id": peer_id.to_string()}));
        }
        SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
            info, ..
        })) => {
            let protocols: Vec<String> = info.protocols.iter().map(ToString::to_string).collect();
            emit(json!({
                "event": "identify", "agent": info.agent_version, "protocols": protocols,
                "observed": info.observed_addr.to_string(),
            }));
        }
        SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
            result: Ok(rtt), ..
        })) => {
            emit(json!({"event": "ping", "rtt_ms": rtt.as_secs_f64() * 1000.0}));
        }
        SwarmEvent::OutgoingConnectionError { error, .. } => {
            emit(json!({"event": "failed", "stage": "connect", "error": format!("{error:?}")}));
        }
        SwarmEvent::IncomingConnectionError { error, .. } => {
            emit(json!({"event": "refused", "error": format!("{error:?}")}));
        }
        _ => {}
    }
}

pub async fn listen() {
    let mut swarm = build();
    let mut incoming = swarm
        .behaviour()
        .stream
        .new_control()
        .accept(StreamProtocol::new(ECHO))
        .unwrap_or_else(|error| fail("echo", error));
    tokio::spawn(async move {
        while let Some((peer, stream)) = incoming.next().await {
            tokio::spawn(echo(peer, stream));
        }
    });
    let address: Multiaddr = "/ip4/127.0.0.1/udp/0/quic-v1"
        .parse()
        .expect("a valid address");
    swarm
        .listen_on(address)
        .unwrap_or_else(|error| fail("listen", error));
    let id = *swarm.local_peer_id();
    let done = until_stdin_closes();
    tokio::pin!(done);
    loop {
        tokio::select! {
            () = &mut done => return,
            event = swarm.select_next_some() => {
                if let SwarmEvent::NewListenAddr { address, .. } = &event {
                    emit(json!({
                        "event": "listening", "multiaddr": format!("{address}/p2p/{id}"),
                        "peer_id": id.to_string(),
                    }));
                }
                report(&event);
            }
        }
    }
}

pub async fn dial(target: &str, size: usize) {
    let address: Multiaddr = target
        .parse()
        .unwrap_or_else(|error| fail("multiaddr", error));
    let Some(Protocol::P2p(peer)) = address.iter().last() else {
        fail("multiaddr", "it does not end in /p2p/<PeerId>")
    };
    let mut swarm = build();
    let mut control = swarm.behaviour().stream.new_control();
    swarm
        .dial(address)
        .unwrap_or_else(|error| fail("dial", error));
    let (mut pinged, mut identified) = (false, false);
    // Ping and identify run inside the swarm; the echo needs both to have been seen first.
    while !(pinged && identified) {
        let event = swarm.select_next_some().await;
        report(&event);
        match event {
            SwarmEvent::OutgoingConnectionError { .. } => std::process::exit(1),
            SwarmEvent::ConnectionClosed { cause, .. } => fail("connection", format!("{cause:?}")),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => pinged |= event.result.is_ok(),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                ..
            })) => {
                identified = true;
            }
            _ => {}
        }
    }
    let driver = tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let stream = control
        .open_stream(peer, StreamProtocol::new(ECHO))
        .await
        .unwrap_or_else(|error| fail("stream", error));
    let (mut reader, mut writer) = stream.split();
    let sent: Vec<u8> = (0..size).map(|_| rand::random()).collect();
    let digest = sha256(&sent);
    let write = async move {
        writer.write_all(&sent).await?;
        writer.close().await
    };
    let mut received = Vec::new();
    let read = reader.read_to_end(&mut received);
    let (written, read) = futures::join!(write, read);
    written.unwrap_or_else(|error| fail("echo", error));
    read.unwrap_or_else(|error| fail("echo", error));
    emit(json!({
        "event": "echo", "bytes": received.len(), "sent_sha256": digest,
        "sha256": sha256(&received),
    }));
    driver.abort();
}
