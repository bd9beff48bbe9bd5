// Reads and writes logs with the Go checksum database's own libraries (golang.org/x/mod/sumdb: note, tlog), which share
// no code with ours. Built by tests/independent/golang.py with Debian's golang-go and golang-golang-x-mod-dev.
//
//	key NAME                     a new key: its secret line, then its public line
//	note SKEY < TEXT             the text as a signed note
//	check FOLDER VKEY            all of a log: signature, tiles, every entry
//	prove FOLDER VKEY INDEX      a .tlog-proof of one entry
//	proof VKEY ENTRY < PROOF     check a .tlog-proof of the entry in that file
//	prove-tree FOLDER VKEY OLD   the consistency proof from OLD entries on, a hash a line
//	tree OLD ROOT NEW ROOT < PROOF   check such a proof
//	write FOLDER SKEY < ENTRIES  a log with these entries, each in base64 on a line
//	receipt [POLICY] < FILE      check a person's receipt, and print what it says of them (receipt.go)
//	quorum POLICY < CHECKPOINT   who of a policy's witnesses cosigned, and when, if they are enough (cosignature.go)
//	cosign NAME SEED TIME < CHECKPOINT   the line of a cosignature; `key` in the place of a time: the witness's key
//	witness NAME SEED VKEY       be a witness of that log until the input ends; prints its key and URL (witness.go)
//	submit FOLDER VKEY URL OLD   ask a witness to cosign a log that grew from OLD entries on; prints what it answers
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func main() {
	arguments := os.Args[1:]
	var err error
	switch arguments[0] {
	case "key":
		err = key(arguments[1])
	case "note":
		err = signNote(arguments[1], read(os.Stdin))
	case "check":
		err = check(arguments[1], arguments[2])
	case "prove":
		err = prove(arguments[1], arguments[2], number(arguments[3]))
	case "proof":
		err = checkProof(arguments[1], readFile(arguments[2]), read(os.Stdin))
	case "prove-tree":
		err = proveTree(arguments[1], arguments[2], number(arguments[3]))
	case "tree":
		old, now := number(arguments[1]), number(arguments[3])
		err = tlog.CheckTree(hashes(lines(read(os.Stdin))), now, hash(arguments[4]), old, hash(arguments[2]))
	case "write":
		err = write(arguments[1], arguments[2], lines(read(os.Stdin)))
	case "receipt":
		var trust *policy
		if len(arguments) > 1 {
			trust, err = readPolicy(readFile(arguments[1]))
			must(err)
		}
		err = receipt(read(os.Stdin), trust)
	case "quorum":
		err = quorum(readFile(arguments[1]), read(os.Stdin))
	case "cosign":
		err = cosign(arguments[1], arguments[2], arguments[3], string(read(os.Stdin)))
	case "witness":
		err = witnessOf(arguments[1], arguments[2], arguments[3])
	case "submit":
		err = submit(arguments[1], arguments[2], arguments[3], number(arguments[4]))
	default:
		err = fmt.Errorf("unknown command %s", arguments[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func key(name string) error {
	secret, public, err := note.GenerateKey(rand.Reader, name)
	fmt.Println(secret)
	fmt.Println(public)
	return err
}

func signNote(secret string, text []byte) error {
	signer, err := note.NewSigner(secret)
	if err != nil {
		return err
	}
	signed, err := note.Sign(&note.Note{Text: string(text)}, signer)
	os.Stdout.Write(signed)
	return err
}

// head opens a checkpoint: three lines in a note that the key signed (C2SP tlog-checkpoint).
func head(signed []byte, public string) (origin string, tree tlog.Tree, err error) {
	verifier, err := note.NewVerifier(public)
	if err != nil {
		return
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return
	}
	parts := strings.Split(opened.Text, "\n")
	if len(parts) != 4 || parts[3] != "" {
		err = fmt.Errorf("the checkpoint has %d lines", len(parts)-1)
		return
	}
	return parts[0], tlog.Tree{N: number(parts[1]), Hash: hash(parts[2])}, nil
}

// folder reads tiles below a log's folder by the paths of C2SP tlog-tiles.
type folder string

func (f folder) Height() int                         { return height }
func (f folder) SaveTiles(_ []tlog.Tile, _ [][]byte) {}

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(string(f), path(tile)))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

// path is the one of the checksum database without its height: tile/8/0/000 is tile/0/000 here.
func path(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
}

func open(log, public string) (string, tlog.Tree, tlog.HashReader, error) {
	origin, tree, err := head(readFile(filepath.Join(log, "checkpoint")), public)
	return origin, tree, tlog.TileHashReader(tree, folder(log)), err
}

func check(log, public string) error {
	origin, tree, reader, err := open(log, public)
	if err != nil {
		return err
	}
	for start := int64(0); start < tree.N; start += 256 {
		width := tree.N - start
		if width > 256 {
			width = 256
		}
		entries, err := readEntries(log, start/256, int(width))
		if err != nil {
			return err
		}
		var wanted []int64
		for i := range entries {
			wanted = append(wanted, tlog.StoredHashIndex(0, start+int64(i)))
		}
		have, err := reader.ReadHashes(wanted) // each tile is held against the signed root on the way
		if err != nil {
			return err
		}
		for i, entry := range entries {
			if tlog.RecordHash(entry) != have[i] {
				return fmt.Errorf("entry %d is not the one of its tile", start+int64(i))
			}
		}
	}
	root, err := tlog.TreeHash(tree.N, reader)
	if err != nil || root != tree.Hash {
		return fmt.Errorf("the root is another: %v", err)
	}
	fmt.Println(origin, tree.N, tree.Hash)
	return nil
}

// readEntries reads one bundle: each entry behind its length, a big-endian uint16 (C2SP tlog-tiles, "Log entries").
func readEntries(log string, index int64, width int) ([][]byte, error) {
	tile := tlog.Tile{H: height, L: -1, N: index, W: width}
	name := strings.Replace(path(tile), "tile/data/", "tile/entries/", 1)
	data, err := os.ReadFile(filepath.Join(log, name))
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("%s is cut off", name)
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		entries = append(entries, data[2:end])
		data = data[end:]
	}
	if len(entries) != width {
		return nil, fmt.Errorf("%s holds %d entries", name, len(entries))
	}
	return entries, nil
}

func prove(log, public string, index int64) error {
	_, tree, reader, err := open(log, public)
	if err != nil {
		return err
	}
	path, err := tlog.ProveRecord(tree.N, index, reader)
	if err != nil {
		return err
	}
	fmt.Printf("c2sp.org/tlog-proof@v1\nindex %d\n", index)
	for _, node := range path {
		fmt.Println(node)
	}
	fmt.Println()
	os.Stdout.Write(readFile(filepath.Join(log, "checkpoint")))
	return nil
}

func checkProof(public string, entry, proof []byte) error {
	place := bytes.Index(proof, []byte("\n\n"))
	if place < 0 {
		return fmt.Errorf("no empty line")
	}
	parts := lines(proof[:place+1])
	if len(parts) < 2 || parts[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(parts[1], "index ") {
		return fmt.Errorf("not a proof")
	}
	_, tree, err := head(proof[place+2:], public)
	if err != nil {
		return err
	}
	index := number(strings.TrimPrefix(parts[1], "index "))
	return tlog.CheckRecord(tlog.RecordProof(hashes(parts[2:])), tree.N, tree.Hash, index, tlog.RecordHash(entry))
}

func proveTree(log, public string, old int64) error {
	_, tree, reader, err := open(log, public)
	if err != nil {
		return err
	}
	path, err := tlog.ProveTree(tree.N, old, reader)
	for _, node := range path {
		fmt.Println(node)
	}
	return err
}

func write(log, secret string, encoded []string) error {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, index := range indexes {
			found = append(found, stored[index])
		}
		return found, nil
	})
	var bundle []byte
	for i, line := range encoded {
		entry, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return err
		}
		more, err := tlog.StoredHashes(int64(i), entry, reader)
		if err != nil {
			return err
		}
		stored = append(stored, more...)
		bundle = append(binary.BigEndian.AppendUint16(bundle, uint16(len(entry))), entry...)
		if (i+1)%256 == 0 || i+1 == len(encoded) {
			tile := tlog.Tile{H: height, L: -1, N: int64(i / 256), W: i%256 + 1}
			put(log, strings.Replace(path(tile), "tile/data/", "tile/entries/", 1), bundle)
			bundle = nil
		}
	}
	size := int64(len(encoded))
	for _, tile := range tlog.NewTiles(height, 0, size) {
		data, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			return err
		}
		put(log, path(tile), data)
	}
	root, err := tlog.TreeHash(size, reader)
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", signer.Name(), size, root)
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	put(log, "checkpoint", signed)
	return err
}

func put(log, name string, data []byte) {
	target := filepath.Join(log, name)
	must(os.MkdirAll(filepath.Dir(target), 0o755))
	must(os.WriteFile(target, data, 0o644))
}

func hashes(texts []string) []tlog.Hash {
	var found []tlog.Hash
	for _, text := range texts {
		found = append(found, hash(text))
	}
	return found
}

func hash(text string) tlog.Hash {
	found, err := tlog.ParseHash(text)
	must(err)
	return found
}

func number(text string) int64 {
	found, err := strconv.ParseInt(text, 10, 64)
	must(err)
	return found
}

func lines(data []byte) []string {
	var found []string
	scanner := bufio.NewScanner(bytes.NewReader(data))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		found = append(found, scanner.Text())
	}
	return found
}

func read(source io.Reader) []byte {
	data, err := io.ReadAll(source)
	must(err)
	return data
}

func readFile(name string) []byte {
	data, err := os.ReadFile(name)
	must(err)
	return data
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
