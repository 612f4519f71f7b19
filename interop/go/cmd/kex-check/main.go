// Command kex-check recomputes vectors/libp2p/hybrid_kex.json with Go's own X25519 and ML-KEM and an
// unrelated BLAKE3: the independent check of our hybrid key exchange vectors.
//
//	kex-check FILE
package main

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"lukechampine.com/blake3"
)

type vectors struct {
	Label string              `json:"label"`
	Cases []map[string]string `json:"cases"`
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: kex-check FILE")
		os.Exit(2)
	}
	var file vectors
	if err := json.Unmarshal(must(os.ReadFile(os.Args[1])), &file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for index, test := range file.Cases {
		field := func(name string) []byte { return must(hex.DecodeString(test[name])) }
		check := func(name string, got []byte) {
			if !bytes.Equal(got, field(name)) {
				fmt.Printf("case %d: %s differs: %x\n", index, name, got)
				os.Exit(1)
			}
		}
		client := must(ecdh.X25519().NewPrivateKey(field("client_x25519_secret")))
		server := must(ecdh.X25519().NewPrivateKey(field("server_x25519_secret")))
		key := must(mlkem.NewDecapsulationKey768(field("mlkem_seed")))
		ek := key.EncapsulationKey().Bytes()
		serverShare := field("group_server_share")
		ciphertext := serverShare[:mlkem.CiphertextSize768]
		classical := must(client.ECDH(server.PublicKey()))
		pq := must(key.Decapsulate(ciphertext))

		check("group_client_share", append(append([]byte{}, ek...), client.PublicKey().Bytes()...))
		check("group_server_share", append(append([]byte{}, ciphertext...), server.PublicKey().Bytes()...))
		check("group_secret", append(append([]byte{}, pq...), classical...))
		check("private_client_body", append([]byte{1, 0x04, 0xa0}, ek...))
		check("private_server_body", append([]byte{1, 0x04, 0x40}, ciphertext...))

		combinerKey := make([]byte, 32)
		blake3.DeriveKey(combinerKey, file.Label, nil)
		hash := blake3.New(32, combinerKey)
		for _, part := range [][]byte{
			classical, pq, client.PublicKey().Bytes(), server.PublicKey().Bytes(), ek, ciphertext,
		} {
			hash.Write(part)
		}
		check("private_secret", hash.Sum(nil))
	}
	fmt.Printf("%d cases agree\n", len(file.Cases))
}
