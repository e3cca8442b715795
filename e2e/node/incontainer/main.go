// Command incontainer is all that the containers of the node's tests have in them: the
// pause of a sandbox, and clients to try with. It knows nothing of sluice.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-cni/sluice/e2e/node/load"
)

func main() {
	commands := map[string]func(args []string) error{"pause": pause, "get": get, "connect": connect, "load": makeLoad, "calls": calls, "stream": stream}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: incontainer pause|get URL [HOST]|connect ADDRESS|load|calls SPEC|stream ADDRESS NAME TIME")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// pause is the first process of a container: it buries what is left to it, and ends
// when it is told to.
func pause([]string) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return nil
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
	return nil
}

// patience bounds what a client here waits for.
const patience = 10 * time.Second

// get prints the status and the body of what a URL answers, asked under the name of
// the second argument if there is one.
func get(args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], nil)
	if err != nil {
		return err
	}
	if len(args) > 1 {
		req.Host = args[1]
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Printf("%d %s\n", resp.StatusCode, body)
	return err
}

// connect prints "connected" where a connection to an address, or a unix socket's path,
// is made.
func connect(args []string) error {
	network := "tcp"
	if strings.HasPrefix(args[0], "/") {
		network = "unix"
	}
	c, err := net.DialTimeout(network, args[0], patience)
	if err != nil {
		return err
	}
	fmt.Println("connected")
	return c.Close()
}

// makeLoad does what the specification on the first line of standard input says until
// the input ends, and prints what came of it.
func makeLoad([]string) error {
	in := json.NewDecoder(os.Stdin)
	var spec load.Spec
	if err := in.Decode(&spec); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		defer stop()
		io.Copy(io.Discard, io.MultiReader(in.Buffered(), os.Stdin))
	}()
	return json.NewEncoder(os.Stdout).Encode(load.Run(ctx, spec))
}

// calls does what a specification says until it is killed, and prints a line for each
// connection that has ended but probes: when it began (UTC), and good or what was wrong.
func calls(args []string) error {
	if len(args) != 1 {
		return errors.New("calls SPEC")
	}
	var spec load.Spec
	if err := json.Unmarshal([]byte(args[0]), &spec); err != nil {
		return err
	}
	spec.Each = func(k load.Kind, start time.Time, err error) {
		began := start.UTC().Format(time.DateTime + ".000")
		switch {
		case k == load.Probe:
		case err == nil:
			fmt.Println(began, "good")
		default:
			fmt.Println(began, "failed after", time.Since(start), "by", err)
		}
	}
	load.Run(context.Background(), spec)
	return nil
}

// stream keeps one connection open for some time and prints how it ended.
func stream(args []string) error {
	if len(args) != 3 {
		return errors.New("stream ADDRESS NAME TIME")
	}
	lasting, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	t := load.Target{Kind: load.TCP, Address: args[0], Name: args[1]}
	return json.NewEncoder(os.Stdout).Encode(load.Stream(context.Background(), t, lasting))
}
