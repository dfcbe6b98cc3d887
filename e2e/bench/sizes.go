package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// sizes are those that a scenario measures, as a flag: 100,1000.
type sizes []int

// String implements flag.Value.
func (s *sizes) String() string {
	var words []string
	for _, size := range *s {
		words = append(words, strconv.Itoa(size))
	}
	return strings.Join(words, ",")
}

// Set implements flag.Value.
func (s *sizes) Set(text string) error {
	var set sizes
	for word := range strings.SplitSeq(text, ",") {
		size, err := strconv.Atoi(word)
		if err != nil || size < 1 {
			return fmt.Errorf("%q is no number of 1 or more", word)
		}
		set = append(set, size)
	}
	*s = set
	return nil
}

func (s sizes) least() int { return slices.Min(s) }
func (s sizes) most() int  { return slices.Max(s) }
