package agent

import (
	"fmt"
	"strings"
	"time"
)

// Cluster is how an agent stands to the API server that it follows.
type Cluster struct {
	// Away is since when the server has not answered, and Err why not; zero: it answers.
	Away time.Time
	Err  error
	// Waiting are kinds of objects of which not all is known yet: before that no
	// configuration is in force, and pods' connections wait.
	Waiting []string
}

// String is what is the matter, "" when nothing is.
func (c Cluster) String() string {
	var is []string
	if len(c.Waiting) > 0 {
		is = append(is, "no configuration yet: not all is known of "+strings.Join(c.Waiting, ", "))
	}
	if !c.Away.IsZero() {
		text := fmt.Sprintf("the API server has not answered since %s", c.Away.UTC().Format(time.RFC3339))
		if len(c.Waiting) == 0 {
			text += ", and what was last known is in force"
		}
		if c.Err != nil {
			text += ": " + c.Err.Error()
		}
		is = append(is, text)
	}
	return strings.Join(is, "; ")
}

// cluster is how it stands now; false: none is followed.
func (a *Agent) cluster() (Cluster, bool) {
	if a.cfg.Cluster == nil {
		return Cluster{}, false
	}
	return a.cfg.Cluster(), true
}
