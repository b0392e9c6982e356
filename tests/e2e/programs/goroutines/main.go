// Goroutines, signals, processes, files and a collector at work, in Go. What comes first in time does not show.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"goroutines/sieve"
)

func main() {
	goroutines()
	collector()
	processes()
	signals()
	files()
	faults()
	defer fmt.Println("never printed")
	os.Exit(4)
}

// goroutines has many of them, and more threads than processors.
func goroutines() {
	var sum atomic.Int64
	var group sync.WaitGroup
	var lock sync.Mutex
	guarded := 0
	for i := 0; i < 2000; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			sum.Add(int64(i))
			lock.Lock()
			guarded++
			lock.Unlock()
			runtime.Gosched()
		}(i)
	}
	group.Wait()
	fmt.Println("goroutines", sum.Load(), guarded)
	fmt.Println("primes", sieve.First(50))
	// Those that are locked to threads wait in the kernel.
	for i := 0; i < 10; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			runtime.LockOSThread()
			syscall.Nanosleep(&syscall.Timespec{Nsec: 5e6}, nil)
		}()
	}
	group.Wait()
	// One that never calls anything is interrupted all the same, by a signal.
	var stop atomic.Bool
	old := runtime.GOMAXPROCS(1)
	go func() { stop.Store(true) }()
	for !stop.Load() {
	}
	runtime.GOMAXPROCS(old)
	ticker := time.NewTicker(time.Millisecond)
	for i := 0; i < 5; i++ {
		<-ticker.C
	}
	ticker.Stop()
	select {
	case <-time.After(10 * time.Millisecond):
		fmt.Println("timer")
	case <-make(chan int):
	}
}

// collector makes garbage and keeps some, and gives memory back.
func collector() {
	kept := map[int][]byte{}
	for i := 0; i < 20000; i++ {
		piece := make([]byte, 4096)
		piece[i%4096] = byte(i)
		if i%50 == 0 {
			kept[i] = piece
		}
	}
	whole := true
	for i, piece := range kept {
		whole = whole && piece[i%4096] == byte(i)
	}
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println("collector", whole, len(kept), stats.NumGC > 0, stats.HeapReleased > 0)
}

func processes() {
	sorted := exec.Command("sort", "-r")
	sorted.Stdin = strings.NewReader("b\nc\na\n")
	out, err := sorted.Output()
	fmt.Printf("sort %q %v\n", out, err)
	var failed *exec.ExitError
	err = exec.Command("sh", "-c", "echo to stderr >&2; exit 7").Run()
	fmt.Println("shell", errors.As(err, &failed), failed.ExitCode())
	sleep := exec.Command("sleep", "100")
	fmt.Println("started", sleep.Start())
	fmt.Println("killed", sleep.Process.Kill(), sleep.Wait())
	fmt.Println(exec.Command("/no/such/program").Run())
	// Many at once.
	var group sync.WaitGroup
	lines := make([]string, 10)
	for i := range lines {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			out, _ := exec.Command("echo", fmt.Sprint(i)).Output()
			lines[i] = strings.TrimSpace(string(out))
		}(i)
	}
	group.Wait()
	fmt.Println("echoes", lines)
	// Through a pipe of our own, in a group of its own.
	cat := exec.Command("cat")
	cat.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	in, _ := cat.StdinPipe()
	var echoed bytes.Buffer
	cat.Stdout = &echoed
	_ = cat.Start()
	_, _ = io.Copy(in, strings.NewReader(strings.Repeat("0123456789", 20000)))
	_ = in.Close()
	fmt.Println("cat", cat.Wait(), echoed.Len())
}

func signals() {
	got := make(chan os.Signal, 10)
	signal.Notify(got, syscall.SIGUSR1, syscall.SIGTERM)
	for _, number := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGTERM} {
		_ = syscall.Kill(os.Getpid(), number)
		fmt.Println("signal", <-got)
	}
	signal.Ignore(syscall.SIGHUP)
	_ = syscall.Kill(os.Getpid(), syscall.SIGHUP)
	out, err := exec.Command("sh", "-c", "kill -TERM $$").CombinedOutput()
	fmt.Printf("ended by %v %q\n", err, out)
}

func files() {
	folder, _ := os.MkdirTemp("", "go")
	for i := 0; i < 20; i++ {
		_ = os.WriteFile(filepath.Join(folder, fmt.Sprintf("%02d", i)), make([]byte, i), 0o640)
	}
	entries, _ := os.ReadDir(folder)
	names := []string{}
	for _, entry := range entries {
		info, _ := entry.Info()
		names = append(names, fmt.Sprint(entry.Name(), ":", info.Size()))
	}
	sort.Strings(names)
	fmt.Println(strings.Join(names, " "))
	_, err := os.Open(filepath.Join(folder, "no"))
	fmt.Println("missing", errors.Is(err, os.ErrNotExist))
	reader, writer, _ := os.Pipe()
	_ = reader.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	_, err = reader.Read(make([]byte, 1))
	fmt.Println("deadline", errors.Is(err, os.ErrDeadlineExceeded), writer.Close())
	fmt.Println("removed", os.RemoveAll(folder))
}

// faults are signals to the runtime, which makes panics of them.
func faults() {
	recovered := func(name string, act func()) {
		defer func() { fmt.Println(name, recover()) }()
		act()
	}
	var nowhere *struct{ value int }
	zero := 0
	recovered("nil", func() { fmt.Println(nowhere.value) })
	recovered("divided", func() { fmt.Println(1 / zero) })
	recovered("index", func() { fmt.Println([]int{1}[len(os.Args)+5]) })
}
