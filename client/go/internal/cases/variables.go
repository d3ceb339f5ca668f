package main

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// variables are what the server said, and what a case saved.
type variables map[string]string

var placeholder = regexp.MustCompile(`\$\{[^}]*\}`)

// fill puts the variables into every text of a step.
func (v variables) fill(value any) (any, error) {
	switch value := value.(type) {
	case string:
		return v.fillText(value)
	case []any:
		filled := make([]any, len(value))
		for i, element := range value {
			var err error
			if filled[i], err = v.fill(element); err != nil {
				return nil, err
			}
		}
		return filled, nil
	case map[string]any:
		filled := make(map[string]any, len(value))
		for name, element := range value {
			var err error
			if filled[name], err = v.fill(element); err != nil {
				return nil, err
			}
		}
		return filled, nil
	default:
		return value, nil
	}
}

func (v variables) fillText(text string) (string, error) {
	var failure error
	filled := placeholder.ReplaceAllStringFunc(text, func(place string) string {
		value, err := v.value(place[2 : len(place)-1])
		if err != nil {
			failure = err
		}
		return value
	})
	return filled, failure
}

func (v variables) value(name string) (string, error) {
	if secret, isTOTP := strings.CutPrefix(name, "totp:"); isTOTP {
		value, err := v.value(secret)
		if err != nil {
			return "", err
		}
		return totp(value, time.Now())
	}
	value, known := v[name]
	if !known {
		return "", fmt.Errorf("there is no variable %s", name)
	}
	return value, nil
}

// totp is the code of RFC 6238: SHA-1, 30 seconds, six digits.
func totp(secret string, now time.Time) (string, error) {
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil {
		return "", fmt.Errorf("the TOTP secret is not base32: %w", err)
	}
	mac := hmac.New(sha1.New, key)
	_, _ = mac.Write(binary.BigEndian.AppendUint64(nil, uint64(now.Unix())/30)) // never fails
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0xf
	number := binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff
	return fmt.Sprintf("%06d", number%1_000_000), nil
}
