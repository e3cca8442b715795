package mesh

import (
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

func (c *checker) retries(path string, route *networking.HTTPRoute) {
	retries := route.Retries
	if retries == nil {
		return
	}
	c.notNegative(path+".attempts", retries.Attempts)
	if retries.Attempts == 0 {
		for field, there := range map[string]bool{
			"perTryTimeout":         retries.PerTryTimeout != nil,
			"retryOn":               retries.RetryOn != "",
			"retryRemoteLocalities": retries.RetryRemoteLocalities != nil,
		} {
			if there {
				c.error(path+"."+field, "", "is for tries that attempts 0 switches off; write attempts, or remove it")
			}
		}
	}
	c.duration(path+".perTryTimeout", retries.PerTryTimeout, false)
	if whole, try := route.Timeout.AsDuration(), retries.PerTryTimeout.AsDuration(); whole > 0 && try >= whole {
		c.add(Notice, path+".perTryTimeout", try.String(), "has no effect: the whole request has no longer, timeout is %s; write less", whole)
	}
	c.duration(path+".backoff", retries.Backoff, false)
	if retries.RetryOn == "" {
		return
	}
	for condition := range strings.SplitSeq(retries.RetryOn, ",") {
		if complaint := retryComplaint(condition); complaint != "" {
			c.error(path+".retryOn", condition, "%s", complaint)
		} else if why := noSuchRetry[condition]; why != "" {
			c.add(Notice, path+".retryOn", condition, "never holds: %s; remove it", why)
		}
	}
}

func retryComplaint(condition string) string {
	status, err := strconv.Atoi(condition)
	switch bare := strings.TrimSpace(condition); {
	case err == nil && status >= 100 && status <= 599:
		return ""
	case err == nil:
		return "not an HTTP status; use 100 to 599"
	case slices.Contains(retryConditions, condition):
		return ""
	case bare == "":
		return "an empty condition; remove the comma"
	case slices.Contains(retryConditions, bare):
		return "has a space before or after it; write " + bare
	case nearest(bare, retryConditions) != "":
		return "not a condition; did you mean " + nearest(bare, retryConditions) + "?"
	}
	return "not a condition; use HTTP statuses and " + strings.Join(retryConditions, ", ")
}
