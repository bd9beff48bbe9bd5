// Cosignatures of witnesses (C2SP tlog-cosignature, cosignature/v1) behind the interfaces of Go's note package, and the
// witnesses, groups and quorum of a policy (C2SP tlog-policy).
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"sort"
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

// cosign prints the line of a cosignature, and on stderr nothing: what a witness answers. With no time, its key.
func cosign(name, seed, time string, text string) error {
	raw, err := hex.DecodeString(seed)
	if err != nil || len(raw) != ed25519.SeedSize {
		return fmt.Errorf("a seed has 64 hex digits")
	}
	w := &witness{name: name, secret: ed25519.NewKeyFromSeed(raw)}
	w.public = w.secret.Public().(ed25519.PublicKey)
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

// group is a name of a policy: a witness has no members.
type group struct {
	threshold int
	members   []string
}

// quorum reads a policy's log, witnesses, groups and quorum, and a checkpoint; it prints who cosigned, and when.
func quorum(policy, checkpoint []byte) error {
	groups := map[string]group{}
	named := map[string]*witness{}
	verifiers := []note.Verifier{}
	wanted := ""
	for _, line := range lines(policy) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		switch words[0] {
		case "log":
			verifier, err := note.NewVerifier(words[1])
			if err != nil {
				return err
			}
			verifiers = append(verifiers, verifier)
		case "witness":
			w, err := parseWitness(words[2])
			if err != nil {
				return err
			}
			named[words[1]] = w
			verifiers = append(verifiers, w)
		case "group":
			threshold, err := strconv.Atoi(strings.NewReplacer("all", strconv.Itoa(len(words)-3), "any", "1").Replace(words[2]))
			if err != nil {
				return err
			}
			groups[words[1]] = group{threshold, words[3:]}
		case "quorum":
			wanted = words[1]
		}
	}
	logs := len(verifiers) - len(named)
	opened, err := note.Open(checkpoint, note.VerifierList(verifiers...))
	if err != nil {
		return err
	}
	times := map[string]uint64{}
	signedByLog := false
	for _, signature := range opened.Sigs {
		known := false
		for name, w := range named {
			if w.name == signature.Name && w.KeyHash() == signature.Hash {
				raw, err := base64.StdEncoding.DecodeString(signature.Base64)
				if err != nil {
					return err
				}
				times[name], known = binary.BigEndian.Uint64(raw[4:]), true
			}
		}
		signedByLog = signedByLog || !known
	}
	if logs == 0 || !signedByLog {
		return fmt.Errorf("the log did not sign")
	}
	if !met(wanted, groups, times) {
		return fmt.Errorf("the quorum is not met: %d cosigned", len(times))
	}
	var told []string
	for name, time := range times {
		told = append(told, fmt.Sprintf("%s %d", name, time))
	}
	sort.Strings(told)
	fmt.Println(strings.Join(told, "\n"))
	return nil
}

func met(name string, groups map[string]group, times map[string]uint64) bool {
	_, cosigned := times[name]
	if name == "none" || cosigned {
		return true
	}
	count := 0
	for _, member := range groups[name].members {
		if met(member, groups, times) {
			count++
		}
	}
	return groups[name].threshold > 0 && count >= groups[name].threshold
}
