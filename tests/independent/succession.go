// Whose key signed a receipt: check 4 of docs/formats-receipts.md, with a trust policy or without one.
package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// ofLog is a key of the log, and the first place at which it is in force.
type ofLog struct {
	key   string
	since int64
}

// vote is one statement of a change of keys.
type vote struct {
	index  int64
	path   tlog.RecordProof
	signed *signed
	said   object
}

// holder is one of the people of a policy: who, and their key in force.
type holder struct {
	who int
	key string
}

// heirs are the people of a policy, and what was counted of them so far.
type heirs struct {
	need   int // 0: nobody is known, and none is counted
	people map[string]holder
	votes  []cast
	lost   []span
	used   []string
}

// cast is a vote that counted; span says whose votes are void, and from which place to which.
type cast struct {
	who   int
	place int64
}
type span struct {
	who      int
	from, to int64
}

// trusted makes check 4.
func (r *reading) trusted(trust *policy) error {
	log := r.extra["log"].(string)
	r.keys = []ofLog{{log, 0}}
	if _, changed := r.extra["keys"]; changed {
		if err := r.follow(trust); err != nil {
			return err
		}
	}
	if trust == nil {
		return nil
	}
	for _, named := range trust.logs {
		for _, one := range r.keys {
			if one.key == named {
				return nil
			}
		}
	}
	if trust.before[fmt.Sprintf("%s %d %s", log, r.tree.N, r.tree.Hash)] {
		return nil
	}
	return fmt.Errorf("the policy does not trust %s", log)
}

func (r *reading) follow(trust *policy) error {
	changes, err := r.changes() // 3
	if err != nil {
		return err
	}
	all := &heirs{people: map[string]holder{}}
	if trust != nil {
		all.need = trust.approvals
		for who, key := range trust.approvers {
			all.people[keyid(key)] = holder{who, key}
			all.used = append(all.used, key)
		}
	}
	r.keys = nil
	for _, change := range changes {
		if change[0].said["approver"] == nil {
			err = r.changeOfLog(all, change)
		} else {
			err = all.changeOfPerson(change)
		}
		if err != nil {
			return fmt.Errorf("the change at %d: %v", change[0].index, err)
		}
	}
	for _, vote := range all.votes { // 8
		for _, lost := range all.lost {
			if vote.who == lost.who && lost.from <= vote.place && vote.place < lost.to {
				return fmt.Errorf("the vote at %d is void", vote.place)
			}
		}
	}
	if len(r.keys) == 0 || r.keys[len(r.keys)-1].key != r.extra["log"] { // 4, 10
		return fmt.Errorf("the changes do not lead to the log's key")
	}
	return nil
}

// changes reads the statements of `keys`, and puts those together that are one change.
func (r *reading) changes() ([][]vote, error) {
	var found [][]vote
	before := int64(-1)
	given, _ := r.extra["keys"].([]any)
	for _, one := range given {
		one := one.(object)
		index, path := count(one["index"]), unhexed(one["path"])
		signed, said, err := r.opened("key/v1", one, index, path)
		if err != nil || index <= before {
			return nil, fmt.Errorf("the statement at %d is not the next change of keys: %v", index, err)
		}
		next := vote{index, path, signed, said}
		last := len(found) - 1
		if last >= 0 && index == before+1 && string(spell(nil, found[last][0].said)) == string(spell(nil, said)) {
			found[last] = append(found[last], next)
		} else {
			found = append(found, []vote{next})
		}
		before = index
	}
	return found, nil
}

// changeOfLog takes the next key of the log (4).
func (r *reading) changeOfLog(all *heirs, change []vote) error {
	first, said := change[0], change[0].said
	key := said["key"].(string)
	if len(r.keys) == 0 {
		if err := all.take(key); err != nil {
			return err
		}
		r.keys = append(r.keys, ofLog{key, 0})
	}
	if r.keys[len(r.keys)-1].key != key {
		return fmt.Errorf("of a key that was not in force")
	}
	root, there := rootBefore(first, r.tree.N)
	if count(said["stands"]) != first.index || !there || said["root"] != hex.EncodeToString(root[:]) {
		return fmt.Errorf("of another place, or another log")
	}
	next, given := said["new"].(string)
	if !given {
		return fmt.Errorf("the log is left without a key")
	}
	if first.signed.keyid == keyid(key) {
		if len(change) != 1 || said["what"] != "rotated" {
			return fmt.Errorf("a key may rotate, no more")
		}
		if err := first.signed.by(key); err != nil {
			return err
		}
	} else if err := all.voted(change, -1); err != nil {
		return err
	}
	if err := all.take(next); err != nil {
		return err
	}
	if name, _, _ := strings.Cut(next, "+"); !strings.HasPrefix(key, name+"+") {
		return fmt.Errorf("the log changes its name")
	}
	r.keys = append(r.keys, ofLog{next, change[len(change)-1].index + 1})
	return nil
}

// changeOfPerson takes the next key of one of the people (5, 7).
func (h *heirs) changeOfPerson(change []vote) error {
	first, said := change[0], change[0].said
	key := said["key"].(string)
	if err := goodKey(key); err != nil {
		return err
	}
	person, known := h.people[keyid(key)]
	if !known || person.key != key {
		return nil
	}
	next, given := said["new"].(string)
	if first.signed.keyid == keyid(key) {
		if len(change) != 1 || (said["what"] == "rotated") != given {
			return fmt.Errorf("a key may rotate or be given up, no more")
		}
		if err := first.signed.by(key); err != nil {
			return err
		}
	} else {
		if err := h.voted(change, person.who); err != nil {
			return err
		}
		h.lost = append(h.lost, span{person.who, count(said["stands"]), first.index})
	}
	delete(h.people, keyid(key))
	if !given {
		return nil
	}
	if other, taken := h.people[keyid(next)]; !taken || other.key != next {
		if err := h.take(next); err != nil {
			return err
		}
	}
	h.people[keyid(next)] = holder{person.who, next}
	return nil
}

// voted counts whose votes a change has (6); nobody votes about themselves.
func (h *heirs) voted(change []vote, but int) error {
	if change[0].said["what"] != "revoked" {
		return fmt.Errorf("signed by the wrong ones")
	}
	voters := map[int]bool{}
	for _, vote := range change {
		person, known := h.people[vote.signed.keyid]
		if !known || person.who == but {
			continue
		}
		if err := vote.signed.by(person.key); err != nil {
			return err
		}
		voters[person.who] = true
		h.votes = append(h.votes, cast{person.who, vote.index})
	}
	if len(voters) < h.need {
		return fmt.Errorf("%d votes, %d are needed", len(voters), h.need)
	}
	return nil
}

// take notes that a key is in use, and refuses one that was before (9).
func (h *heirs) take(key string) error {
	if err := goodKey(key); err != nil {
		return err
	}
	for _, one := range h.used {
		if keyid(one) == keyid(key) || string(publicOf(one)) == string(publicOf(key)) {
			return fmt.Errorf("%s comes again", key)
		}
	}
	h.used = append(h.used, key)
	return nil
}

// rootBefore makes the root of all entries before one up from those hashes of its path that stand on the left.
func rootBefore(one vote, size int64) (root tlog.Hash, there bool) {
	place, last := one.index, size-1
	for _, node := range one.path {
		if place%2 == 1 || place == last {
			if there {
				root = tlog.NodeHash(node, root)
			} else {
				root, there = node, true
			}
			for place%2 == 0 && place > 0 {
				place, last = place/2, last/2
			}
		}
		place, last = place/2, last/2
	}
	return root, there
}

// inForce is the log's key at a place.
func (r *reading) inForce(index int64) string {
	key := r.keys[0].key
	for _, one := range r.keys {
		if one.since <= index {
			key = one.key
		}
	}
	return key
}

func keyid(line string) string {
	parts := strings.SplitN(line, "+", 3)
	return parts[0] + "+" + parts[1]
}
