package proxy

import "github.com/sluice-cni/sluice/mesh"

// View is the configuration in force as the server's workload sees it, nil before the
// first Update.
func (s *Server) View() *mesh.View {
	if st := s.state.Load(); st != nil {
		return st.view
	}
	return nil
}

// Workload is whose connections the server serves, as the newest Follow had it.
func (s *Server) Workload() mesh.Workload {
	if w := s.workload.Load(); w != nil {
		return *w
	}
	return s.cfg.Workload
}

// Update is Follow for the workload as it is.
func (s *Server) Update(snapshot *mesh.Snapshot) { s.Follow(snapshot, s.Workload()) }

// Follow puts a snapshot in force for a workload that may have other labels, another
// owner or, once more is known of it, another namespace (default "default") than
// before: requests that start from now on follow it, those under way finish on the
// one they began with. Connections to services whose settings did not change stay
// pooled, unless the namespace changed, whose credentials they were made with. It
// waits for nothing. Calls come one at a time.
func (s *Server) Follow(snapshot *mesh.Snapshot, workload mesh.Workload) {
	workload = named(workload)
	view := snapshot.View(workload)
	s.workload.Store(&workload)
	s.state.Store(s.pools.follow(view, workload.Namespace))
	s.observe(Event{Kind: ConfigurationInForce, View: view, Snapshot: snapshot, Workload: &workload})
}

// named is a workload with its default namespace.
func named(w mesh.Workload) mesh.Workload {
	if w.Namespace == "" {
		w.Namespace = "default"
	}
	return w
}
