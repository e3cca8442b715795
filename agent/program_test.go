package agent

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestOnlyPagesThatAreTheFilesAreGivenBack(t *testing.T) {
	t.Parallel()
	line := func(anonymous int, header string) string {
		return fmt.Sprintf("%s\nSize: 4 kB\nRss:  4 kB\nAnonymous:  %d kB\nVmFlags: rd ex mr\n", header, anonymous)
	}
	smaps := line(0, "00400000-00500000 r-xp 00000000 fe:00 77   /a program/sluice (deleted)") +
		line(0, "00500000-00600000 r--p 00100000 fe:00 77   /a program/sluice (deleted)") +
		line(8, "00600000-00601000 r--p 00200000 fe:00 77   /a program/sluice (deleted)") + // relocated
		line(0, "00601000-00602000 rw-p 00201000 fe:00 77   /a program/sluice (deleted)") +
		line(0, "00602000-00603000 r--s 00201000 fe:00 77   /a program/sluice (deleted)") +
		line(0, "00700000-00800000 r--p 00000000 fe:00 78   /usr/lib/other") +
		line(0, "7f0000000000-7f0000001000 r-xp 00000000 00:00 0   [vdso]")
	var got []string
	for _, m := range fileMappings([]byte(smaps), 0x400010) {
		got = append(got, fmt.Sprintf("%x", m.start))
	}
	if strings.Join(got, " ") != "400000 500000" {
		t.Error(got)
	}
	if m := fileMappings([]byte(smaps), 0x7f0000000010); len(m) > 0 {
		t.Error("of no file: ", m)
	}
}

// The program goes on without the pages it had.
func TestAProgramGoesOnWhenItsPagesWereGivenBack(t *testing.T) {
	smaps, err := os.ReadFile("/proc/self/smaps")
	must(t, err)
	if len(fileMappings(smaps, reflect.ValueOf(forgetProgram).Pointer())) == 0 {
		t.Fatalf("nothing would be given back:\n%s", smaps)
	}
	before := fileBacked(t)
	forgetProgram()
	if after := fileBacked(t); after >= before {
		t.Errorf("%d kB of files before, %d kB after", before, after)
	}
}

func fileBacked(t *testing.T) (kb int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	must(t, err)
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		t.Fatal(err)
	}
	return kb
}
