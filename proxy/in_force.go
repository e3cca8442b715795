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

// Workload is whose connections the server serves.
func (s *Server) Workload() mesh.Workload { return s.cfg.Workload }
