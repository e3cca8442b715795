package mesh

func (s *Snapshot) conflicts(partial bool) Issues { return nil }
