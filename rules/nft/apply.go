package nft

import (
	"errors"
	"fmt"
	"os"

	"github.com/google/nftables"
	"github.com/sluice-cni/sluice/rules"
	"golang.org/x/sys/unix"
)

// Apply makes the namespace's table what the plan says, in one transaction: all
// of it or nothing. A table that is right already is left alone. One that is not
// is replaced within the transaction, which keeps established redirected
// connections; removing it first would reset them.
func Apply(netnsFD int, plan rules.Plan) error {
	c, err := open(netnsFD)
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	// Somebody who made the table between our look and our transaction has won;
	// their table is looked at in turn.
	for range 3 {
		if err = apply(c, plan); !errors.Is(err, os.ErrExist) {
			break
		}
	}
	return err
}

func apply(c *nftables.Conn, plan rules.Plan) error {
	old, err := installed(c)
	if err != nil {
		return err
	}
	if old == nil {
		c.CreateTable(table()) // fails where there is one by now: rules would come twice
	} else {
		if found, err := differences(c, old, plan); err == nil && len(found) == 0 {
			return nil
		}
		c.AddTable(table()) // so that the deletion succeeds even if it vanished meanwhile
		c.DelTable(table())
	}
	if err := program(c, plan); err != nil {
		return fmt.Errorf("build the rules: %w", err)
	}
	return explainTransaction(c.Flush())
}

// Remove deletes the table; none there is success.
func Remove(netnsFD int) error {
	c, err := open(netnsFD)
	if err != nil {
		return err
	}
	defer c.CloseLasting()
	return remove(c)
}

func remove(c *nftables.Conn) error {
	old, err := installed(c)
	if err != nil || old == nil {
		return err
	}
	c.DelTable(table())
	if err := c.Flush(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return explain("remove the rules", err)
	}
	return nil
}

// explainTransaction looks behind the errors with which the kernel refuses an
// expression, chain or set that it has no module for.
func explainTransaction(err error) error {
	const doing = "load the rules"
	if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL) {
		return explain(doing, err)
	}
	if missing := Missing(); missing != nil {
		return fmt.Errorf("%s: %w", doing, missing)
	}
	return fmt.Errorf("%s: the kernel refused them: %w", doing, err)
}
