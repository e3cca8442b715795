package rows

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
)

// tested are the ids that row and rowWith are called with in this package.
func tested(t *testing.T) map[string]bool {
	t.Helper()
	names, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, name := range names {
		if !strings.HasSuffix(name.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 2 {
				return true
			}
			if f, ok := call.Fun.(*ast.Ident); !ok || f.Name != "row" && f.Name != "rowWith" {
				return true
			}
			if id, ok := call.Args[1].(*ast.BasicLit); ok && id.Kind == token.STRING {
				text, _ := strconv.Unquote(id.Value)
				ids[text] = true
			}
			return true
		})
	}
	return ids
}

// A row that is followed has a test here. One that is not, whatever its priority, is
// held to its word in package mesh (TestEveryFieldThatIsNotFollowedIsReported), which
// takes its rows from the same list and by the same question, the stance: a row can be
// in neither only by being in the list no more. TestWhatIsNotFollowedIsTold shows the
// ones of P2 and N/A through interception.
func TestEveryRowHasATest(t *testing.T) {
	t.Parallel()
	ids := tested(t)
	for _, r := range mesh.Rows {
		switch followed := r.Stance <= mesh.Differs; {
		case followed && !ids[r.ID]:
			t.Errorf("%s (%s, %s) has no test: call row(t, %q, …) in one (see doc.go)", r.ID, r.Priority, r.Stance, r.ID)
		case !followed && ids[r.ID]:
			t.Errorf("%s is tested as if it were followed; its stance is %s", r.ID, r.Stance)
		}
	}
}
