package main

import (
	"os"
	"sync"
	"time"
)

// logFile is a file that is appended to. It is opened anew when its name leads
// elsewhere, as after logrotate has moved it away: at once by Reopen, else with the
// first line that comes more than a second later.
type logFile struct {
	name string

	mu     sync.Mutex
	file   *os.File
	looked time.Time
}

const lookEvery = time.Second

func openLogFile(name string) (*logFile, error) {
	l := &logFile{name: name, looked: time.Now()}
	var err error
	l.file, err = open(name)
	return l, err
}

func open(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
}

func (l *logFile) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.looked) >= lookEvery {
		l.looked = now
		if l.moved() {
			l.reopen() // without success the old file is written on
		}
	}
	return l.file.Write(b)
}

func (l *logFile) moved() bool {
	mine, err := l.file.Stat()
	if err != nil {
		return true
	}
	named, err := os.Stat(l.name)
	return err != nil || !os.SameFile(mine, named)
}

// Reopen closes the file and opens what its name leads to.
func (l *logFile) Reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reopen()
}

func (l *logFile) reopen() error {
	file, err := open(l.name)
	if err != nil {
		return err
	}
	l.file.Close()
	l.file = file
	return nil
}

func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
