// The quic-go side of the bulk benchmark: one stream, memory to memory, one process a side.
//
//	quicgo-bulk recv [DATAGRAM]            prints {"port":N}, takes one stream, prints what it measured
//	quicgo-bulk send PORT MIB DATAGRAM     sends MIB mebibytes, prints its CPU time
//
// Times are from the first to the last application byte at the receiver. Socket buffers are 8 MiB, as
// all peers have them. The sender repeats the file that BULK_BLOCK names; the receiver compares every
// byte with it.
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
)

func cpuSeconds() float64 {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Sec) + float64(usage.Utime.Usec)*1e-6 +
		float64(usage.Stime.Sec) + float64(usage.Stime.Usec)*1e-6
}

// The address of the receiver: BULK_HOST, else loopback.
func host() string {
	if text := os.Getenv("BULK_HOST"); text != "" {
		return text
	}
	return "127.0.0.1"
}

const bufferBytes = 8 << 20

// A socket with the buffers that every peer gets, beyond the system's limit where allowed.
func transport(address string) *quic.Transport {
	bound, err := net.ResolveUDPAddr("udp4", address)
	check(err)
	socket, err := net.ListenUDP("udp4", bound)
	check(err)
	raw, err := socket.SyscallConn()
	check(err)
	check(raw.Control(func(fd uintptr) {
		for _, option := range [][2]int{{33, syscall.SO_RCVBUF}, {32, syscall.SO_SNDBUF}} { // SO_*BUFFORCE
			if syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, option[0], bufferBytes) != nil {
				_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, option[1], bufferBytes)
			}
		}
	}))
	return &quic.Transport{Conn: socket}
}

// What the sender repeats and the receiver expects.
func block() []byte {
	content, err := os.ReadFile(os.Getenv("BULK_BLOCK"))
	check(err)
	return content
}

// Whether chunk is what stands at offset of the endless repetition of block.
func isExpected(block []byte, offset int, chunk []byte) bool {
	at := offset % len(block)
	for len(chunk) > 0 {
		n := min(len(chunk), len(block)-at)
		if !bytes.Equal(chunk[:n], block[at:at+n]) {
			return false
		}
		chunk, at = chunk[n:], 0
	}
	return true
}

func config(datagram int) *quic.Config {
	return &quic.Config{
		InitialPacketSize:              uint16(datagram),
		DisablePathMTUDiscovery:        true,
		InitialStreamReceiveWindow:     16 << 20,
		MaxStreamReceiveWindow:         16 << 20,
		InitialConnectionReceiveWindow: 24 << 20,
		MaxConnectionReceiveWindow:     24 << 20,
	}
}

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func receive(datagram int) {
	expected := block()
	listener, err := transport(host() + ":0").Listen(&tls.Config{
		Certificates: []tls.Certificate{certificate()}, NextProtos: []string{"bulk"},
	}, config(datagram))
	check(err)
	_, port, _ := cut(listener.Addr().String())
	fmt.Printf("{\"port\":%s}\n", port)
	connection, err := listener.Accept(context.Background())
	check(err)
	stream, err := connection.AcceptUniStream(context.Background())
	check(err)
	buffer := make([]byte, 1<<20)
	var start time.Time
	total, equal := 0, true
	cpu := cpuSeconds()
	for {
		n, err := stream.Read(buffer)
		if n > 0 && start.IsZero() {
			start = time.Now()
		}
		equal = equal && isExpected(expected, total, buffer[:n])
		total += n
		if err == io.EOF {
			break
		}
		check(err)
	}
	fmt.Printf("{\"bytes\":%d,\"equal\":%t,\"seconds\":%.6f,\"cpu_s\":%.4f}\n",
		total, equal, time.Since(start).Seconds(), cpuSeconds()-cpu)
	_ = connection.CloseWithError(0, "")
	time.Sleep(50 * time.Millisecond)
}

func cut(address string) (string, string, bool) {
	for i := len(address) - 1; i >= 0; i-- {
		if address[i] == ':' {
			return address[:i], address[i+1:], true
		}
	}
	return address, "", false
}

func send(port string, mib, datagram int) {
	content := block()
	target, err := net.ResolveUDPAddr("udp4", host()+":"+port)
	check(err)
	connection, err := transport("0.0.0.0:0").Dial(context.Background(), target, &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{"bulk"},
	}, config(datagram))
	check(err)
	stream, err := connection.OpenUniStream()
	check(err)
	cpu := cpuSeconds()
	for left := mib << 20; left > 0; {
		n := min(left, len(content))
		_, err := stream.Write(content[:n])
		check(err)
		left -= n
	}
	check(stream.Close())
	<-connection.Context().Done()
	fmt.Printf("{\"cpu_s\":%.4f}\n", cpuSeconds()-cpu)
}

func number(i, fallback int) int {
	if len(os.Args) > i {
		if n, err := strconv.Atoi(os.Args[i]); err == nil {
			return n
		}
	}
	return fallback
}

func main() {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "recv":
		receive(number(2, 1400))
	case len(os.Args) > 2 && os.Args[1] == "send":
		send(os.Args[2], number(3, 256), number(4, 1400))
	default:
		fmt.Fprintln(os.Stderr, "usage: quicgo-bulk recv [DATAGRAM] | send PORT MIB DATAGRAM")
		os.Exit(2)
	}
}
