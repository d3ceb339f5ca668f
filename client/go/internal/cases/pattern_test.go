package main

import (
	"testing"
	"time"
)

func decode(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := decodeStrictly([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestAPatternMatchesWhatTheFormatSaysAndNothingElse(t *testing.T) {
	found := decode(t, `{"name": "alice", "count": "7", "ok": true, "list": [{"a": 1}, {"a": 2, "b": 3}]}`)
	for _, good := range []string{
		`{}`,
		`{"name": "alice", "other": null}`,
		`{"name": "~[a-z]+", "count": 7, "ok": "true"}`,
		`{"list": [{"a": "1"}, {}]}`,
		`{"list": {"~length": 2, "~each": {"a": "~[0-9]"}, "~contains": {"b": 3}}}`,
	} {
		if err := match(decode(t, good), found, "message"); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, problem := range map[string]string{
		`{"name": "bob"}`:                   `message.name: is "alice", not "bob"`,
		`{"name": "~[a-z]"}`:                `message.name: is "alice", not "~[a-z]"`,
		`{"name": null}`:                    `message.name: is "alice" and should not be there`,
		`{"other": "x"}`:                    `message.other: is not there`,
		`{"name": {"first": "x"}}`:          `message.name: is "alice", not {"first":"x"}`,
		`{"name": ["x"]}`:                   `message.name: is "alice", not a list`,
		`{"list": [{}]}`:                    `message.list: has 2 elements and not 1`,
		`{"list": [{}, {"b": 4}]}`:          `message.list.1.b: is "3", not "4"`,
		`{"list": {"~length": 3}}`:          `message.list, its length: is "2", not "3"`,
		`{"list": {"~each": {"b": 3}}}`:     `message.list.0.b: is not there`,
		`{"list": {"~contains": {"b": 4}}}`: `message.list: holds no {"b":4}`,
		`{"list": {"length": 2}}`:           `message.list: is a list, and length is no rule for one`,
		`{"list": "x"}`:                     `message.list: is [{"a":1},{"a":2,"b":3}], not "x"`,
	} {
		if err := match(decode(t, bad), found, "message"); err == nil || err.Error() != problem {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestAStepWithAKeyThatNobodyKnowsIsRefused(t *testing.T) {
	for _, text := range []string{`{"call": "a.B/C", "other": 1}`, `{"call": "a.B/C", "expect": {"other": 1}}`, `{"call": "${other}"}`} {
		if _, err := parseStep(decode(t, text), variables{"unique": "1"}); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

func TestVariablesAreFilledInOnce(t *testing.T) {
	own := variables{"a": "${b}", "b": "c", "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}
	if got, err := own.fillText("<${a}>"); got != "<${b}>" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	// RFC 6238, appendix B, its last six digits.
	if got, err := totp(own["secret"], time.Unix(59, 0)); got != "287082" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
