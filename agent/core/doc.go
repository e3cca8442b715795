// Package core decides what the node agent does: events go in, actions come out.
// It has no clock, no sockets and no goroutines, so that every order of events and
// every crash can be written down as text (testdata) and drawn at random.
//
// For each pod it knows what should be (a Decision) and what is: held or not, which
// rules, exempt for whom, served or not. Each step looks at the difference and asks
// for one action; the Done event with its result leads to the next. Nothing depends
// on how a pod got to where it is, so a new core, which is told what the holder has
// and reads the rules back, comes to the same end as one that never died.
//
//	s := core.New(core.Settings{FactsWait: 10 * time.Second})
//	for _, a := range s.Step(now, event) {
//		go func() { done <- perform(a) }() // brings a Done{Action: a} event
//	}
//	at, ok := s.Next() // when a Tick is wanted
package core
