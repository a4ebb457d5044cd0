package embedded

// SyncAlways reads back from the running server whether each write is on the disk before it is acknowledged.
func (s *Server) SyncAlways() bool {
	cfg := s.server().JetStreamConfig()
	return cfg != nil && cfg.SyncAlways
}
