// Command quic-peer is a foreign peer for the interoperability tests: quic-go with the libp2p
// certificate rules but no libp2p host, so that the key exchange can be chosen and read.
// One JSON object per line on stdout.
//
//	quic-peer listen GROUPS            GROUPS: default | hybrid | classical
//	quic-peer dial HOST:PORT GROUPS [BYTES [echo|send [CID_BYTES]]]
//
// The group comes from the TLS connection state, the hashes are computed here. With "send" the
// client only uploads and prints its rate (the throughput figure of the benchmarks).
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/quic-go/quic-go"
)

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

func configure(groups string) (*tls.Config, peer.ID) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		fail("key", err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		fail("key", err)
	}
	identity, err := libp2ptls.NewIdentity(key)
	if err != nil {
		fail("identity", err)
	}
	config, _ := identity.ConfigForPeer("")
	config.NextProtos = []string{"libp2p"}
	switch groups {
	case "default":
	case "hybrid":
		config.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768}
	case "classical":
		config.CurvePreferences = []tls.CurveID{tls.X25519}
	default:
		fail("groups", fmt.Errorf("unknown groups %q", groups))
	}
	return config, id
}

var quicConfig = &quic.Config{
	InitialStreamReceiveWindow:     8 << 20,
	MaxStreamReceiveWindow:         16 << 20,
	InitialConnectionReceiveWindow: 8 << 20,
	MaxConnectionReceiveWindow:     24 << 20,
}

func serve(conn *quic.Conn) {
	emit(map[string]any{
		"event": "connected", "group": conn.ConnectionState().TLS.CurveID.String(),
		"remote": conn.RemoteAddr().String(),
	})
	for {
		stream, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go func() {
			hash := sha256.New()
			buffer := make([]byte, 64<<10)
			total := 0
			var begin time.Time
			var echo []byte
			mode := make([]byte, 1) // first byte: 'e' echo, 's' sink
			if _, err := io.ReadFull(stream, mode); err != nil {
				return
			}
			begin = time.Now()
			for {
				n, err := stream.Read(buffer)
				total += n
				hash.Write(buffer[:n])
				if mode[0] == 'e' {
					echo = append(echo, buffer[:n]...)
				}
				if err == io.EOF {
					break
				}
				if err != nil {
					emit(map[string]any{"event": "echo-failed", "error": err.Error()})
					return
				}
			}
			seconds := time.Since(begin).Seconds()
			sum := hex.EncodeToString(hash.Sum(nil))
			if mode[0] == 'e' {
				_, _ = stream.Write(echo)
			} else {
				_, _ = stream.Write([]byte(sum))
			}
			_ = stream.Close()
			emit(map[string]any{"event": "echo", "bytes": total, "sha256": sum, "seconds": seconds})
		}()
	}
}

func listen(groups string) {
	config, id := configure(groups)
	listener, err := quic.ListenAddr("127.0.0.1:0", config, quicConfig)
	if err != nil {
		fail("listen", err)
	}
	emit(map[string]any{
		"event": "listening", "address": listener.Addr().String(), "peer_id": id.String(),
	})
	go func() {
		for {
			conn, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// open dials with connection ids of cidBytes; 0 means empty ones, quic-go's default for a socket
// that serves one connection.
func open(ctx context.Context, address string, config *tls.Config, cidBytes int) (*quic.Conn, error) {
	if cidBytes == 0 {
		return quic.DialAddr(ctx, address, config, quicConfig)
	}
	remote, err := net.ResolveUDPAddr("udp4", address)
	if err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	transport := &quic.Transport{Conn: socket, ConnectionIDLength: cidBytes}
	return transport.Dial(ctx, remote, config, quicConfig)
}

func dial(address, groups string, size int, sendOnly bool, cidBytes int) {
	config, _ := configure(groups)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	conn, err := open(ctx, address, config, cidBytes)
	if err != nil {
		fail("connect", err)
	}
	emit(map[string]any{
		"event": "connected", "group": conn.ConnectionState().TLS.CurveID.String(),
	})
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		fail("stream", err)
	}
	sent := make([]byte, size)
	_, _ = rand.Read(sent)
	begin := time.Now()
	go func() {
		mode := []byte{'e'}
		if sendOnly {
			mode[0] = 's'
		}
		_, _ = stream.Write(mode)
		_, _ = stream.Write(sent)
		_ = stream.Close()
	}()
	received, err := io.ReadAll(stream)
	if err != nil {
		fail("echo", err)
	}
	seconds := time.Since(begin).Seconds()
	sentSum := sha256.Sum256(sent)
	receivedSum := sha256.Sum256(received)
	if sendOnly {
		emit(map[string]any{
			"event": "sent", "bytes": size, "seconds": seconds,
			"sent_sha256": hex.EncodeToString(sentSum[:]), "sha256": string(received),
		})
		return
	}
	emit(map[string]any{
		"event": "echo", "bytes": len(received), "seconds": seconds,
		"sent_sha256": hex.EncodeToString(sentSum[:]),
		"sha256":      hex.EncodeToString(receivedSum[:]),
	})
	_ = conn.CloseWithError(0, "")
}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "listen":
		listen(os.Args[2])
	case len(os.Args) >= 4 && os.Args[1] == "dial":
		size := 1 << 20
		if len(os.Args) > 4 {
			size, _ = strconv.Atoi(os.Args[4])
		}
		cidBytes := 0
		if len(os.Args) > 6 {
			cidBytes, _ = strconv.Atoi(os.Args[6])
		}
		dial(os.Args[2], os.Args[3], size, len(os.Args) > 5 && os.Args[5] == "send", cidBytes)
	default:
		fmt.Fprintln(os.Stderr, "usage: quic-peer listen GROUPS | dial HOST:PORT GROUPS [BYTES [echo|send [CID_BYTES]]]")
		os.Exit(2)
	}
}
