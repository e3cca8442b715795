package proxy

// GoToLanes has a server's connections go to a lane before their first request, and
// back to one after each that a lane could have served: so that a test of one
// exchange is a test of lanes.
func GoToLanes(s *Server) { s.eager = true }
