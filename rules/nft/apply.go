package nft

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/record"
	"golang.org/x/sys/unix"
)

// Apply makes the namespace's tables what the plan says, in one transaction: all
// of it or nothing, whatever was there. What is right already is left alone. Where
// only the contents of sets differ, only they are replaced. A table that differs
// otherwise is rebuilt within the transaction, which keeps established redirected
// connections; removing it first would reset them. Applying a plan with a Gate is
// a heartbeat, unless it is Silent. In node mode who is exempt stays so unless the
// plan says otherwise.
func Apply(netnsFD int, plan rules.Plan) error {
	c, err := open(netnsFD)
	if err != nil {
		return err
	}
	defer closeLater(c)
	if _, err := installed(c); err != nil {
		return err
	}
	known, err := resolve(plan)
	if err != nil {
		return err
	}
	interfaces, err := interfacesOf(netnsFD)
	if err != nil {
		return err
	}
	covered := slices.DeleteFunc(interfaces, func(name string) bool {
		return len(plan.Frames.Rules) == 0 || slices.Contains(plan.Config.ExcludeInterfaces, name)
	})
	r, err := newRecord(plan, covered)
	if err != nil {
		return err
	}
	err = persist(c, plan, r, known)
	if refusesPart(err) && len(plan.Frames.Rules) > 0 && len(missing(frameFeatures())) > 0 {
		r.WithoutFrames, r.Interfaces = true, nil
		err = persist(c, plan, r, known)
	}
	if refusesPart(err) {
		err = explainRefusal(err)
	}
	return err
}

// persist tries again when somebody made a table between our look and our
// transaction: their table is looked at in turn. A table that cannot be emptied, since
// somebody put things into it that refer to ours, is replaced with the agents' part.
func persist(c *nftables.Conn, plan rules.Plan, r record.Record, known cgroups) error {
	var err error
	for range 3 {
		w := &writer{c: c, cgroups: known, whole: errors.Is(err, unix.EBUSY)}
		if plan.Gate > 0 && !plan.Silent {
			w.gate = heartbeats(plan.Gate)
		}
		if err = w.apply(plan, r); !errors.Is(err, os.ErrExist) && !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	return err
}

func (w *writer) apply(plan rules.Plan, r record.Record) error {
	tables, err := installed(w.c)
	if err != nil {
		return err
	}
	changed := w.gate != nil
	for i, want := range layout(plan, r) {
		queued, err := w.converge(tables[i], want)
		if err != nil {
			return fmt.Errorf("build the rules: %w", err)
		}
		changed = changed || queued
	}
	if !changed {
		return nil
	}
	if err := w.c.Flush(); err != nil {
		return &transactionError{err}
	}
	return nil
}

// transactionError is the kernel's word about the whole of it.
type transactionError struct{ error }

func (e *transactionError) Error() string { return explain("load the rules", e.error).Error() }
func (e *transactionError) Unwrap() error { return explain("load the rules", e.error) }

// converge queues what turns a table, nil for none, into the one wanted.
func (w *writer) converge(have *nftables.Table, want tableLayout) (changed bool, err error) {
	t := want.table()
	switch {
	case have == nil && len(want.chains) == 0:
		return false, nil
	case have == nil:
		w.c.CreateTable(t) // fails where there is one by now: rules would come twice
		return true, w.table(want)
	case len(want.chains) == 0:
		w.replaceable(t)
		return true, nil
	}
	found, err := differences(w.c, have, want, w.cgroups.ids)
	if err != nil || found.structure {
		// Tables of another making, which cannot be read, are replaced too.
		if r, ok := rebuilding(w.c, have, want, found); ok && err == nil && !w.whole {
			return true, w.rebuild(t, r, want, found)
		}
		w.replaceable(t)
		return true, w.table(want)
	}
	return w.refresh(t, want, found)
}

// replaceable queues the end of a table so that it succeeds even if the table has
// vanished meanwhile.
func (w *writer) replaceable(t *nftables.Table) {
	w.c.AddTable(t)
	w.c.DelTable(t)
}

// refresh queues new contents for sets that differ, and a new record.
func (w *writer) refresh(t *nftables.Table, want tableLayout, found drift) (changed bool, err error) {
	if err := w.refill(t, want, found); err != nil {
		return false, err
	}
	if found.record {
		w.c.FlushChain(&nftables.Chain{Name: chainApplied, Table: t})
		w.rules(t, want.chains[0].Chain, translator{})
	}
	if found.agents {
		w.c.FlushChain(&nftables.Chain{Name: rules.ChainAgent, Table: t})
	}
	if found.agents || found.levels {
		err = w.exempt(t, want.agents)
	}
	return len(found.sentences) > 0, err
}

// refill queues new contents for sets that are there and differ.
func (w *writer) refill(t *nftables.Table, want tableLayout, found drift) error {
	for _, s := range want.sets {
		if slices.Contains(found.sets, s.Name) || s.Name == rules.SetHeartbeat && !s.Open {
			if err := w.replaceElements(t, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// Beat is the heartbeat of a plan with a Gate: for the given time there is a proxy.
// Adding an element that exists would refresh nothing, and deleting one that has
// expired would fail, hence flush and add, in one transaction.
func Beat(netnsFD int, timeout time.Duration) error {
	c, err := open(netnsFD)
	if err != nil {
		return err
	}
	defer closeLater(c)
	t := tableLayout{family: nftables.TableFamilyINet}.table()
	set := kernelSet(t, rules.Set{Name: rules.SetHeartbeat, Type: rules.SetFamily, Dynamic: true})
	c.FlushSet(set)
	if err := addElements(c, set, heartbeats(timeout)); err != nil {
		return err
	}
	if err := c.Flush(); err != nil {
		return explain("say that there is a proxy", err)
	}
	return nil
}

func heartbeats(timeout time.Duration) []nftables.SetElement {
	return []nftables.SetElement{
		{Key: []byte{unix.NFPROTO_IPV4}, Timeout: timeout},
		{Key: []byte{unix.NFPROTO_IPV6}, Timeout: timeout},
	}
}

// Remove deletes the tables; none there is success. It resets established
// redirected connections: see Disable.
func Remove(netnsFD int) error {
	c, err := open(netnsFD)
	if err != nil {
		return err
	}
	defer closeLater(c)
	tables, err := installed(c)
	if err != nil || tables == ([2]*nftables.Table{}) {
		return err
	}
	for _, t := range tables {
		if t != nil {
			c.DelTable(t)
		}
	}
	if err := c.Flush(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return explain("remove the rules", err)
	}
	return nil
}

// capturing are the sets without which nothing is captured.
var capturing = []string{"include_ipv4", "include_ipv6", "include_ports", "include_inbound_ports", "dns_ipv4", "dns_ipv6"}

// Disable ends capture and keeps connections: the sets are emptied, the chains
// stay. Without them the kernel would forget where established connections were
// redirected to, and reset them. No rules is success.
func Disable(netnsFD int) error {
	c, err := open(netnsFD)
	if err != nil {
		return err
	}
	defer closeLater(c)
	tables, err := installed(c)
	if err != nil {
		return err
	}
	if tables[1] != nil {
		c.DelTable(tables[1])
	}
	if tables[0] != nil {
		if err := disable(c, tables[0]); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return explain("disable the rules", err)
	}
	return nil
}

func disable(c *nftables.Conn, t *nftables.Table) error {
	r, err := readRecord(c, t)
	if err != nil {
		return err
	}
	sets, err := c.GetSets(t)
	if err != nil {
		return explain("read the rules back", err)
	}
	for _, s := range sets {
		if slices.Contains(capturing, s.Name) {
			s.Table = t
			c.FlushSet(s)
		}
	}
	r.Disabled, r.Interfaces = true, nil
	w := &writer{c: c}
	c.AddChain(&nftables.Chain{Name: chainApplied, Table: t})
	c.FlushChain(&nftables.Chain{Name: chainApplied, Table: t})
	w.rules(t, recordChain(r), translator{})
	return nil
}

// refusesPart reports an error with which the kernel refuses an expression, chain
// or set that it has no module for.
func refusesPart(err error) bool {
	var refused *transactionError
	return errors.As(err, &refused) &&
		(errors.Is(refused.error, unix.ENOENT) || errors.Is(refused.error, unix.EOPNOTSUPP) || errors.Is(refused.error, unix.EINVAL))
}

// explainRefusal looks which part it is.
func explainRefusal(err error) error {
	const doing = "load the rules"
	if missing := Missing(); missing != nil {
		return fmt.Errorf("%s: %w", doing, missing)
	}
	var refused *transactionError
	errors.As(err, &refused)
	return fmt.Errorf("%s: the kernel refused them: %w", doing, refused.error)
}

func isMissing(err error) bool { return errors.Is(err, unix.ENOENT) }
