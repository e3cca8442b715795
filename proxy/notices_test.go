package proxy

import (
	"bytes"
	"fmt"
	"log/slog"
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
	if !strings.Contains(out.String(), "msg=refused host=a.test times=4999 within=2m") || strings.Count(out.String(), "\n") != 3 {
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
