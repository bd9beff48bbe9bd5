// Checks receipts as docs/formats-receipts.md says, and shares no code with any other reader of them: file, extra data,
// statements and their places, commitment and leaf, and what the leaf says. Whose key it is says succession.go.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	receiptBytesMax = 67_108_864
	statementType   = "https://in-toto.io/Statement/v1"
	payloadType     = "application/vnd.in-toto+json"
	detachedOver    = 32_768
)

var (
	rows   = object{"*": object{"moved": "COUNT", "deleted": "COUNT", "blanked": "COUNT"}}
	person = object{"kind": "TEXT", "key": "STRING", "home": "TEXT", "rows": rows}
	placed = object{"envelope": "BASE64", "detached": "BASE64 or null", "index": "COUNT", "path": []any{"HEX"}}
	extra  = object{
		"format": "TEXT", "log": "TEXT", "person": person, "nonce": "HEX",
		"leaf":        object{"index": "COUNT", "path": []any{"HEX"}},
		"receipts":    object{"envelope": "BASE64", "detached": "BASE64 or null"},
		"certificate": placed,
	}
	envelope = object{
		"payload": "BASE64", "payloadType": "TEXT", "signatures": []any{object{"keyid": "TEXT", "sig": "BASE64"}},
	}
	statement = object{
		"_type": "TEXT", "predicateType": "TEXT", "predicate": "ANY",
		"subject": []any{object{"name": "TEXT", "digest": object{"sha256": "HEX"}}},
	}
	predicates = map[string]object{
		"receipts/v1": {
			"plan": "HEX", "clearance": "HEX", "cohort": "COUNT", "part": "COUNT", "home_since": "TIME",
			"counted_at": "TIME", "root": "HEX",
			"homes": object{"*": object{"country": "TEXT", "operator": "TEXT", "subjects": "COUNT"}},
		},
		"certificate/v1": {
			"plan": "HEX", "verdict": "TEXT", "not_proven": []any{"TEXT"}, "issued_at": "TIME",
			"copies": []any{object{"id": "TEXT", "verdict": "TEXT", "why": "TEXT", "until": "TIME or null"}},
			"counts": object{"*": object{"*": object{"moved": "COUNT", "deleted": "COUNT", "blanked": "COUNT", "kept": "COUNT"}}},
		},
		"key/v1": {
			"plan": "HEX", "what": "TEXT", "approver": "TEXT or null", "key": "TEXT", "new": "TEXT or null", "since": "TIME",
			"stands": "COUNT", "root": "HEX", "why": "TEXT",
		},
	}
	place = regexp.MustCompile(`^(0|[1-9][0-9]{0,12})$`)
)

// reading is a receipt as far as it was read.
type reading struct {
	index int64
	path  tlog.RecordProof
	extra object
	tree  tlog.Tree
	keys  []ofLog
}

func receipt(data []byte, trust *policy) error {
	found, checkpoint, err := readFileOfReceipt(data)
	if err != nil {
		return fmt.Errorf("check 1: %v", err)
	}
	public := found.extra["log"].(string)
	verifier, err := verifierOf(public)
	if err != nil {
		return fmt.Errorf("check 2: %v", err)
	}
	if err := found.readHead(checkpoint, verifier, trust); err != nil {
		return fmt.Errorf("check 3: %v", err)
	}
	if err := found.trusted(trust); err != nil {
		return fmt.Errorf("check 4: %v", err)
	}
	stated, err := found.ofLog("receipts/v1", found.extra["receipts"].(object), found.index, found.path)
	if err != nil {
		return fmt.Errorf("check 5: %v", err)
	}
	last := found.extra["certificate"].(object)
	certified, err := found.ofLog("certificate/v1", last, count(last["index"]), unhexed(last["path"]))
	if err != nil || count(last["index"]) != found.tree.N-1 {
		return fmt.Errorf("check 6: not the last word: %v", err)
	}
	if err := found.onePlan(stated, certified); err != nil {
		return fmt.Errorf("check 7: %v", err)
	}
	if err := found.leaf(stated); err != nil {
		return fmt.Errorf("check 8: %v", err)
	}
	if err := sane(found.extra["person"].(object), stated, certified); err != nil {
		return fmt.Errorf("check 9: %v", err)
	}
	fmt.Print(string(spell(nil, found.extra["person"])))
	return nil
}

// readFileOfReceipt makes check 1.
func readFileOfReceipt(data []byte) (*reading, []byte, error) {
	gap := bytes.Index(data, []byte("\n\n"))
	if gap < 0 || len(data) > receiptBytesMax {
		return nil, nil, fmt.Errorf("no empty line, or too long")
	}
	parts := strings.Split(string(data[:gap]), "\n")
	if len(parts) < 3 || len(parts) > 3+63 || parts[0] != "c2sp.org/tlog-proof@v1" {
		return nil, nil, fmt.Errorf("not a proof with extra data")
	}
	if !strings.HasPrefix(parts[1], "extra ") || !strings.HasPrefix(parts[2], "index ") {
		return nil, nil, fmt.Errorf("not a proof with extra data")
	}
	raw, err := fromBase64(parts[1][len("extra "):])
	if err != nil {
		return nil, nil, err
	}
	value, err := oneSpelling(raw)
	if err != nil {
		return nil, nil, err
	}
	found := &reading{}
	found.extra, _ = value.(object)
	shape := object{}
	for key, word := range extra {
		shape[key] = word
	}
	wanted := "urn:domicile:receipt/v1"
	if _, changed := found.extra["keys"]; changed {
		shape["keys"], wanted = []any{placed}, "urn:domicile:receipt/v2"
	}
	if !fits(value, shape) || found.extra["format"] != wanted {
		return nil, nil, fmt.Errorf("the extra data has another shape")
	}
	index := parts[2][len("index "):]
	if !place.MatchString(index) {
		return nil, nil, fmt.Errorf("%s is no index", index)
	}
	if found.index, err = strconv.ParseInt(index, 10, 64); err != nil {
		return nil, nil, err
	}
	for _, line := range parts[3:] {
		raw, err := fromBase64(line)
		if err != nil || len(raw) != tlog.HashSize {
			return nil, nil, fmt.Errorf("%s is no hash", line)
		}
		var node tlog.Hash
		copy(node[:], raw)
		found.path = append(found.path, node)
	}
	return found, data[gap+2:], nil
}

// readHead makes check 3, by Go's note package: signed by the log, and with a policy by its quorum.
func (r *reading) readHead(checkpoint []byte, log note.Verifier, trust *policy) error {
	origin, tree, err := head(checkpoint, r.extra["log"].(string))
	if err != nil || origin != log.Name() {
		return fmt.Errorf("the checkpoint is not of this log: %v", err)
	}
	r.tree = tree
	for i, line := range signatureLines(checkpoint) {
		words := strings.Split(line, " ")
		raw, err := fromBase64(words[len(words)-1])
		own := err == nil && words[1] == origin && binary.BigEndian.Uint32(raw) == log.KeyHash()
		if err != nil || i > 63 || own != (i == 0) {
			return fmt.Errorf("signature line %d has no place here: %v", i, err)
		}
	}
	if trust != nil {
		_, err = trust.cosigned(checkpoint, log)
	}
	return err
}

// signatureLines are those of a note that Go's package has read.
func signatureLines(checkpoint []byte) []string {
	return lines(checkpoint[bytes.Index(checkpoint, []byte("\n\n"))+2:])
}

// verifierOf reads a key, and refuses one of small order.
func verifierOf(line string) (note.Verifier, error) {
	verifier, err := note.NewVerifier(line)
	if err != nil {
		return nil, err
	}
	if smallOrder[hex.EncodeToString(withoutSign(publicOf(line)))] {
		return nil, fmt.Errorf("a key of small order")
	}
	return verifier, nil
}

func publicOf(line string) []byte {
	raw, err := fromBase64(strings.SplitN(line, "+", 3)[2])
	must(err)
	return raw[1:]
}

func withoutSign(public []byte) []byte {
	plain := append([]byte{}, public...)
	plain[len(plain)-1] &= 0x7f
	return plain
}

var smallOrder = map[string]bool{
	"0000000000000000000000000000000000000000000000000000000000000000": true,
	"0100000000000000000000000000000000000000000000000000000000000000": true,
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05": true,
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a": true,
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": true,
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": true,
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": true,
}

// onePlan makes check 7.
func (r *reading) onePlan(stated, certified object) error {
	plans := map[any]bool{stated["plan"]: true, certified["plan"]: true}
	changes, _ := r.changes()
	for _, change := range changes {
		for _, vote := range change {
			plans[vote.said["plan"]] = true
		}
	}
	if len(plans) != 1 {
		return fmt.Errorf("%d plans", len(plans))
	}
	return nil
}

// ofLog is a statement of the log's own, at its place and signed by the key that was in force there.
func (r *reading) ofLog(kind string, of object, index int64, path tlog.RecordProof) (object, error) {
	signed, said, err := r.opened(kind, of, index, path)
	if err != nil {
		return nil, err
	}
	return said, signed.by(r.inForce(index))
}

// signed is what an envelope's signature is over, and whose it says to be.
type signed struct {
	message, signature []byte
	keyid              string
}

func (s *signed) by(public string) error {
	if !strings.HasPrefix(public, s.keyid+"+") || !ed25519.Verify(publicOf(public), s.message, s.signature) {
		return fmt.Errorf("not signed by %s", public)
	}
	return nil
}

// opened reads an envelope in its one spelling, at its place in the log.
func (r *reading) opened(kind string, of object, index int64, path tlog.RecordProof) (*signed, object, error) {
	raw, err := fromBase64(of["envelope"].(string))
	if err != nil {
		return nil, nil, err
	}
	if err := tlog.CheckRecord(path, r.tree.N, r.tree.Hash, index, tlog.RecordHash(raw)); err != nil {
		return nil, nil, err
	}
	value, err := oneSpelling(raw)
	if err != nil || !fits(value, envelope) {
		return nil, nil, fmt.Errorf("not an envelope: %v", err)
	}
	outer := value.(object)
	signatures := outer["signatures"].([]any)
	if outer["payloadType"] != payloadType || len(signatures) != 1 {
		return nil, nil, fmt.Errorf("not an envelope of one signature")
	}
	payload, err := fromBase64(outer["payload"].(string))
	if err != nil {
		return nil, nil, err
	}
	signature, err := fromBase64(signatures[0].(object)["sig"].(string))
	if err != nil {
		return nil, nil, err
	}
	message := []byte(fmt.Sprintf("DSSEv1 %d %s %d ", len(payloadType), payloadType, len(payload)))
	found := &signed{append(message, payload...), signature, signatures[0].(object)["keyid"].(string)}
	said, err := predicateOf(kind, payload, of["detached"])
	return found, said, err
}

// predicateOf reads a statement of that kind about its plan, and its predicate, which may lie beside it.
func predicateOf(kind string, payload []byte, detached any) (object, error) {
	value, err := oneSpelling(payload)
	if err != nil || !fits(value, statement) {
		return nil, fmt.Errorf("not a statement: %v", err)
	}
	said := value.(object)
	subjects := said["subject"].([]any)
	if said["_type"] != statementType || said["predicateType"] != "urn:domicile:"+kind || len(subjects) != 1 {
		return nil, fmt.Errorf("not a statement of type %s", kind)
	}
	predicate := said["predicate"]
	if detached != nil {
		raw, err := fromBase64(detached.(string))
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(raw)
		wanted := object{"detached": object{"sha256": hex.EncodeToString(sum[:]), "bytes": json.Number(strconv.Itoa(len(raw)))}}
		if len(raw) <= detachedOver || !bytes.Equal(spell(nil, wanted), spell(nil, predicate)) {
			return nil, fmt.Errorf("another predicate than the one that was detached")
		}
		if predicate, err = oneSpelling(raw); err != nil {
			return nil, err
		}
	}
	if !fits(predicate, predicates[kind]) {
		return nil, fmt.Errorf("a predicate of another shape than %s", kind)
	}
	subject := subjects[0].(object)
	if subject["name"] != "plan.json" || subject["digest"].(object)["sha256"] != predicate.(object)["plan"] {
		return nil, fmt.Errorf("a statement about something else than its plan")
	}
	return predicate.(object), nil
}

// leaf makes check 8: the commitment is a leaf of as many as there are people.
func (r *reading) leaf(stated object) error {
	var people int64
	for _, home := range stated["homes"].(object) {
		people += count(home.(object)["subjects"])
	}
	nonce := unhex(r.extra["nonce"])
	opening := spell(nil, r.extra["person"])
	commitment := sha256.Sum256(append(append([]byte("domicile receipt v1\x00"), nonce[:]...), opening...))
	leaf := r.extra["leaf"].(object)
	return tlog.CheckRecord(
		unhexed(leaf["path"]), people, unhex(stated["root"]), count(leaf["index"]), tlog.RecordHash(commitment[:]),
	)
}

// sane makes check 9.
func sane(person, stated, certified object) error {
	home := person["home"].(string)
	if _, named := stated["homes"].(object)[home]; !named {
		return fmt.Errorf("%s is no home of the statement", home)
	}
	for name, of := range person["rows"].(object) {
		rows := of.(object)
		if count(rows["deleted"])+count(rows["blanked"]) > count(rows["moved"]) {
			return fmt.Errorf("more of %s is erased than went home", name)
		}
		homes, _ := certified["counts"].(object)[name].(object)
		all, counted := homes[home].(object)
		if !counted {
			all = object{"deleted": json.Number("0"), "blanked": json.Number("0")}
		}
		store := !strings.Contains(name, ".")
		if store && counted && count(rows["moved"]) > count(all["moved"]) {
			return fmt.Errorf("more of %s went home than of all people", name)
		}
		within := count(rows["deleted"]) <= count(all["deleted"]) && count(rows["blanked"]) <= count(all["blanked"])
		if !within && !leftStanding(name, store, certified) {
			return fmt.Errorf("more of %s is erased than of all people", name)
		}
	}
	return nil
}

// leftStanding says whether a copy admits that not everything of a dataset, or of a store, was erased.
func leftStanding(name string, store bool, certified object) bool {
	for _, one := range certified["copies"].([]any) {
		copy := one.(object)
		verdict := copy["verdict"].(string)
		if store && !strings.HasPrefix(copy["id"].(string), name+"/") {
			continue
		}
		if verdict == "present" || store && (verdict == "blocked-until" || verdict == "held") {
			return true
		}
	}
	return false
}
