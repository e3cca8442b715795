package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
)

// world is everything around a run: this process's own namespace is the pod, and a
// second one the outside with all servers.
//
//	clients ─ 198.51.100.1:80 ─▶ rules ─▶ proxy ═══ cable ═══▶ 10.9.0.10 … the servers
type world struct {
	options   options
	dir       string
	out       *lab.Namespace
	names     *nameServer
	fleet     *fleet
	proxy     *program
	access    *accessLog
	load      *load
	judge     *judge
	changer   *changer
	sampler   *sampler
	tally     tally
	rate      float64
	saturated float64
	lasted    time.Duration
}

func openWorld(o options) (*world, error) {
	w := &world{options: o}
	if err := w.open(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *world) open() (err error) {
	if w.dir, err = os.MkdirTemp("/run", "sluice-soak-"); err != nil {
		return err
	}
	if err := w.connect(); err != nil {
		return err
	}
	draws := newDraws(w.options.seed)
	a, err := newAuthority(w.dir)
	if err != nil {
		return err
	}
	if w.names, err = startNameServer(w.out); err != nil {
		return err
	}
	if err := useNameServer(w.dir); err != nil {
		return err
	}
	if w.fleet, err = startFleet(w.out, w.dir); err != nil {
		return err
	}
	egress := filepath.Join(w.dir, "egress")
	if err := os.Mkdir(egress, 0o755); err != nil {
		return err
	}
	if w.changer, err = newChanger(egress, w.options.crowd, draws, a, &w.tally); err != nil {
		return err
	}
	w.changer.names = w.names
	w.access = newAccessLog(filepath.Join(w.dir, "access.log"))
	pod, err := lab.Current()
	if err != nil {
		return err
	}
	if w.proxy, err = startProgram(pod, w.dir, egress, w.access.path); err != nil {
		return err
	}
	w.judge = newJudge(w.fleet, w.access, &w.tally)
	w.load = &load{judge: w.judge, draws: draws, flapping: w.changer.flapping, roots: a.clients()}
	for range web2Clients {
		w.load.web2 = append(w.load.web2, newWeb2Client())
	}
	w.sampler = &sampler{pid: w.proxy.cmd.Process.Pid}
	return nil
}

// connect makes the outside, the cable to it, and the rules.
func (w *world) connect() error {
	pod, err := lab.Current()
	if err != nil {
		return err
	}
	defer pod.Close()
	if w.out, err = lab.New(); err != nil {
		return err
	}
	outside := []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24"), netip.MustParsePrefix(nameServerAddress + "/24")}
	for _, s := range services {
		for _, a := range s.addresses() {
			outside = append(outside, netip.PrefixFrom(a, 24))
		}
	}
	if err := lab.Connect(
		lab.End{In: pod, Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}},
		lab.End{In: w.out, Name: "eth0", Addresses: outside}); err != nil {
		return err
	}
	if err := errors.Join(
		lab.AddRoute("eth0", netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.9.0.1")),
		lab.Sysctl("net/ipv4/ip_local_port_range", "10000 65000")); err != nil {
		return err
	}
	config := rules.Default()
	config.Exemption, config.ExemptMark = rules.ExemptByMark, exemptMark
	plan, err := rules.NewPlan(config)
	if err != nil {
		return err
	}
	return nft.Apply(pod.FD(), plan)
}

func (w *world) close() error {
	var errs []error
	if w.proxy != nil && !w.proxy.over() {
		errs = append(errs, w.proxy.stop())
	}
	if w.fleet != nil {
		w.fleet.end()
	}
	if w.names != nil {
		errs = append(errs, w.names.close())
	}
	if w.out != nil {
		errs = append(errs, w.out.Close())
	}
	return errors.Join(errs...)
}

// soak measures, torments, waits for the last verdicts, and reports.
func (w *world) soak(ctx context.Context) error {
	following, stopFollowing := context.WithCancel(context.Background())
	followed := make(chan error, 1)
	go func() { followed <- w.access.follow(following, w.proxy.cmd.Process) }()
	w.saturated = w.load.saturation(ctx)
	w.rate = min(w.saturated/2, w.options.limit)
	fmt.Fprintf(os.Stderr, "seed %d; saturated by %.0f requests per second; soaking at %.0f for %v\n", w.options.seed, w.saturated, w.rate, w.options.time)
	w.judge.resolve(time.Now())
	w.judge.forget()
	w.changer.flapping.forget()
	err := w.torment(ctx)
	for late := time.Now().Add(2 * lineWithin); w.judge.resolve(time.Now()) > 0 && time.Now().Before(late); {
		time.Sleep(lookEvery)
	}
	stopFollowing()
	err = errors.Join(err, <-followed, w.proxy.stop())
	if w.options.keep != "" {
		err = errors.Join(err, copyFile(w.options.keep, w.proxy.log), copyFile(w.options.keep+".access", w.access.path))
	}
	return errors.Join(err, w.report(os.Stdout))
}

func copyFile(to, from string) error {
	data, err := os.ReadFile(from)
	return errors.Join(err, os.WriteFile(to, data, 0o644))
}

// torment runs the load and all that is done against it, until the time is up or
// one of them fails.
func (w *world) torment(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, w.options.time)
	defer stop()
	begun := time.Now()
	var all sync.WaitGroup
	failed := make(chan error, 8)
	run := func(task func(context.Context) error) {
		all.Go(func() {
			if err := task(ctx); err != nil {
				failed <- err
				stop()
			}
		})
	}
	run(func(ctx context.Context) error { w.load.pour(ctx, w.rate, &w.tally); return nil })
	run(func(ctx context.Context) error { return w.fleet.torment(ctx, w.load.draws, &w.tally) })
	run(w.changer.run)
	run(w.sampler.run)
	run(w.proxy.watch)
	run(w.verdicts)
	for _, g := range longs(w.load, w.fleet) {
		run(func(ctx context.Context) error { g.run(ctx); return nil })
	}
	all.Wait()
	w.lasted = time.Since(begun)
	close(failed)
	var errs []error
	for err := range failed {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// verdicts judges suspects as their lines come, and says how it goes.
func (w *world) verdicts(ctx context.Context) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			w.judge.resolve(now)
			if n%60 == 0 {
				w.progress(os.Stderr, time.Duration(n)*sampleEvery)
			}
		}
	}
}
