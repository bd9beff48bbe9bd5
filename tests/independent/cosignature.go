// Cosignatures of witnesses (C2SP tlog-cosignature, cosignature/v1) behind the interfaces of Go's note package.
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

const cosignatureType = 0x04

// witness is a key that cosigns: a note.Verifier, and with its secret a note.Signer.
type witness struct {
	name   string
	public ed25519.PublicKey
	secret ed25519.PrivateKey
	time   uint64
}

func (w *witness) Name() string { return w.name }

func (w *witness) KeyHash() uint32 {
	sum := sha256.Sum256(append([]byte(w.name+"\n"), w.encoded()...))
	return binary.BigEndian.Uint32(sum[:])
}

func (w *witness) encoded() []byte { return append([]byte{cosignatureType}, w.public...) }

func (w *witness) key() string {
	return fmt.Sprintf("%s+%08x+%s", w.name, w.KeyHash(), base64.StdEncoding.EncodeToString(w.encoded()))
}

func message(time uint64, text []byte) []byte {
	return append([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n", time)), text...)
}

func (w *witness) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(signature)
	return time < 1<<63 && ed25519.Verify(w.public, message(time, text), signature[8:])
}

func (w *witness) Sign(text []byte) ([]byte, error) {
	stamped := binary.BigEndian.AppendUint64(nil, w.time)
	return append(stamped, ed25519.Sign(w.secret, message(w.time, text))...), nil
}

func parseWitness(line string) (*witness, error) {
	parts := strings.SplitN(line, "+", 3)
	if len(parts) != 3 {
		return nil, fmt.Errorf("%s is no key", line)
	}
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != cosignatureType {
		return nil, fmt.Errorf("%s is no key that cosigns", line)
	}
	w := &witness{name: parts[0], public: raw[1:]}
	if w.key() != line {
		return nil, fmt.Errorf("%s is not in its one spelling", line)
	}
	return w, nil
}

// cosign prints the line of a cosignature, as a witness answers; with `key` in the place of a time, the witness's key.
func cosign(name, seed, time string, text string) error {
	w, err := newWitness(name, seed)
	if err != nil {
		return err
	}
	if time == "key" {
		fmt.Println(w.key())
		return nil
	}
	w.time, err = strconv.ParseUint(time, 10, 64)
	if err != nil {
		return err
	}
	head := text[:strings.Index(text, "\n\n")+1]
	signed, err := note.Sign(&note.Note{Text: head}, w)
	os.Stdout.Write(signed[len(head)+1:])
	return err
}
