package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/mesh/manifest"
)

// changer changes the configuration.
type changer struct {
	dir       file.Directory
	draws     *draws
	authority *authority
	names     *nameServer
	flapping  *registration
	tally     *tally
	crowd     crowd

	shapes map[string]shape
	broken string // the service whose file has an error now, "" for none
	next   time.Time
	on     bool
}

// The pace of the changes.
const (
	changeEvery = 100 * time.Millisecond
	flapEvery   = 15 * time.Second
	rotateEvery = 5 * time.Second
	namesEvery  = 500 * time.Millisecond
	fillers     = 20 // that come and go by commands, where there is no crowd
)

// newChanger writes the first configuration.
func newChanger(path string, resources int, d *draws, a *authority, t *tally) (*changer, error) {
	c := &changer{dir: file.Directory{Path: path}, draws: d, authority: a, tally: t, flapping: &registration{}, shapes: map[string]shape{}}
	c.crowd = crowd{dir: path, services: resources / 3}
	if err := c.crowd.write(); err != nil {
		return nil, err
	}
	for _, s := range services {
		sh := shape{order: d.order(s.replicas)}
		if s == origin || s == second {
			sh.roots = a.rootsFile(0)
		}
		c.shapes[s.name] = sh
		if s == flap {
			continue
		}
		if err := c.write(s); err != nil {
			return nil, err
		}
	}
	return c, c.flap(time.Now())
}

func (c *changer) file(s service) string { return filepath.Join(c.dir.Path, s.name+".yaml") }

func (c *changer) write(s service) error {
	return replaceFile(c.file(s), []byte(s.resources(c.shapes[s.name])))
}

// run makes one change every changeEvery until ctx ends.
func (c *changer) run(ctx context.Context) error {
	tick, names, rotate := time.NewTicker(changeEvery), time.NewTicker(namesEvery), time.NewTicker(rotateEvery)
	defer tick.Stop()
	defer names.Stop()
	defer rotate.Stop()
	for begun, made := time.Now(), 0; ; {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-names.C:
			c.names.change(c.draws)
		case <-rotate.C:
			err = errors.Join(c.authority.rotate(), c.authority.rotateClient())
			c.tally.rotations.Add(1)
		case now := <-tick.C:
			for ; err == nil && ctx.Err() == nil && made < int(now.Sub(begun)/changeEvery); made++ { // also those that a busy machine missed
				err = c.change(now)
				c.tally.changes.Add(1)
			}
		}
		if err != nil {
			return fmt.Errorf("change the configuration: %w", err)
		}
	}
}

// change makes the next change: mostly of services that nobody uses.
func (c *changer) change(now time.Time) error {
	switch {
	case c.broken != "":
		return c.mend()
	case now.After(c.next):
		return c.flap(now)
	case c.draws.below(10) < 6:
		if c.crowd.services > 0 {
			return c.crowd.change(c.draws)
		}
		return c.fill()
	case c.draws.oneIn(8):
		return c.breakOne()
	}
	s := []service{static, byName, origin, second, lines, sealed}[c.draws.below(6)]
	c.shapes[s.name] = c.reshape(s)
	return c.write(s)
}

// fill creates, changes or deletes a service that nobody uses, as `sluice apply`
// and `sluice delete` do.
func (c *changer) fill() error {
	n := c.draws.below(fillers)
	name, text := filler(n, c.draws.below(1000))
	if c.draws.oneIn(3) {
		_, err := c.dir.Delete([]mesh.Identity{{Kind: "ServiceEntry", Namespace: "default", Name: name}})
		if missing := (*manifest.NotFoundError)(nil); errors.As(err, &missing) {
			err = nil
		}
		return err
	}
	_, issues, err := c.dir.Apply(manifest.Stream{Name: name, Data: []byte(text)})
	return errors.Join(err, issues.Err())
}

// reshape draws other settings, under which the service serves the same.
func (c *changer) reshape(s service) shape {
	d := c.draws
	sh := shape{order: d.order(s.replicas), timeout: []int{0, 40, 50}[d.below(3)], connect: []int{0, 15}[d.below(2)], robin: d.oneIn(2)}
	if d.oneIn(2) {
		for range s.replicas {
			sh.weights = append(sh.weights, 1+d.below(2))
		}
	}
	if s == origin || s == second {
		sh.roots, sh.namesSNI = c.authority.rootsFile(d.below(2)), d.oneIn(2)
		if d.oneIn(2) {
			sh.cert, sh.key = c.authority.identity()
			sh.secret = d.oneIn(2)
		}
	}
	return sh
}

// breakOne writes an error into a file: its last good content stays in force.
func (c *changer) breakOne() error {
	s := []service{static, byName, origin}[c.draws.below(3)]
	c.broken = s.name
	return replaceFile(c.file(s), []byte(s.resources(c.shapes[s.name])+"  nonsense: true\n"))
}

func (c *changer) mend() error {
	for _, s := range services {
		if s.name == c.broken {
			c.broken = ""
			return c.write(s)
		}
	}
	return errors.New(c.broken + ": no such service")
}

// flap registers the host that comes and goes, or removes it.
func (c *changer) flap(now time.Time) error {
	c.next, c.on = now.Add(flapEvery), !c.on
	c.flapping.begin(c.on)
	defer c.flapping.written()
	if c.on {
		return c.write(flap)
	}
	return os.Remove(c.file(flap))
}
