package sieve

import "testing"

func TestFirst(t *testing.T) {
	if sum := First(10); sum != 129 {
		t.Errorf("First(10) = %d", sum)
	}
}
