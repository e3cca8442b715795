package main

import (
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func after(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

func TestOnlyTheDeathOfItsOwnServerExcusesARequest(t *testing.T) {
	t.Parallel()
	dying := &replica{service: static, address: address(0, 1), deaths: []span{{after(10), after(10.2)}, {after(20), after(20.1)}}}
	alive := &replica{service: static, address: address(0, 0)}
	other := &replica{service: byName, address: address(1, 0), deaths: dying.deaths}
	j := &judge{fleet: &fleet{groups: [][]*replica{{alive, dying}, {other}}}}
	const before = "upstream_reset_before_response_started{connection_termination}"
	line := func(r *replica, flags, details string, used time.Time) logLine {
		return logLine{Start: after(19.9), Flags: flags, Details: details, UpstreamHost: r.address.String() + ":8080", usedBefore: used}
	}
	get := exchange{service: static, web: true, idempotent: true, began: after(19.9), ended: after(20.05)}
	post, tcp, late, early := get, get, get, get
	post.idempotent, tcp.web = false, false
	late.began, late.ended = after(20.2), after(20.3)
	early.began, early.ended = after(19.8), after(19.95)
	for _, x := range []struct {
		name string
		e    exchange
		line logLine
		says string // "" for an excuse
	}{
		{"its server died", get, line(dying, "UC", before, time.Time{}), ""},
		{"its server lived", get, line(alive, "UC", before, time.Time{}), "which lived"},
		{"another service's server died", get, line(other, "UC", before, time.Time{}), "UC"},
		{"it began when the server was dead", late, line(dying, "UC", before, time.Time{}), "which lived"},
		{"it ended before the server died", early, line(dying, "UC", before, time.Time{}), "which lived"},
		{"no connection was made", get, line(dying, "UF,URX", "upstream_reset_before_response_started{connection_failure}", time.Time{}), "UF"},
		{"a GET on a used connection", get, line(dying, "UC", before, after(15)), "sent again"},
		{"a connection of the same name to the process before", get, line(dying, "UC", before, after(9)), ""},
		{"a GET cut in its answer", get, line(dying, "UC", "upstream_reset_after_response_started{connection_termination}", after(15)), ""},
		{"a POST on a used connection", post, line(dying, "UC", before, after(15)), ""},
		{"an opaque connection", tcp, line(dying, "-", "", time.Time{}), ""},
		{"an opaque connection never made", tcp, line(dying, "UF", "", time.Time{}), "UF"},
	} {
		got := j.guilty(suspect{x.e, ""}, x.line)
		if x.says == "" && got != "" || !strings.Contains(got, x.says) {
			t.Errorf("%s: %q", x.name, got)
		}
	}
}

func TestPolicyOrdersBothWhileAChangeIsOnItsWay(t *testing.T) {
	t.Parallel()
	r := &registration{changes: []change{
		{registered: true, begun: after(0), written: after(0.1)},
		{registered: false, begun: after(100), written: after(100.1)},
		{registered: true, begun: after(200), written: after(200.1)},
	}}
	grace := graceOfChange.Seconds()
	for _, x := range []struct {
		from, to        float64
		served, refused bool
	}{
		{50, 51, true, false},
		{99, 99.9, true, false},
		{99, 100.05, true, true},
		{100.2, 100.3, true, true},
		{100.2 + grace, 150, false, true},
		{150, 201, true, true},
		{200.2 + grace, 250, true, false},
	} {
		if served, refused := r.allows(after(x.from), after(x.to)); served != x.served || refused != x.refused {
			t.Errorf("from %v to %v: served %v, refused %v", x.from, x.to, served, refused)
		}
	}
}

func TestTheAccessLogTellsAUsedConnection(t *testing.T) {
	t.Parallel()
	a := newAccessLog("")
	for _, text := range []string{
		`{"start_time":"2026-01-01T12:00:00.000Z","response_flags":"-","response_code_details":"via_upstream","request_id":"a","upstream_host":"10.0.0.1:80","upstream_local_address":"10.0.0.2:1000"}`,
		`{"start_time":"2026-01-01T12:00:01.000Z","response_flags":"UC","request_id":"b","upstream_host":"10.0.0.1:80","upstream_local_address":"10.0.0.2:1000"}`,
		`{"start_time":"2026-01-01T12:00:02.000Z","response_flags":"UC","request_id":"c","upstream_host":"10.0.0.3:80","upstream_local_address":"10.0.0.2:1000"}`,
	} {
		if err := a.take([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	b, found := a.find(exchange{web: true, id: "b"})
	c, _ := a.find(exchange{web: true, id: "c"})
	if !found || !b.usedBefore.Equal(noon) || !c.usedBefore.IsZero() {
		t.Errorf("%+v %+v", b, c)
	}
}

func TestAnotherServersAnswerIsNoAnswer(t *testing.T) {
	t.Parallel()
	for body, right := range map[string]bool{
		"static 1 4711\n": true, "by-name 1 4711\n": false, "static 1 4711": false, "static 1 4711\nmore": false, "": false,
	} {
		if wrong := wrongBody(static, "/small", 0, []byte(body)); (wrong == "") != right {
			t.Errorf("%q: %q", body, wrong)
		}
	}
}
