// Package stage is a node in a world of its own, without a container runtime: holder
// and agents as processes, pods that are network namespaces with a cable to the node,
// and an internet that counts who reaches it.
//
//	n := stage.New(t, stage.Options{})
//	n.StartHolder()
//	n.StartAgent()
//	p := n.Pod("a")
//	p.Add()
//
// Everything ends with the test, and New's cleanup holds the node to having given back
// what it took: namespaces, descriptors, goroutines, files.
package stage
