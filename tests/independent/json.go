// JSON in its one spelling, and shapes, as docs/formats.md says ("JSON").
package main

import (
	"bytes"
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

	"golang.org/x/mod/sumdb/tlog"
)

const countMax = 9_007_199_254_740_991

type object = map[string]any

var (
	words = map[string]*regexp.Regexp{
		"HEX":    regexp.MustCompile(`^[0-9a-f]{64}$`),
		"BASE64": regexp.MustCompile(`^[A-Za-z0-9+/=]*$`),
		"TIME":   regexp.MustCompile(`^[1-9][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z$`),
	}
	decimal = regexp.MustCompile(`^(0|[1-9][0-9]{0,15})$`)
)

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
	case "STRING":
		return true
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
