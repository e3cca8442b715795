package kubeapi

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// What errors are, by errors.Is. Their texts say what to do.
var (
	ErrNotFound    = errors.New("not found")                      // no such object
	ErrMissing     = errors.New("the API does not have it")       // no such kind: its CustomResourceDefinition is not installed
	ErrForbidden   = errors.New("forbidden")                      // RBAC does not allow it
	ErrExists      = errors.New("already exists")                 // Create of what is there
	ErrConflict    = errors.New("conflict")                       // somebody else changed it meanwhile
	ErrInvalid     = errors.New("refused by the API server")      // by its schema, or an admission policy
	ErrUnreachable = errors.New("the API server does not answer") // or a proxy before it says that it does not
	ErrNowhere     = errors.New("no kubeconfig names a cluster: give --kubeconfig, set KUBECONFIG, or write ~/.kube/config")
)

// Error is what an API server, or the way to it, said of a request.
type Error struct {
	Is   error  // one of the above; nil: another
	Text string // with what to do
	Err  error  // as client-go has it
}

func (e *Error) Error() string { return e.Text }

// Unwrap gives both, for errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Is == nil {
		return []error{e.Err}
	}
	return []error{e.Is, e.Err}
}

// explain makes an Error of what client-go returned for a request. verb is RBAC's: get,
// list, watch, create, patch, delete.
func (c *Cluster) explain(err error, verb string, k Kind, key Key) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	what := k.Name + " " + key.String()
	if key.Name == "" {
		what = k.String()
	}
	e := &Error{Err: err}
	say := func(is error, format string, args ...any) error {
		e.Is, e.Text = is, fmt.Sprintf(format, args...)
		return e
	}
	var status apierrors.APIStatus
	switch said := errors.As(err, &status); {
	case !said:
		return say(ErrUnreachable, "API server %s: %s %s: %v", c.name, verb, what, err)
	case apierrors.IsNotFound(err) && (key.Name == "" || missingKind(status)):
		return say(ErrMissing, "API server %s has no %s: install its CustomResourceDefinition, or a version of Kubernetes that has it", c.name, k)
	case apierrors.IsNotFound(err) && (verb == "create" || verb == "patch") && status.Status().Details.Kind == Namespaces.Resource:
		return say(ErrNotFound, "%s: there is no namespace %q; 'kubectl create namespace %s' makes it", what, key.Namespace, key.Namespace)
	case apierrors.IsNotFound(err):
		return say(ErrNotFound, "%s: not found in %s", what, c.name)
	case apierrors.IsForbidden(err) && !strings.Contains(err.Error(), " cannot "): // RBAC's word; this is admission's
		return say(ErrInvalid, "%s: %v", what, err)
	case apierrors.IsForbidden(err):
		where := "a ClusterRole"
		if key.Namespace != "" {
			where = fmt.Sprintf("a Role in namespace %q", key.Namespace)
		}
		return say(ErrForbidden, "%s: may not be read or written (verb %q): %v; %s needs a rule with apiGroups [%q], resources [%q], verbs [%q]",
			what, verb, err, where, k.Group, k.Resource, verb)
	case apierrors.IsUnauthorized(err):
		return say(nil, "API server %s does not know who asks: %v; the token or certificate has run out or is of another cluster", c.name, err)
	case apierrors.IsAlreadyExists(err):
		return say(ErrExists, "%s: is there already", what)
	case apierrors.IsConflict(err):
		return say(ErrConflict, "%s: %v", what, err)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsMethodNotSupported(err):
		return say(ErrInvalid, "%s: %v", what, err)
	case down(status):
		return say(ErrUnreachable, "API server %s: %s %s: %v; it starts, stops or is overloaded", c.name, verb, what, err)
	}
	return say(nil, "%s: %s: %v", what, verb, err)
}

// missingKind says whether a 404 is about the path, which has no handler, and not about
// an object: only then the server says nothing of what was asked for.
func missingKind(s apierrors.APIStatus) bool {
	d := s.Status().Details
	return d == nil || d.Name == "" || len(d.Causes) > 0
}

// down says whether somebody before the API server, or it itself, says that it does not
// serve at present.
func down(s apierrors.APIStatus) bool {
	switch s.Status().Code {
	case 502, 503, 504:
		return true
	}
	return false
}
