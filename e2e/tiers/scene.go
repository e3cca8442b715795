package tiers

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
)

// scene is a scenario that runs in a tier.
type scene struct {
	t    *testing.T
	tier Tier
}

// pod makes one that must come up.
func (s *scene) pod(name string, annotations map[string]string) *pod {
	s.t.Helper()
	p, err := s.tier.Pod(s.t, name, annotations)
	if err != nil {
		s.t.Fatalf("pod %s: %v", name, err)
	}
	return &pod{Pod: p, t: s.t}
}

// governed selects the namespace and is a pod of it, once both are in force.
func (s *scene) governed() *pod {
	s.t.Helper()
	s.tier.Select(s.t, true)
	p := s.pod("governed", nil)
	p.comesTo(plain, "502")
	return p
}

// apply registers resources until the scenario's end.
func (s *scene) apply(yaml string) {
	s.t.Helper()
	s.tier.Apply(s.t, yaml)
	s.t.Cleanup(func() { s.tier.Withdraw(s.t, yaml) })
}

type pod struct {
	Pod
	t *testing.T
}

// is requires that commands write this, somewhere, at once.
func (p *pod) is(commands, want string) {
	p.t.Helper()
	if wrong := p.says(commands, want); wrong != "" {
		p.t.Error(wrong)
	}
}

// comesTo waits until they do.
func (p *pod) comesTo(commands, want string) {
	p.t.Helper()
	await.Silence(p.t, func() string { return p.says(commands, want) })
}

func (p *pod) says(commands, want string) (wrong string) {
	out, err := p.Bash(commands)
	if err != nil || !strings.Contains(out, want) {
		return fmt.Sprintf("%s: %q, %v; want %s", commands, out, err, want)
	}
	return ""
}

// must runs commands that must succeed.
func (p *pod) must(commands string) string {
	p.t.Helper()
	out, err := p.Bash(commands)
	if err != nil {
		p.t.Fatalf("%s: %v: %s", commands, err, out)
	}
	return out
}

// underWay is something that runs in a pod beside the scenario.
type underWay struct {
	p      *pod
	name   string
	result chan string
}

// start runs commands and does not wait.
func (p *pod) start(name, commands string) *underWay {
	u := &underWay{p: p, name: name, result: make(chan string, 1)}
	go func() { // ends with the commands, or their pod
		out, err := p.Bash(commands)
		if err != nil {
			out += " " + err.Error()
		}
		u.result <- out
	}()
	return u
}

// begun waits until curl, told to write what it does to NAME-log, has sent a request.
func (u *underWay) begun() *underWay {
	u.p.t.Helper()
	u.p.comesTo("cat "+u.name+"-log", "HTTP/1.1")
	return u
}

// request begins a GET that takes its time.
func (p *pod) request(name, url string) *underWay {
	p.t.Helper()
	return p.start(name, fmt.Sprintf(`curl -sv -m 60 -o /dev/null -w '%%{http_code}' %s 2>%s-log`, url, name)).begun()
}

// stream begins a POST whose body goes on until ends is called.
func (p *pod) stream(name string) *underWay {
	p.t.Helper()
	return p.start(name, fmt.Sprintf(
		`while [ ! -e %[1]s-ends ]; do echo .; sleep 0.1; done | curl -sv -m 300 -X POST -H Expect: -T - -o /dev/null -w '%%{http_code}' http://httpbin.org/anything 2>%[1]s-log`, name)).begun()
}

// ends lets a stream come to its end, waits for it or a request, and requires that it was
// answered after what has happened.
func (u *underWay) ends(after string) {
	u.p.t.Helper()
	u.p.must(": >" + u.name + "-ends")
	if out := u.await(); out != "200" {
		u.p.t.Errorf("%s: answered %q after %s, not 200: %s", u.name, out, after, u.p.must("cat "+u.name+"-log"))
	}
}

func (u *underWay) await() string { return <-u.result }
