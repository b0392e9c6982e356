// A server by HTTP: says a page, sends back what was posted in capital letters, and streams a megabyte.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	http.HandleFunc("/page", func(answer http.ResponseWriter, request *http.Request) { fmt.Fprint(answer, "a page\n") })
	http.HandleFunc("/upper", func(answer http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			panic(err)
		}
		fmt.Fprint(answer, strings.ToUpper(string(body)))
	})
	http.HandleFunc("/stream", func(answer http.ResponseWriter, request *http.Request) {
		for range [64]struct{}{} {
			fmt.Fprint(answer, strings.Repeat("x", 16384))
		}
	})
	listener, err := net.Listen("tcp", ":80")
	if err != nil {
		panic(err)
	}
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{}
	go func() {
		<-ended.Done()
		server.Close()
	}()
	fmt.Println("ready")
	if err := server.Serve(listener); err != http.ErrServerClosed {
		fmt.Println(err)
		os.Exit(1)
	}
}
