// Reads receipts as docs/formats-receipts.md says, and shares no code with any other reader of them: file, extra data,
// statements and their places, commitment and leaf, and what the leaf says. Whose key it is (check 4) it leaves open.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	extraBytesMax = 65_536
	countMax      = 9_007_199_254_740_991
	statementType = "https://in-toto.io/Statement/v1"
	payloadType   = "application/vnd.in-toto+json"
	detachedOver  = 32_768
)

type object = map[string]any

var (
	rows   = object{"*": object{"moved": "COUNT", "deleted": "COUNT", "blanked": "COUNT"}}
	person = object{"kind": "TEXT", "key": "TEXT", "home": "TEXT", "rows": rows}
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
	words = map[string]*regexp.Regexp{
		"HEX":  regexp.MustCompile(`^[0-9a-f]{64}$`),
		"TIME": regexp.MustCompile(`^[1-9][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z$`),
	}
	decimal = regexp.MustCompile(`^(0|[1-9][0-9]{0,18})$`)
)

// ----------------------------------------------------------------------------------------------------------- JSON
// oneSpelling reads JSON and refuses any other bytes than those of its one spelling.
func oneSpelling(data []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, fmt.Errorf("more behind the JSON")
	}
	if !bytes.Equal(spell(nil, value), data) {
		return nil, fmt.Errorf("JSON in another spelling")
	}
	return value, nil
}

func spell(to []byte, value any) []byte {
	switch value := value.(type) {
	case object:
		var keys []string
		for key := range value {
			keys = append(keys, key)
		}
		sort.Strings(keys) // bytes of UTF-8 sort as code points do
		to = append(to, '{')
		for i, key := range keys {
			if i > 0 {
				to = append(to, ',')
			}
			to = spell(append(spell(to, key), ':'), value[key])
		}
		return append(to, '}')
	case []any:
		to = append(to, '[')
		for i, item := range value {
			if i > 0 {
				to = append(to, ',')
			}
			to = spell(to, item)
		}
		return append(to, ']')
	case string:
		to = append(to, '"')
		for _, sign := range value {
			short := strings.IndexRune("\"\\\b\f\n\r\t", sign)
			switch {
			case short >= 0:
				to = append(to, '\\', `"\bfnrt`[short])
			case sign < ' ':
				to = append(to, fmt.Sprintf(`\u%04x`, sign)...)
			default:
				to = utf8.AppendRune(to, sign)
			}
		}
		return append(to, '"')
	case json.Number:
		return append(to, value...)
	case bool:
		return strconv.AppendBool(to, value)
	}
	return append(to, "null"...)
}

// fits says whether a value has a shape: an object's keys, a list's one kind of item, or a word.
func fits(value, shape any) bool {
	switch shape := shape.(type) {
	case object:
		value, right := value.(object)
		anyKey, free := shape["*"]
		if !right || !free && len(value) != len(shape) {
			return false
		}
		for key, item := range value {
			wanted, named := shape[key]
			if free {
				wanted, named = anyKey, fits(key, "TEXT")
			}
			if !named || !fits(item, wanted) {
				return false
			}
		}
		return true
	case []any:
		items, right := value.([]any)
		for _, item := range items {
			right = right && fits(item, shape[0])
		}
		return right
	case string:
		word, orNull := shape, strings.HasSuffix(shape, " or null")
		if orNull {
			if value == nil {
				return true
			}
			word = strings.TrimSuffix(shape, " or null")
		}
		return isWord(value, word)
	}
	return false
}

func isWord(value any, word string) bool {
	if word == "ANY" {
		return true
	}
	if word == "COUNT" {
		number, right := value.(json.Number)
		count, err := strconv.ParseInt(string(number), 10, 64)
		return right && decimal.MatchString(string(number)) && err == nil && count <= countMax
	}
	text, right := value.(string)
	if !right {
		return false
	}
	switch word {
	case "TEXT":
		for _, sign := range text {
			right = right && unicode.IsPrint(sign)
		}
		return right && utf8.RuneCountInString(text) <= 4_096
	case "BASE64":
		_, err := fromBase64(text)
		return err == nil
	}
	return words[word].MatchString(text)
}

// fromBase64 refuses another spelling than the one with padding and nothing between.
func fromBase64(text string) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err == nil && base64.StdEncoding.EncodeToString(raw) != text {
		err = fmt.Errorf("base64 in another spelling")
	}
	return raw, err
}

func count(value any) int64 {
	found, err := value.(json.Number).Int64()
	must(err)
	return found
}

func unhex(value any) (found tlog.Hash) {
	raw, err := hex.DecodeString(value.(string))
	must(err)
	copy(found[:], raw)
	return found
}

func unhexed(values any) tlog.RecordProof {
	var path tlog.RecordProof
	for _, value := range values.([]any) {
		path = append(path, unhex(value))
	}
	return path
}

// ---------------------------------------------------------------------------------------------------------- checks
// reading is a receipt as far as it was read.
type reading struct {
	index   int64
	path    tlog.RecordProof
	extra   object
	tree    tlog.Tree
	changes []change
	plan    string
}

// change is a word by which the log's own key changed hands.
type change struct {
	index    int64
	key, new string
}

func receipt(data []byte) error {
	found, checkpoint, err := readFileOfReceipt(data)
	if err != nil {
		return fmt.Errorf("1: %v", err)
	}
	public := found.extra["log"].(string)
	if _, err := verifierOf(public); err != nil {
		return fmt.Errorf("2: %v", err)
	}
	origin, tree, err := head(checkpoint, public)
	if err != nil || !strings.HasPrefix(public, origin+"+") {
		return fmt.Errorf("3: the checkpoint is not of this log: %v", err)
	}
	found.tree = tree
	if err := found.readChanges(); err != nil {
		return fmt.Errorf("4: %v", err)
	}
	of := found.extra["receipts"].(object)
	stated, err := found.stated("receipts/v1", object{
		"envelope": of["envelope"], "detached": of["detached"], "index": json.Number(strconv.FormatInt(found.index, 10)),
	}, found.path)
	if err != nil {
		return fmt.Errorf("5: %v", err)
	}
	last := found.extra["certificate"].(object)
	certified, err := found.stated("certificate/v1", last, unhexed(last["path"]))
	if err != nil || count(last["index"]) != tree.N-1 {
		return fmt.Errorf("6: not the last word: %v", err)
	}
	found.plan = stated["plan"].(string)
	if certified["plan"] != found.plan {
		return fmt.Errorf("7: two plans")
	}
	if err := found.samePlan(); err != nil {
		return fmt.Errorf("7: %v", err)
	}
	if err := found.leaf(stated); err != nil {
		return fmt.Errorf("8: %v", err)
	}
	if err := sane(found.extra["person"].(object), stated, certified); err != nil {
		return fmt.Errorf("9: %v", err)
	}
	fmt.Print(string(spell(nil, found.extra["person"])))
	return nil
}

// readFileOfReceipt makes check 1.
func readFileOfReceipt(data []byte) (*reading, []byte, error) {
	place := bytes.Index(data, []byte("\n\n"))
	if place < 0 {
		return nil, nil, fmt.Errorf("no empty line")
	}
	parts := strings.Split(string(data[:place]), "\n")
	if len(parts) < 3 || len(parts) > 3+63 || parts[0] != "c2sp.org/tlog-proof@v1" {
		return nil, nil, fmt.Errorf("not a proof with extra data")
	}
	if !strings.HasPrefix(parts[1], "extra ") || !strings.HasPrefix(parts[2], "index ") {
		return nil, nil, fmt.Errorf("not a proof with extra data")
	}
	raw, err := fromBase64(parts[1][len("extra "):])
	if err != nil || len(raw) > extraBytesMax {
		return nil, nil, fmt.Errorf("extra data of %d bytes: %v", len(raw), err)
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
	if !decimal.MatchString(index) {
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
	return found, data[place+2:], nil
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

// readChanges finds the words by which the log's key changed hands, each at its place in the log. Who signed them, and
// whether they may, is check 4 and not looked at here.
func (r *reading) readChanges() error {
	keys, _ := r.extra["keys"].([]any)
	before := int64(-1)
	for _, one := range keys {
		one := one.(object)
		index := count(one["index"])
		if index <= before {
			return fmt.Errorf("changes in another order")
		}
		before = index
		_, said, err := r.opened("key/v1", one, unhexed(one["path"]))
		if err != nil {
			return err
		}
		if said["approver"] == nil {
			next, _ := said["new"].(string)
			r.changes = append(r.changes, change{index, said["key"].(string), next})
		}
	}
	if keys != nil && len(r.changes) == 0 {
		return fmt.Errorf("no change of the log's key")
	}
	return nil
}

func (r *reading) samePlan() error {
	keys, _ := r.extra["keys"].([]any)
	for _, one := range keys {
		one := one.(object)
		_, said, err := r.opened("key/v1", one, unhexed(one["path"]))
		if err != nil || said["plan"] != r.plan {
			return fmt.Errorf("a change of keys of another plan: %v", err)
		}
	}
	return nil
}

// inForce is the log's key at a place.
func (r *reading) inForce(index int64) string {
	key := r.extra["log"].(string)
	for i := len(r.changes) - 1; i >= 0; i-- {
		if r.changes[i].index < index {
			break
		}
		key = r.changes[i].key
	}
	return key
}

// stated is a statement of the log's own, at its place and signed by the key that was in force there.
func (r *reading) stated(kind string, of object, path tlog.RecordProof) (object, error) {
	signed, said, err := r.opened(kind, of, path)
	if err != nil {
		return nil, err
	}
	public := r.inForce(count(of["index"]))
	if err := signed.by(public); err != nil {
		return nil, err
	}
	return said, nil
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
func (r *reading) opened(kind string, of object, path tlog.RecordProof) (*signed, object, error) {
	raw, _ := fromBase64(of["envelope"].(string))
	if err := tlog.CheckRecord(path, r.tree.N, r.tree.Hash, count(of["index"]), tlog.RecordHash(raw)); err != nil {
		return nil, nil, err
	}
	value, err := oneSpelling(raw)
	if err != nil || !fits(value, envelope) {
		return nil, nil, fmt.Errorf("not an envelope: %v", err)
	}
	of = object{"envelope": value, "detached": of["detached"]}
	outer := value.(object)
	signatures := outer["signatures"].([]any)
	if outer["payloadType"] != payloadType || len(signatures) != 1 {
		return nil, nil, fmt.Errorf("not an envelope of one signature")
	}
	payload, _ := fromBase64(outer["payload"].(string))
	signature, _ := fromBase64(signatures[0].(object)["sig"].(string))
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
		raw, _ := fromBase64(detached.(string))
		sum := sha256.Sum256(raw)
		wanted := object{"detached": object{"sha256": hex.EncodeToString(sum[:]), "bytes": json.Number(strconv.Itoa(len(raw)))}}
		if len(raw) <= detachedOver || !bytes.Equal(spell(nil, wanted), spell(nil, predicate)) {
			return nil, fmt.Errorf("another predicate than the one that was detached")
		}
		if predicate, err = oneSpelling(raw); err != nil {
			return nil, err
		}
	} else if len(spell(nil, predicate)) > detachedOver {
		return nil, fmt.Errorf("a predicate that had to be detached")
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
	for dataset, of := range person["rows"].(object) {
		rows := of.(object)
		if count(rows["deleted"])+count(rows["blanked"]) > count(rows["moved"]) {
			return fmt.Errorf("more of %s is erased than went home", dataset)
		}
		homes, _ := certified["counts"].(object)[dataset].(object)
		all, there := homes[home].(object)
		if !there {
			return fmt.Errorf("the certificate counts nothing of %s", dataset)
		}
		if count(rows["moved"]) > count(all["moved"]) {
			return fmt.Errorf("more of %s went home than of all people", dataset)
		}
	}
	return nil
}
