// Trust policies (C2SP tlog-policy, and the lines of docs/formats.md, "Trust policy"), and whether a checkpoint is signed
// by a log of one, and cosigned by its quorum.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// policy is whom somebody believes.
type policy struct {
	logs, approvers []string
	approvals       int
	before          map[string]bool // key, size and root with spaces between
	witnesses       map[string]*witness
	groups          map[string]group
	quorum          string
}

// group is a name of a policy: so many of its members.
type group struct {
	threshold int
	members   []string
}

func readPolicy(data []byte) (*policy, error) {
	found := &policy{before: map[string]bool{}, witnesses: map[string]*witness{}, groups: map[string]group{}}
	for _, line := range lines(data) {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if err := found.read(words); err != nil {
			return nil, fmt.Errorf("%s: %v", line, err)
		}
	}
	if len(found.logs) == 0 || found.quorum == "" || found.approvals < 1 || found.approvals > len(found.approvers) {
		return nil, fmt.Errorf("a policy without a log, a quorum or approvals")
	}
	return found, nil
}

func (p *policy) read(words []string) error {
	switch {
	case words[0] == "log" && len(words) >= 2:
		p.logs = append(p.logs, words[1])
		return goodKey(words[1])
	case words[0] == "approver" && len(words) == 2:
		p.approvers = append(p.approvers, words[1])
		return goodKey(words[1])
	case words[0] == "before" && len(words) == 4:
		p.before[strings.Join(words[1:], " ")] = true
		return goodKey(words[1])
	case words[0] == "approvals" && len(words) == 2:
		count, err := strconv.Atoi(words[1])
		p.approvals = count
		return err
	case words[0] == "witness" && len(words) >= 3:
		w, err := parseWitness(words[2])
		p.witnesses[words[1]] = w
		return err
	case words[0] == "group" && len(words) >= 4:
		count := map[string]int{"all": len(words) - 3, "any": 1}[words[2]]
		if count == 0 {
			var err error
			if count, err = strconv.Atoi(words[2]); err != nil {
				return err
			}
		}
		if count < 1 || count > len(words)-3 {
			return fmt.Errorf("a number that its members cannot reach")
		}
		p.groups[words[1]] = group{count, words[3:]}
		return nil
	case words[0] == "quorum" && len(words) == 2:
		p.quorum = words[1]
		return nil
	}
	return fmt.Errorf("not a line of a policy")
}

func goodKey(line string) error {
	_, err := verifierOf(line)
	return err
}

// cosigned opens a checkpoint with a key of the log and all witnesses, and says who of them signed, and when. Go's note
// package refuses it where one of their lines is wrong.
func (p *policy) cosigned(checkpoint []byte, log note.Verifier) (map[string]uint64, error) {
	verifiers := []note.Verifier{log}
	for _, w := range p.witnesses {
		verifiers = append(verifiers, w)
	}
	opened, err := note.Open(checkpoint, note.VerifierList(verifiers...))
	if err != nil {
		return nil, err
	}
	times := map[string]uint64{}
	for _, signature := range opened.Sigs {
		for name, w := range p.witnesses {
			if w.name == signature.Name && w.KeyHash() == signature.Hash {
				raw, err := base64.StdEncoding.DecodeString(signature.Base64)
				if err != nil {
					return nil, err
				}
				times[name] = binary.BigEndian.Uint64(raw[4:])
			}
		}
	}
	if len(opened.Sigs) == len(times) {
		return nil, fmt.Errorf("the log did not sign")
	}
	if !p.met(p.quorum, times) {
		return nil, fmt.Errorf("the quorum is not met: %d cosigned", len(times))
	}
	return times, nil
}

func (p *policy) met(name string, times map[string]uint64) bool {
	_, cosigned := times[name]
	if name == "none" || cosigned {
		return true
	}
	of, named := p.groups[name]
	count := 0
	for _, member := range of.members {
		if p.met(member, times) {
			count++
		}
	}
	return named && count >= of.threshold
}

// quorum prints who cosigned a checkpoint of the first log of a policy, and when, if they are enough.
func quorum(data, checkpoint []byte) error {
	found, err := readPolicy(data)
	if err != nil {
		return err
	}
	log, err := verifierOf(found.logs[0])
	if err != nil {
		return err
	}
	times, err := found.cosigned(checkpoint, log)
	var told []string
	for name, time := range times {
		told = append(told, fmt.Sprintf("%s %d\n", name, time))
	}
	sort.Strings(told)
	fmt.Print(strings.Join(told, ""))
	return err
}
