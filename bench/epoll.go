package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// epoll is a small poller for the client: one thread, many connections, nothing
// that a busy machine could hand to another thread.
type epoll struct {
	fd     int
	events [256]unix.EpollEvent
}

func newEpoll() (*epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &epoll{fd: fd}, err
}

// add registers fd; wait reports it as index.
func (p *epoll) add(fd, index int) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(index)})
}

// wait blocks until something is ready or the time has passed (-1: for ever).
func (p *epoll) wait(milliseconds int) ([]unix.EpollEvent, error) {
	for {
		n, err := unix.EpollWait(p.fd, p.events[:], milliseconds)
		if err == unix.EINTR {
			continue
		}
		return p.events[:max(n, 0)], err
	}
}

// dialRaw connects a socket that the runtime's poller does not know.
func dialRaw(address string) (int, error) {
	ip, portText, ok := strings.Cut(address, ":")
	port, err := strconv.Atoi(portText)
	if !ok || err != nil {
		return 0, fmt.Errorf("address %q: not IPv4:port", address)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	a := &unix.SockaddrInet4{Port: port}
	copy(a.Addr[:], net.ParseIP(ip).To4())
	if err := unix.Connect(fd, a); err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("connect to %s: %w", address, err)
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	return fd, unix.SetNonblock(fd, true)
}
