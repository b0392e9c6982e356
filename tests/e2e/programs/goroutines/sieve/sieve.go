// Package sieve finds primes with a goroutine for each.
package sieve

// First returns the sum of the first so many primes.
func First(count int) (sum int) {
	numbers := make(chan int)
	go func(to chan int) {
		for i := 2; ; i++ {
			to <- i
		}
	}(numbers)
	for ; count > 0; count-- {
		prime := <-numbers
		sum += prime
		left := make(chan int)
		go func(from chan int) {
			for number := range from {
				if number%prime != 0 {
					left <- number
				}
			}
		}(numbers)
		numbers = left
	}
	return sum
}
