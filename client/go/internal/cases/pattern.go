package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// match says where `found` is not as `pattern` wants it.
func match(pattern, found any, at string) error {
	if pattern == nil {
		if found == nil {
			return nil
		}
		return fmt.Errorf("%s: is %s and should not be there", at, show(found))
	}
	if found == nil {
		return fmt.Errorf("%s: is not there", at)
	}
	switch pattern := pattern.(type) {
	case map[string]any:
		return matchFields(pattern, found, at)
	case []any:
		return matchList(pattern, found, at)
	default:
		text, ok := scalar(found)
		if !ok {
			return fmt.Errorf("%s: is %s, not %s", at, show(found), show(pattern))
		}
		wanted, _ := scalar(pattern)
		return matchText(wanted, text, at)
	}
}

func matchFields(pattern map[string]any, found any, at string) error {
	switch found := found.(type) {
	case map[string]any:
		for name, rule := range pattern {
			if err := match(rule, found[name], at+"."+name); err != nil {
				return err
			}
		}
		return nil
	case []any:
		return matchElements(pattern, found, at)
	default:
		return fmt.Errorf("%s: is %s, not %s", at, show(found), show(pattern))
	}
}

func matchList(patterns []any, found any, at string) error {
	elements, ok := found.([]any)
	if !ok {
		return fmt.Errorf("%s: is %s, not a list", at, show(found))
	}
	if len(elements) != len(patterns) {
		return fmt.Errorf("%s: has %d elements and not %d", at, len(elements), len(patterns))
	}
	for i, pattern := range patterns {
		if err := match(pattern, elements[i], at+"."+strconv.Itoa(i)); err != nil {
			return err
		}
	}
	return nil
}

func matchElements(rules map[string]any, found []any, at string) error {
	for rule, pattern := range rules {
		var err error
		switch rule {
		case "~length":
			err = match(pattern, strconv.Itoa(len(found)), at+", its length")
		case "~each":
			for i, element := range found {
				err = errors.Join(err, match(pattern, element, at+"."+strconv.Itoa(i)))
			}
		case "~contains":
			err = contains(pattern, found, at)
		default:
			err = fmt.Errorf("%s: is a list, and %s is no rule for one", at, rule)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func contains(pattern any, found []any, at string) error {
	for _, element := range found {
		if match(pattern, element, at) == nil {
			return nil
		}
	}
	return fmt.Errorf("%s: holds no %s", at, show(pattern))
}

// matchText compares with text or a `~regex`.
func matchText(pattern, found, at string) error {
	expression, isExpression := strings.CutPrefix(pattern, "~")
	if !isExpression {
		if pattern != found {
			return fmt.Errorf("%s: is %q, not %q", at, found, pattern)
		}
		return nil
	}
	whole, err := regexp.Compile("^(?:" + expression + ")$")
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if !whole.MatchString(found) {
		return fmt.Errorf("%s: is %q, not %q", at, found, pattern)
	}
	return nil
}

func scalar(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case json.Number:
		return value.String(), true
	case bool:
		return strconv.FormatBool(value), true
	default:
		return "", false
	}
}

// lookUp follows a path of field names and indexes: `links.0.etag`.
func lookUp(value any, path string) (string, error) {
	for part := range strings.SplitSeq(path, ".") {
		switch inner := value.(type) {
		case map[string]any:
			value = inner[part]
		case []any:
			index, err := strconv.Atoi(part)
			if err != nil || index < 0 || index >= len(inner) {
				return "", fmt.Errorf("the answer has no %s", path)
			}
			value = inner[index]
		default:
			value = nil
		}
	}
	text, ok := scalar(value)
	if !ok {
		return "", fmt.Errorf("the answer has no %s", path)
	}
	return text, nil
}

func show(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}
