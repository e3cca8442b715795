// Package relay moves bytes both ways between two TCP sockets until both
// directions have ended, for as many pairs as there are, on one or two goroutines.
//
//	engine := relay.New(relay.Config{})
//	pair := engine.Carry(relay.Side{FD: client}, relay.Side{FD: server}, done)
//	pair.Cut() // resets both
//
// An idle pair costs its two descriptors and a few hundred bytes: no goroutine of its own,
// no buffer, no pipe. A message moves by one read and one write; what comes in
// bulk moves inside the kernel (splice), through a pipe that is lent to a
// direction only while it holds bytes.
//
// The end of one direction is passed on as such (half-close) once all bytes
// before it are, and a reset as a reset. Nothing is read that the other side does
// not take. It never looks at the bytes and knows nothing of routes or protocols.
package relay
