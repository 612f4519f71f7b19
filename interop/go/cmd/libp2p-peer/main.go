// Command libp2p-peer is a foreign peer for the interoperability tests: a go-libp2p host that
// speaks ping, identify and echo over QUIC v1. One JSON object per line on stdout.
//
//	libp2p-peer listen [EXTRA]         serve until stdin closes, with EXTRA more protocols; a line
//	                                   "more N" on stdin adds N, which go-libp2p pushes to its peers
//	libp2p-peer dial MULTIADDR [BYTES] identify, ping, echo BYTES of random data
//
// Every hash printed here was computed here, from the bytes that crossed the connection.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/quic-go/quic-go"
)

const echoProtocol = "/wraith/echo/1.0.0"

func emit(fields map[string]any) {
	line, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func fail(stage string, err error) {
	emit(map[string]any{"event": "failed", "stage": stage, "error": err.Error()})
	os.Exit(1)
}

// group asks the QUIC connection below which key exchange its TLS negotiated.
func group(conn network.Conn) string {
	var below *quic.Conn
	if !conn.As(&below) {
		return ""
	}
	return below.ConnectionState().TLS.CurveID.String()
}

func newHost() host.Host {
	h, err := libp2p.New(
		libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1"),
		libp2p.Transport(libp2pquic.NewTransport),
		libp2p.DisableRelay(),
	)
	if err != nil {
		fail("host", err)
	}
	return h
}

func serveEcho(stream network.Stream) {
	data, err := io.ReadAll(stream)
	if err != nil {
		emit(map[string]any{"event": "echo-failed", "error": err.Error()})
		_ = stream.Reset()
		return
	}
	sum := sha256.Sum256(data)
	if _, err := stream.Write(data); err != nil {
		emit(map[string]any{"event": "echo-failed", "error": err.Error()})
		return
	}
	_ = stream.CloseWrite()
	emit(map[string]any{
		"event": "echo", "bytes": len(data), "sha256": hex.EncodeToString(sum[:]),
		"peer_id": stream.Conn().RemotePeer().String(), "group": group(stream.Conn()),
	})
}

// serveExtra makes the host's identify message long.
func serveExtra(h host.Host, prefix string, count int) {
	for number := 0; number < count; number++ {
		name := fmt.Sprintf("/wraith/%s/number/%d/1.0.0", prefix, number)
		h.SetStreamHandler(protocol.ID(name), func(stream network.Stream) { _ = stream.Reset() })
	}
}

func listen(extra int) {
	h := newHost()
	defer h.Close()
	h.SetStreamHandler(echoProtocol, serveEcho)
	serveExtra(h, "extra", extra)
	h.Network().Notify(&network.NotifyBundle{
		ConnectedF: func(_ network.Network, conn network.Conn) {
			emit(map[string]any{
				"event": "connected", "peer_id": conn.RemotePeer().String(), "group": group(conn),
			})
		},
	})
	for _, address := range h.Addrs() {
		emit(map[string]any{
			"event": "listening", "peer_id": h.ID().String(),
			"multiaddr": fmt.Sprintf("%s/p2p/%s", address, h.ID()),
		})
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var count int
		if _, err := fmt.Sscanf(lines.Text(), "more %d", &count); err == nil {
			serveExtra(h, "more", count)
			emit(map[string]any{"event": "more", "protocols": count})
		}
	}
}

func dial(target string, size int) {
	h := newHost()
	defer h.Close()
	info, err := peer.AddrInfoFromString(target)
	if err != nil {
		fail("multiaddr", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := h.Connect(ctx, *info); err != nil {
		fail("connect", err)
	}
	conn := h.Network().ConnsToPeer(info.ID)[0]
	emit(map[string]any{"event": "connected", "peer_id": info.ID.String(), "group": group(conn)})

	// Connect returns after identify; what it learnt is in the peer store.
	agent, _ := h.Peerstore().Get(info.ID, "AgentVersion")
	protocols, _ := h.Peerstore().GetProtocols(info.ID)
	var addresses []string
	for _, address := range h.Peerstore().Addrs(info.ID) {
		addresses = append(addresses, address.String())
	}
	emit(map[string]any{
		"event": "identify", "agent": agent, "protocols": protocols, "addresses": addresses,
	})
	h.Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.PermanentAddrTTL)

	result := <-ping.Ping(ctx, h, info.ID)
	if result.Error != nil {
		fail("ping", result.Error)
	}
	emit(map[string]any{"event": "ping", "rtt_ms": float64(result.RTT.Microseconds()) / 1000})

	stream, err := h.NewStream(ctx, info.ID, echoProtocol)
	if err != nil {
		fail("stream", err)
	}
	sent := make([]byte, size)
	_, _ = rand.Read(sent)
	go func() {
		_, _ = stream.Write(sent)
		_ = stream.CloseWrite()
	}()
	received, err := io.ReadAll(stream)
	if err != nil {
		fail("echo", err)
	}
	sentSum, receivedSum := sha256.Sum256(sent), sha256.Sum256(received)
	emit(map[string]any{
		"event": "echo", "bytes": len(received), "sent_sha256": hex.EncodeToString(sentSum[:]),
		"sha256": hex.EncodeToString(receivedSum[:]),
	})
}

func main() {
	switch {
	case len(os.Args) >= 2 && os.Args[1] == "listen":
		extra := 0
		if len(os.Args) > 2 {
			extra, _ = strconv.Atoi(os.Args[2])
		}
		listen(extra)
	case len(os.Args) >= 3 && os.Args[1] == "dial":
		size := 1 << 20
		if len(os.Args) > 3 {
			size, _ = strconv.Atoi(os.Args[3])
		}
		dial(os.Args[2], size)
	default:
		fmt.Fprintln(os.Stderr, "usage: libp2p-peer listen [EXTRA] | dial MULTIADDR [BYTES]")
		os.Exit(2)
	}
}
