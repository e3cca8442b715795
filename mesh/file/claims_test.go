package file

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
)

// What a change decides about the files it has to do with is what looking at every file
// decides.
func TestSettlingWhatAChangeTouchesIsSettlingEverything(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		var partial, whole []*source
		for i := range 6 {
			partial = append(partial, &source{name: fmt.Sprint(i)})
			whole = append(whole, &source{name: fmt.Sprint(i)})
		}
		claims := newClaims()
		for step := range 30 {
			var changed []*source
			for range 1 + random.IntN(2) {
				i := random.IntN(len(whole))
				var issues mesh.Issues
				if random.IntN(5) == 0 {
					issues = mesh.Issues{{Message: "wrong"}}
				}
				var now []*mesh.Resource
				for n := range 7 {
					if random.IntN(6) == 0 {
						now = append(now, &mesh.Resource{Kind: mesh.ServiceEntry, Name: fmt.Sprint(n), Namespace: "default"})
					}
				}
				gone := random.IntN(6) == 0
				for _, f := range []*source{partial[i], whole[i]} {
					if f.now, f.issues = now, issues; gone {
						f.forget()
					}
				}
				if !slices.Contains(changed, partial[i]) {
					changed = append(changed, partial[i])
				}
			}
			affected := claims.around(changed)
			settle(affected)
			for _, f := range affected {
				claims.renew(f)
			}
			settle(whole)
			for i := range whole {
				if !slices.Equal(partial[i].good, whole[i].good) || !slices.Equal(partial[i].clashes, whole[i].clashes) {
					t.Fatalf("seed %d, step %d, file %d:\n%v %v\nwant\n%v %v", seed, step, i,
						partial[i].good, partial[i].clashes, whole[i].good, whole[i].clashes)
				}
			}
		}
	}
}
