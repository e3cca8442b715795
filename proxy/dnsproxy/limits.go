package dnsproxy

// Limits bound what a server, and so a pod, may hold at once. A zero field is its default.
// One client address has half of Waiting, and of Streams, at most.
type Limits struct {
	Entries int // answers that are kept; default 10 000
	Bytes   int // of theirs; default 8 MiB
	Names   int // registered names whose addresses are remembered (Server.Gave); default 4096
	Waiting int // queries that wait for an answer from upstream; default 1024
	Asking  int // questions put to the resolvers at once, each with a socket; default 256
	Streams int // TCP connections; default 256
}

// LimitsOfOneOfMany are for a server that shares its process with hundreds: at most about
// 1 MiB and 100 descriptors, where the default is 16 MiB and 500.
func LimitsOfOneOfMany() Limits {
	return Limits{Entries: 512, Bytes: 256 << 10, Names: 512, Waiting: 128, Asking: 64, Streams: 32}
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&l.Entries, 10_000}, {&l.Bytes, 8 << 20}, {&l.Names, 4096}, {&l.Waiting, 1024}, {&l.Asking, 256}, {&l.Streams, 256},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return l
}
