package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// runEnv makes the test binary behave as a program that runs its arguments in a
// sandbox. Every captured connection is told its original destination.
const runEnv = "SLUICE_SANDBOX_RUN"

func TestMain(m *testing.M) {
	Init()
	if os.Getenv(runEnv) != "" {
		os.Unsetenv(runEnv)
		code, err := Run(Command{Argv: os.Args[1:], Serve: tellDestination})
		if err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
		}
		os.Exit(code)
	}
	labtest.Main(m)
}

func tellDestination(ctx context.Context, s Sockets) error {
	defer s.close()
	for _, l := range s.TCP {
		go func() {
			for {
				c, err := l.AcceptTCP()
				if err != nil {
					return
				}
				dst, err := net.Conn(c), error(nil)
				fmt.Fprintln(dst, "captured", dst.LocalAddr(), err)
				c.Close()
			}
		}()
	}
	<-ctx.Done()
	return nil
}
