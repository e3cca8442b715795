package proxy

import (
	"bytes"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestANoticeIsSaidAtOnceAndThenSummedUp(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	n := newNotices(slog.New(slog.NewTextHandler(&out, nil)))
	for range 5000 {
		n.say(noticeKey{"unregistered", "a.test", 80}, func() notice { return notice{message: "refused", about: []any{"host", "a.test"}} })
	}
	n.say(noticeKey{"unregistered", "a.test", 81}, func() notice { return notice{message: "refused on 81"} })
	if got := strings.Count(out.String(), "\n"); got != 2 || strings.Contains(out.String(), "times") {
		t.Fatalf("%d lines:\n%s", got, &out)
	}
	n.sum(time.Now(), false)
	if got := strings.Count(out.String(), "\n"); got != 2 {
		t.Errorf("summed up before its time:\n%s", &out)
	}
	n.sum(time.Now().Add(2*noticeEvery), false)
	// It says what was, not what is: by now it may be registered.
	was := regexp.MustCompile(`msg=refused host=a\.test times=4999 since=(\S+) last=(\S+)\n`).FindStringSubmatch(out.String())
	if was == nil || was[1] > was[2] || was[2] > time.Now().Format("2006-01-02T15:04:05.000Z07:00") || strings.Count(out.String(), "\n") != 3 {
		t.Errorf("no sum:\n%s", &out)
	}
	n.sum(time.Now().Add(4*noticeEvery), false)
	if len(n.said) != 0 {
		t.Errorf("%d are remembered after nothing happened", len(n.said))
	}
}

func TestEverNewNamesNeitherFloodTheLogNorFillTheMemory(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	n := newNotices(slog.New(slog.NewTextHandler(&out, nil)))
	const many = 20_000
	for i := range many {
		n.say(noticeKey{"unregistered", fmt.Sprintf("%d.test", i), 80}, func() notice { return notice{message: "refused"} })
	}
	if len(n.said) > maxNotices {
		t.Errorf("%d are remembered", len(n.said))
	}
	n.sum(time.Now(), true)
	if lines := strings.Count(out.String(), "\n"); lines > 2*noticeBurst+100 {
		t.Errorf("%d lines", lines)
	}
	said, again := 0, 0
	for line := range strings.Lines(out.String()) {
		times := 1
		if _, text, found := strings.Cut(line, "times="); found {
			fmt.Sscan(text, &times)
		}
		said, again = said+times, again+1
	}
	if said != many {
		t.Errorf("%d of %d are told of", said, many)
	}
}
