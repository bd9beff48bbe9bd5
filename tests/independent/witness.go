// A witness and its client (C2SP tlog-witness), with Go's note and tlog packages: for tests only, since it keeps in
// memory what it saw.
package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func newWitness(name, seed string) (*witness, error) {
	raw, err := hex.DecodeString(seed)
	if err != nil || len(raw) != ed25519.SeedSize {
		return nil, fmt.Errorf("a seed has 64 hex digits")
	}
	secret := ed25519.NewKeyFromSeed(raw)
	return &witness{name: name, secret: secret, public: secret.Public().(ed25519.PublicKey)}, nil
}

// serving is a witness of one log, and the head that it cosigned last.
type serving struct {
	*witness
	log  string
	lock sync.Mutex
	last tlog.Tree
}

// witnessOf serves until its input ends; it prints the witness's key and where it is asked.
func witnessOf(name, seed, log string) error {
	w, err := newWitness(name, seed)
	if err != nil {
		return err
	}
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	service := &serving{witness: w, log: log}
	http.HandleFunc("/add-checkpoint", func(answer http.ResponseWriter, asked *http.Request) {
		status, body := service.add(read(asked.Body))
		if status == http.StatusConflict {
			answer.Header().Set("Content-Type", "text/x.tlog.size")
		}
		answer.WriteHeader(status)
		answer.Write(body)
	})
	go http.Serve(door, nil)
	fmt.Printf("%s http://%s\n", w.key(), door.Addr())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// add decides, in the order of the specification, and remembers before it signs.
func (s *serving) add(request []byte) (int, []byte) {
	gap := bytes.Index(request, []byte("\n\n"))
	if gap < 0 || !bytes.HasPrefix(request, []byte("old ")) {
		return http.StatusBadRequest, nil
	}
	given, checkpoint := strings.Split(string(request[len("old "):gap]), "\n"), request[gap+2:]
	if len(given) > 1+63 || !decimal.MatchString(given[0]) {
		return http.StatusBadRequest, nil
	}
	if origin, _, _ := strings.Cut(string(checkpoint), "\n"); !strings.HasPrefix(s.log, origin+"+") {
		return http.StatusNotFound, nil
	}
	_, tree, err := head(checkpoint, s.log)
	if err != nil {
		return http.StatusForbidden, nil
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	old := number(given[0])
	if old > tree.N {
		return http.StatusBadRequest, nil
	}
	if old != s.last.N || old == tree.N && old > 0 && tree.Hash != s.last.Hash {
		return http.StatusConflict, []byte(fmt.Sprintln(s.last.N))
	}
	if old == 0 && len(given) > 1 || old > 0 && tlog.CheckTree(hashes(given[1:]), tree.N, tree.Hash, old, s.last.Hash) != nil {
		return http.StatusUnprocessableEntity, nil
	}
	s.last, s.time = tree, uint64(time.Now().Unix())
	text := string(checkpoint[:bytes.Index(checkpoint, []byte("\n\n"))+1])
	signed, err := note.Sign(&note.Note{Text: text}, s.witness)
	if err != nil {
		return http.StatusInternalServerError, nil
	}
	return http.StatusOK, signed[len(text)+1:]
}

// submit has a witness cosign the head of a log, with a proof from its first so many entries on; it prints the status of
// the answer, and the answer.
func submit(log, public, url string, old int64) error {
	_, tree, reader, err := open(log, public)
	if err != nil {
		return err
	}
	body := fmt.Sprintf("old %d\n", old)
	if 0 < old && old < tree.N {
		path, err := tlog.ProveTree(tree.N, old, reader)
		if err != nil {
			return err
		}
		for _, node := range path {
			body += fmt.Sprintln(node)
		}
	}
	body += "\n" + string(readFile(filepath.Join(log, "checkpoint")))
	answer, err := http.Post(url+"/add-checkpoint", "text/plain", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	fmt.Printf("%d\n%s", answer.StatusCode, read(answer.Body))
	return nil
}
